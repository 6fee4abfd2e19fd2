"""The relay's transaction on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, text

from services.billing.models import Base, OutboxEvent
from services.billing.queries import outbox
from shared.database import Transactions, make_engine
from shared.events import CustomerDeleted, Event
from shared.outbox import Outgoing, Round
from tests.unit.billing.conftest import NOW
from tests.unit.billing.fakes import FakePublisher

WAITS = text("SELECT current_setting('synchronous_commit')")


@pytest.fixture
def postgresql(database: Callable[[str], str]) -> Iterator[Transactions]:
    engine = make_engine(database("billing"), pool_size=1, max_overflow=0)
    yield Transactions(engine)
    engine.dispose()


def test_a_mark_waits_for_no_disk(postgresql: Transactions) -> None:
    """What is published may be published again, so its mark's commit holds nobody up; whatever else is done on the connection is durable."""
    Base.metadata.create_all(postgresql.engine)
    event = Event(
        id="evt_1",
        occurred_at=NOW,
        correlation_id="evt_1",
        data=CustomerDeleted(stripe_customer_id="cus_1"),
    )
    with postgresql.transaction() as session:
        session.execute(text("SET synchronous_commit TO on"))  # a server of tests has it off
        outbox.OUTBOX.add(session, [Outgoing(event, "key")], NOW)
    for done, waits in (
        (Round(1, 0, broker_down=False), "off"),
        (Round(0, 0, broker_down=False), "on"),
    ):
        with postgresql.transaction() as session:
            assert outbox.OUTBOX.relay(session, FakePublisher(), NOW) == done
            assert session.scalar(WAITS) == waits
        with postgresql.transaction() as session:
            assert session.scalar(WAITS) == "on"
            assert session.scalars(select(OutboxEvent.published_at)).all() == [NOW]
