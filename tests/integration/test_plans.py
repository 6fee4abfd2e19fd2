"""Growth: the hot statements go by an index on tables of 100,000 rows and more, whatever PostgreSQL knows of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from sandbox.servers import PostgreSQL
from services.billing.queries import OUTBOX
from services.portal import queries
from services.portal.queries import people
from tests.bench import seed

CUSTOMERS = 100_000
ROWS = 200_000
NOW = dt.datetime.now(dt.UTC)

Plans = Callable[[Callable[[Session], Any]], str]


@pytest.fixture(scope="module")
def portal(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """The portal's tables with a hundred thousand customers."""
    url = postgres.create_database("plans_portal", template=migrated("portal"))
    with postgres.connection("plans_portal") as connection:
        seed.seed_portal(connection, CUSTOMERS)
    engine = create_engine(url)
    yield engine
    engine.dispose()
    postgres.drop_database("plans_portal")


@pytest.fixture(scope="module")
def billing(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """Billing's outbox with 200,000 published rows and three that wait."""
    url = postgres.create_database("plans_billing", template=migrated("billing"))
    with postgres.connection("plans_billing") as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox (event_id, dedupe_key, type, body, created_at, published_at, attempts, next_attempt_at) "
            "SELECT 'e' || n, 'k' || n, 'invoice.paid', '{}', now(), "
            "CASE WHEN n > %(rows)s THEN NULL ELSE now() END, 0, now() FROM generate_series(1, %(rows)s + 3) AS n",
            {"rows": ROWS},
        )
        cursor.execute("ANALYZE")
    engine = create_engine(url)
    yield engine
    engine.dispose()
    postgres.drop_database("plans_billing")


def plans(engine: Engine, work: Callable[[Session], Any]) -> list[str]:
    """The plan of each statement that `work` sends, as EXPLAIN tells it."""
    sent: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with Session(engine) as session:
            work(session)
            session.rollback()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    told = []
    with engine.connect() as connection:
        for statement, parameters in sent:
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            told.append("\n".join(row[0] for row in rows))
    return told


def full_scans(engine: Engine, work: Callable[[Session], Any], small: set[str]) -> list[str]:
    """The lines of the plans that read a whole table, but for tables that are small by nature (or empty here)."""
    return [
        line.strip()
        for plan in plans(engine, work)
        for line in plan.splitlines()
        if "Seq Scan on" in line and line.split("Seq Scan on ")[1].split()[0] not in small
    ]


@pytest.mark.parametrize("together", [1, 16, 128])
def test_a_look_reads_no_whole_table(portal: Engine, together: int) -> None:
    """All that a page shows is found by indexes, for one customer and for a batch."""
    ids = [seed.public_id(number * 7) for number in range(1, together + 1)]

    def look(session: Session) -> None:
        assert len(queries.lookup_many(session, ids, NOW)) == together

    small = {"businesses", "method_changes", "subscriptions", "cancellation_requests"}
    assert full_scans(portal, look, small) == []


@pytest.mark.parametrize("together", [1, 128])
def test_contacts_read_no_whole_table(portal: Engine, together: int) -> None:
    """The notifier's question goes by the unique index of the id that it knows."""
    ids = [f"cus_{number * 7}" for number in range(1, together + 1)]

    def ask(session: Session) -> None:
        found = people.contacts(session, stripe_customer_ids=ids, public_ids=[])
        assert len(found) == together

    assert full_scans(portal, ask, {"businesses"}) == []


def test_the_relay_reads_only_what_waits(billing: Engine) -> None:
    """With 200,000 published rows the relay's question goes by the partial index of what is not."""

    def due(session: Session) -> None:
        assert len(OUTBOX.due(session, NOW + dt.timedelta(hours=1), 100)) == 3

    (plan,) = plans(billing, due)
    assert "ix_outbox_unpublished" in plan
    assert "Seq Scan" not in plan


def test_the_backlog_reads_only_what_waits(billing: Engine) -> None:
    """The metric that is asked for every few seconds does not count the published rows."""
    (plan,) = plans(billing, lambda session: OUTBOX.backlog(session, NOW))
    assert "ix_outbox_unpublished" in plan
    assert "Seq Scan" not in plan
