"""The outbox goes out: confirmed or kept, in order of arrival."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import select

from services.billing.models import OutboxEvent
from services.billing.queries import outbox
from shared.database import Transactions
from shared.events import CustomerDeleted, CustomerLinked, Event
from shared.messaging.amqp import BrokerUnavailable
from shared.outbox import BATCH, Outgoing, Round
from tests.unit.billing.conftest import NOW, Clock
from tests.unit.billing.fakes import FakePublisher


def queue(database: Transactions, count: int = 3) -> list[str]:
    ids = [f"evt_{number}/customer.deleted" for number in range(count)]
    with database.transaction() as session:
        outbox.OUTBOX.add(
            session,
            [
                Outgoing(
                    Event(
                        id=one,
                        occurred_at=NOW,
                        correlation_id="evt",
                        data=CustomerDeleted(stripe_customer_id="cus_1"),
                    ),
                    dedupe_key=one,
                )
                for one in ids
            ],
            NOW,
        )
    return ids


def run(database: Transactions, publisher: FakePublisher, clock: Clock) -> Round:
    with database.transaction() as session:
        return outbox.OUTBOX.relay(session, publisher, clock())


def rows(database: Transactions) -> list[OutboxEvent]:
    with database.reading() as session:
        return list(session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)))


def test_what_is_due_goes_out_once_in_order(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """Confirmed events are marked and not published again."""
    ids = queue(database)
    assert run(database, publisher, clock) == Round(3, 0, broker_down=False)
    assert run(database, publisher, clock) == Round(0, 0, broker_down=False)
    assert [event.id for event in publisher.published] == ids
    assert {row.published_at for row in rows(database)} == {NOW}


def test_without_a_broker_everything_stays_due_in_order(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """An hour without a broker loses nothing and shuffles nothing."""
    ids = queue(database)
    publisher.failure = lambda event: BrokerUnavailable("refused")
    for _ in range(5):
        done = run(database, publisher, clock)
        assert (done.broker_down, done.more) == (True, False)
        clock.forward(seconds=1)
    assert {(row.attempts, row.last_error) for row in rows(database)} == {
        (5, "BrokerUnavailable: refused")
    }
    publisher.failure = lambda event: None
    run(database, publisher, clock)
    assert [event.id for event in publisher.published] == ids


def test_one_that_cannot_be_published_lets_the_others_pass(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """An unroutable event waits longer each time, keeps its error, and holds nobody up."""
    first, *others = queue(database)
    publisher.failure = lambda event: LookupError("no queue") if event.id == first else None
    assert run(database, publisher, clock) == Round(2, 1, broker_down=False)
    assert [event.id for event in publisher.published] == others
    assert run(database, publisher, clock) == Round(0, 0, broker_down=False)
    clock.forward(seconds=2)
    assert run(database, publisher, clock) == Round(0, 1, broker_down=False)
    clock.forward(seconds=2)
    assert run(database, publisher, clock) == Round(0, 0, broker_down=False)
    clock.forward(seconds=2)
    publisher.failure = lambda event: None
    assert run(database, publisher, clock) == Round(1, 0, broker_down=False)
    assert rows(database)[0].last_error is None


def test_a_crash_before_the_commit_publishes_again_rather_than_never(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """Published but not marked: the event goes out a second time under the same id."""
    (one,) = queue(database, 1)
    with pytest.raises(RuntimeError), database.transaction() as session:
        outbox.OUTBOX.relay(session, publisher, clock())
        raise RuntimeError("the process dies before the commit")
    run(database, publisher, clock)
    assert [event.id for event in publisher.published] == [one, one]


def test_a_full_batch_asks_for_another_round(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """After a full batch the relay goes on at once instead of waiting for the next poll."""
    queue(database, BATCH + 1)
    assert run(database, publisher, clock).more is True
    assert run(database, publisher, clock).more is False
    assert len(publisher.published) == BATCH + 1


def test_a_body_that_this_version_cannot_read_is_put_off(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """An event written by a newer version stays with its error and does not stop the others."""
    queue(database, 2)
    with database.transaction() as session:
        session.scalars(select(OutboxEvent).limit(1)).one().body = '{"type": "from.the.future"}'
    assert run(database, publisher, clock) == Round(1, 1, broker_down=False)
    assert "EventError" in str(rows(database)[0].last_error)


def test_a_dedupe_key_is_taken_once(database: Transactions) -> None:
    """Two events of one fact queue one row, whichever came first."""

    def queue_link(event_id: str) -> list[str]:
        data = CustomerLinked(stripe_customer_id="cus_1", customer_id="c", evidence="x")
        event = Event(id=event_id, occurred_at=NOW, correlation_id="", data=data)
        with database.transaction() as session:
            return outbox.OUTBOX.add(session, [Outgoing(event, "same")], NOW)

    assert [queue_link("evt_1/a"), queue_link("evt_2/a")] == [["evt_1/a"], []]


def test_the_backlog_tells_how_far_behind_we_are(database: Transactions, clock: Clock) -> None:
    """Count and age of what waits, for the alert on a stalled relay."""
    with database.reading() as session:
        assert outbox.OUTBOX.backlog(session, clock()) == (0, 0.0)
    queue(database, 2)
    clock.forward(seconds=90)
    with database.reading() as session:
        assert outbox.OUTBOX.backlog(session, clock()) == (2, 90.0)


def test_a_batch_is_marked_in_one_statement(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """However many events the broker has confirmed: an UPDATE a row costs more than publishing it."""
    queue(database, BATCH)
    updates: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.startswith("UPDATE outbox"):
            updates.append(statement)

    sqlalchemy.event.listen(database.engine, "before_cursor_execute", note)
    assert run(database, publisher, clock).published == BATCH
    assert len(updates) == 1
    assert {row.published_at for row in rows(database)} == {NOW}
