"""Large tables for `make bench-growth`: made by the database itself, without indexes, which are built afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import seed

# Ids as long as Stripe's (28 characters), scattered all over the index. The payload is left out: a new row never touches an
# old one's heap page, so only the indexes' size matters.
INBOX = """
INSERT INTO inbox (id, type, api_version, livemode, created, received_at, status, payload, object_id, stripe_customer_id,
                   deliveries, replays)
SELECT 'evt_' || left(md5('e' || n), 24), 'invoice.payment_failed', '2025-04-30.basil', false, 1750000000 + n,
       now() - (%(last)s - n) * interval '70 milliseconds', 'translated', '', 'in_' || left(md5('i' || n), 24),
       'cus_' || left(md5('c' || n %% (%(last)s / 2)), 14), 1, 0
FROM generate_series(%(first)s, %(last)s) AS n
"""

OUTBOX = """
INSERT INTO outbox (event_id, dedupe_key, type, body, created_at, published_at, attempts, next_attempt_at)
SELECT 'evt_' || left(md5('e' || n), 24) || '/invoice.payment_failed',
       'invoice.payment_failed:in_' || left(md5('i' || n), 24) || ':1', 'invoice.payment_failed', '{}', now(), now(), 1, now()
FROM generate_series(%(first)s, %(last)s) AS n
"""

CONSTRAINTS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid), contype = 'f'
FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND conrelid::regclass::text = ANY(%(tables)s)
   OR contype = 'f' AND confrelid::regclass::text = ANY(%(tables)s)
ORDER BY contype = 'f', contype = 'u'
"""
"""Keys first: what refers to them is made after them."""

INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i
WHERE i.indrelid::regclass::text = ANY(%(tables)s)
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""

Told = Callable[[int, int], None]
"""Hears how many steps are done, of how many."""


def fill_customers(connection: Any, customers: int, told: Told) -> None:
    """Customers, each with one coming appointment and an open, declined invoice."""
    with connection.cursor() as cursor:
        cursor.execute(seed.BUSINESSES)
    making = (seed.CUSTOMERS, seed.VISITS, seed.INVOICES)
    _fill(connection, seed.TABLES, making, {"first": 1, "last": customers, "earliest": 2}, told)


def fill_events(connection: Any, rows: int, told: Told) -> None:
    """So many old webhooks and their published events."""
    _fill(connection, ("inbox", "outbox"), (INBOX, OUTBOX), {"first": 1, "last": rows}, told)


def _fill(
    connection: Any, tables: Sequence[str], making: Sequence[str], span: dict[str, int], told: Told
) -> None:
    with connection.cursor() as cursor:
        dropping, building = _indexes(cursor, tables)
        work = [*dropping, *making, *building, "VACUUM ANALYZE"]
        for number, statement in enumerate(work):
            told(number, len(work))
            cursor.execute(statement, span if statement in making else None)
        told(len(work), len(work))


def _indexes(cursor: Any, tables: Sequence[str]) -> tuple[list[str], list[str]]:
    """What drops the tables' keys, references and indexes, and what builds them again."""
    cursor.execute(CONSTRAINTS, {"tables": list(tables)})
    constraints = cursor.fetchall()
    cursor.execute(INDEXES, {"tables": list(tables)})
    indexes = cursor.fetchall()
    dropping = [
        *(f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, *_ in constraints[::-1]),
        *(f"DROP INDEX {name}" for name, _ in indexes),
    ]
    # References are not checked row by row: the rows are right by the way they are made.
    building = [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{' NOT VALID' if refers else ''}"
        for table, name, definition, refers in constraints
    ]
    return dropping, [*building, *(definition for _, definition in indexes)]
