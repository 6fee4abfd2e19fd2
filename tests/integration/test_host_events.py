"""Hosts' events on a real PostgreSQL: transactions that end in another order, readers at once, and what a page reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.portal.queries import host_events, incidents
from shared.contracts.accounts import OWN, StripeId
from tests.bench import seed
from tests.integration.test_plans import plans

NOW = dt.datetime.now(dt.UTC)
CUSTOMERS = 20_000
EVENTS = 200_000


@pytest.fixture(scope="module")
def portal(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """The portal's tables with customers of twenty businesses, and ten events of each."""
    url = postgres.create_database("host_events", template=migrated("portal"))
    with postgres.connection("host_events") as connection, connection.cursor() as cursor:
        seed.seed_portal(connection, CUSTOMERS)
        cursor.execute(
            "INSERT INTO host_events (event_id, type, occurred_at, noted_at, position, business_pk, stripe_customer_id) "
            "SELECT 'evt_' || n, 'invoice.paid', now(), now(), n, 1 + n %% 20, 'cus_' || n / 10 "
            "FROM generate_series(1, %(events)s) AS n",
            {"events": EVENTS},
        )
        cursor.execute("ANALYZE")
    engine = create_engine(url, pool_size=10)
    yield engine
    engine.dispose()
    postgres.drop_database("host_events")


def row(name: str) -> dict[str, Any]:
    return {
        "event_id": name, "type": "invoice.paid", "occurred_at": NOW, "noted_at": NOW, "account": "",
        "business_pk": 1,
    }  # fmt: skip


def read(engine: Engine, after: int) -> list[Any]:
    """What a reader does: place, then read."""
    with Session(engine) as session, session.begin():
        host_events.place(session, dt.datetime.now(dt.UTC))
    with Session(engine) as session:
        return list(host_events.page(session, 1, after, 1000))


def test_who_begins_first_and_ends_last_is_read_all_the_same(portal: Engine) -> None:
    """Its row has the lower id, and was not to be seen when the other one was read."""
    begun = read(portal, EVENTS)
    after = begun[-1].position if begun else EVENTS
    with Session(portal) as slow:
        host_events.add(slow, [row("slow")])
        slow.flush()
        with Session(portal) as quick, quick.begin():
            host_events.add(quick, [row("quick")])
        (first,) = read(portal, after)
        assert first.event_id == "quick"
        slow.commit()
    (second,) = read(portal, first.position)
    assert (second.event_id, second.id < first.id) == ("slow", True)


def test_readers_at_once_give_each_event_one_place(portal: Engine) -> None:
    """While others write: everything is read once by each, in one order."""
    begun = read(portal, EVENTS)
    start = begun[-1].position if begun else EVENTS

    def write(number: int) -> None:
        with Session(portal) as session, session.begin():
            host_events.add(session, [row(f"at once {number} {n}") for n in range(5)])

    def follow(_: int) -> list[str]:
        seen: list[str] = []
        after = start
        for _ in range(400):
            rows = read(portal, after)
            seen += [one.event_id for one in rows]
            after = rows[-1].position if rows else after
            if len(seen) >= 200:
                break
        return seen

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(follow, n) for n in range(3)]
        list(pool.map(write, range(40)))
        told = [one.result() for one in readers]
    assert told[0] == told[1] == told[2]
    assert sorted(told[0]) == sorted(f"at once {n} {m}" for n in range(40) for m in range(5))


def test_a_page_of_events_reads_no_whole_table(portal: Engine) -> None:
    """Neither a business's nor everybody's; nor does the question whether some have no place, and giving it."""
    for business_pk in (1, None):
        (plan,) = plans(
            portal, lambda session, b=business_pk: host_events.page(session, b, EVENTS // 2, 101)
        )
        assert "Seq Scan on host_events" not in plan, plan
        assert "Sort" not in plan, plan
    for work in (host_events.any_unplaced, lambda session: host_events.place(session, NOW)):
        assert "Seq Scan on host_events" not in "\n".join(plans(portal, work))


def test_a_page_of_incidents_reads_no_whole_table(portal: Engine) -> None:
    """A business's latest failures, and one invoice's."""

    def ask(session: Session) -> None:
        found = incidents.of_business(
            session, 1, after=(NOW, "in_z"), customer_id=None, open_=None, limit=11
        )
        assert len(found) == 11

    assert "Seq Scan on invoices" not in "\n".join(plans(portal, ask))
    one = plans(portal, lambda session: incidents.of_invoice(session, 1, StripeId(OWN, "in_20")))
    assert "Seq Scan on invoices" not in "\n".join(one)
