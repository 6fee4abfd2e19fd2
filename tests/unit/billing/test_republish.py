"""What a deleted queue held goes into it once more, and into no other."""

from __future__ import annotations

import datetime as dt

import pytest

from services.billing.domain.errors import InvalidRequest
from services.billing.queries import outbox
from services.billing.workflows import republish
from shared.contracts.rpc.billing import RepublishedPage
from shared.database import Transactions
from shared.events import CustomerDeleted, CustomerLinked, Data, Event
from shared.messaging.amqp import BrokerUnavailable
from shared.outbox import Outgoing
from tests.unit.billing.conftest import NOW, Clock
from tests.unit.billing.fakes import FakePublisher

NOTIFIER = "notifier.billing-events"
HOUR = dt.timedelta(hours=1)


def published(database: Transactions, publisher: FakePublisher, *data: Data) -> list[str]:
    """Publish these, one each hour up to now; their ids."""
    ids = []
    for number, one in enumerate(data):
        when = NOW - HOUR * (len(data) - 1 - number)
        ids.append(f"evt_{number}/{one.type}")
        event = Event(id=ids[-1], occurred_at=when, correlation_id="evt", data=one)
        with database.transaction() as session:
            outbox.OUTBOX.add(session, [Outgoing(event, dedupe_key=ids[-1])], when)
            outbox.OUTBOX.relay(session, publisher, when)
    publisher.published.clear()
    return ids


def deleted(number: int) -> CustomerDeleted:
    return CustomerDeleted(stripe_customer_id=f"cus_{number}")


def test_what_the_queue_hears_goes_into_it_alone(
    database: Transactions, publisher: FakePublisher
) -> None:
    """Events of its types, of the time that was asked for, as they were; other queues get nothing."""
    linked = CustomerLinked(stripe_customer_id="cus_9", customer_id="c", evidence="test")
    ids = published(database, publisher, deleted(0), deleted(1), linked, deleted(3))
    since = NOW - 2 * HOUR
    assert republish.count(database, NOTIFIER, since, NOW) == 2
    page = republish.republish(database, publisher, NOTIFIER, since, NOW)
    assert page == RepublishedPage(events=2)
    assert [one.id for one in publisher.into[NOTIFIER]] == [ids[1], ids[3]]
    assert publisher.published == []


def test_page_by_page_each_event_goes_once(
    database: Transactions, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page begins where the last one ended, up to the moment at which it all began."""
    monkeypatch.setattr(republish, "PAGE", 2)
    ids = published(database, publisher, *map(deleted, range(5)))
    after: int | None = 0
    while after is not None:
        page = republish.republish(
            database, publisher, NOTIFIER, NOW - 9 * HOUR, NOW - HOUR, after=after
        )
        after = page.next
    assert [one.id for one in publisher.into[NOTIFIER]] == ids[:4]


def test_what_the_broker_does_not_take_is_told(
    database: Transactions, publisher: FakePublisher
) -> None:
    """No page counts as done of which an event is missing; a second try goes through."""
    ids = published(database, publisher, deleted(0), deleted(1))
    publisher.failure = lambda event: BrokerUnavailable("gone") if event.id == ids[1] else None
    with pytest.raises(republish.NotRepublished, match="1 of 2 events: gone"):
        republish.republish(database, publisher, NOTIFIER, NOW - 9 * HOUR, NOW)
    publisher.failure = lambda event: None
    assert republish.republish(database, publisher, NOTIFIER, NOW - 9 * HOUR, NOW).events == 2


def test_what_waits_in_the_outbox_goes_out_by_itself(
    database: Transactions, publisher: FakePublisher, clock: Clock
) -> None:
    """An event that was never published is the relay's."""
    publisher.failure = lambda event: BrokerUnavailable("gone")
    published(database, publisher, deleted(0))
    assert republish.count(database, NOTIFIER, NOW - HOUR, NOW) == 0


def test_only_known_queues_and_what_their_consumers_still_know() -> None:
    """A queue that billing's events don't go to is named as wrong, and a time before which a consumer may have forgotten."""
    with pytest.raises(InvalidRequest, match="expected one of"):
        republish.types_of("host.billing-events")
    republish.check_since(NOW - dt.timedelta(days=45), NOW)
    for since in (NOW - dt.timedelta(days=46), NOW + HOUR):
        with pytest.raises(InvalidRequest, match="45 days"):
            republish.check_since(since, NOW)
