"""The large tables of `make bench-growth` are the services' own: nothing but their rows differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local.servers import PostgreSQL
from tests.bench import growth_seed

ROWS = 1000
RULES = """
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT conrelid::regclass || ' ' || conname || ' ' || replace(pg_get_constraintdef(oid), ' NOT VALID', '')
FROM pg_constraint WHERE contype IN ('p', 'u', 'f')
"""


@pytest.mark.parametrize(
    ("service", "fill", "tables"),
    [
        ("portal", growth_seed.fill_customers, ("customers", "appointments", "invoices")),
        ("billing", growth_seed.fill_events, ("inbox", "outbox")),
    ],
)
def test_filling_keeps_every_index_key_and_reference(
    postgres: PostgreSQL,
    migrated: Callable[[str], str],
    service: str,
    fill: Callable[[Any, int, growth_seed.PriorNotices], None],
    tables: tuple[str, ...],
) -> None:
    """What is dropped for the filling stands again after it, and the rows are there."""
    name = f"growth_{service}"
    postgres.create_database(name, template=migrated(service))
    steps: list[tuple[int, int]] = []
    with postgres.connection(name) as connection, connection.cursor() as cursor:
        cursor.execute(RULES)
        before = set(cursor.fetchall())
        fill(connection, ROWS, lambda done, of: steps.append((done, of)))
        cursor.execute(RULES)
        assert set(cursor.fetchall()) == before
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (ROWS,)
    assert steps[-1][0] == steps[-1][1]
    postgres.drop_database(name)
