"""Publishing on a real broker: what has no queue yet waits, what lost its queue finds it again."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection

from shared import events
from shared.messaging import topology
from shared.messaging.amqp import BrokerUnavailable, Unroutable
from shared.nameko_ext.publisher import BatchPublisher

PORTAL, NOTIFIER = topology.queue_name("portal"), topology.queue_name("notifier")
MOMENT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def event(data: events.Data) -> events.Event:
    return events.Event(
        id=f"evt_{uuid.uuid4()}/{data.type}", occurred_at=MOMENT, correlation_id="evt", data=data
    )


def linked() -> events.Event:
    """One that the portal alone hears."""
    return event(
        events.CustomerLinked(stripe_customer_id="cus_1", customer_id="c", evidence="test")
    )


def deleted() -> events.Event:
    """One that portal and notifier hear."""
    return event(events.CustomerDeleted(stripe_customer_id="cus_1"))


@pytest.fixture
def channel(amqp_uri: str) -> Iterator[Any]:
    """Whoever declares and looks."""
    with Connection(amqp_uri) as connection:
        opened = connection.channel()
        for exchange in topology.exchanges_of("billing"):
            exchange(opened).declare()
        yield opened


@pytest.fixture
def publisher(amqp_uri: str) -> Iterator[BatchPublisher]:
    """Billing's."""
    made = BatchPublisher(amqp_uri, "billing")
    yield made
    made.close()


def make(channel: Any, service: str) -> Callable[[], list[str]]:
    """Make a consumer's queue, without its bindings; returns what takes the ids of what is in it."""
    queue = topology.event_queue(service)(channel)
    queue.queue_declare()

    def take() -> list[str]:
        found = []
        while message := queue.get(no_ack=True):
            found.append(events.decode(message.body).id)
        return found

    return take


def test_an_event_waits_for_a_consumer_that_never_ran(
    channel: Any, publisher: BatchPublisher
) -> None:
    """It stays with the publisher, named, until the consumer has made its queue; events for others go out meanwhile."""
    portal = make(channel, "portal")
    both, alone = deleted(), linked()
    waits, goes = publisher.publish_batch([both, alone])
    assert isinstance(waits, Unroutable)
    assert NOTIFIER in str(waits)
    assert goes is None
    assert portal() == [alone.id], "nobody hears an event that another one would miss"
    notifier = make(channel, "notifier")
    assert publisher.publish_batch([both]) == [None]
    assert portal() == notifier() == [both.id]


def test_an_event_finds_a_queue_that_is_made_and_not_bound_yet(
    channel: Any, publisher: BatchPublisher
) -> None:
    """Between the making and the binding of its queue a consumer misses nothing: the publisher binds it, too."""
    portal, notifier = make(channel, "portal"), make(channel, "notifier")
    sent = deleted()
    assert publisher.publish_batch([sent]) == [None]
    assert portal() == notifier() == [sent.id]


def test_a_queue_that_was_deleted_is_missed(channel: Any, publisher: BatchPublisher) -> None:
    """On a connection that stands: its events wait from then on, and go when it is there again. Others' go meanwhile."""
    for queue in topology.queues_of("billing"):
        queue(channel).queue_declare()
    portal, _ = make(channel, "portal"), make(channel, "notifier")
    assert publisher.publish_batch([deleted()]) == [None]
    channel.queue_delete(NOTIFIER)
    lost, alone = deleted(), linked()
    assert publisher.publish_batch([alone]) == [None]
    (outcome,) = publisher.publish_batch([lost])
    assert isinstance(outcome, BrokerUnavailable)
    (outcome,) = publisher.publish_batch([lost])
    assert isinstance(outcome, Unroutable)
    assert portal()[-1] == alone.id, "the queue that is there had none of it either"
    notifier = make(channel, "notifier")
    assert publisher.publish_batch([lost]) == [None]
    assert notifier() == [lost.id]
    assert portal()[-1] == lost.id


def test_an_exchange_that_was_deleted_is_made_again_with_its_bindings(
    channel: Any, publisher: BatchPublisher
) -> None:
    """By its owner, at the next batch or the one after."""
    portal, notifier = make(channel, "portal"), make(channel, "notifier")
    assert publisher.publish_batch([deleted()]) == [None]
    channel.exchange_delete("billing.events")
    sent = deleted()
    (outcome,) = publisher.publish_batch([sent])
    assert isinstance(outcome, BrokerUnavailable)
    assert publisher.publish_batch([sent]) == [None]
    assert portal()[-1] == notifier()[-1] == sent.id


def test_into_one_queue_alone(channel: Any, publisher: BatchPublisher) -> None:
    """Past the exchange: nobody else hears it, and a queue that is not there is named."""
    portal = make(channel, "portal")
    sent = deleted()
    assert publisher.publish_batch([sent], queue=PORTAL) == [None]
    assert portal() == [sent.id]
    (outcome,) = publisher.publish_batch([sent], queue=NOTIFIER)
    assert isinstance(outcome, Unroutable)


def test_an_exchange_or_a_queue_that_was_made_anew_passes_nobody_by(
    channel: Any, publisher: BatchPublisher
) -> None:
    """Deleted and made again since the publisher looked, and bound for one of two consumers so far: both hear the next event."""
    portal, notifier = make(channel, "portal"), make(channel, "notifier")
    assert publisher.publish_batch([deleted()]) == [None]
    channel.exchange_delete("billing.events")
    topology.exchange("billing", by="billing")(channel).declare()
    topology.event_queue("portal")(channel).declare()
    sent = deleted()
    assert publisher.publish_batch([sent]) == [None]
    assert portal()[-1] == notifier()[-1] == sent.id
    channel.queue_delete(NOTIFIER)
    notifier = make(channel, "notifier")
    sent = deleted()
    assert publisher.publish_batch([sent]) == [None]
    assert portal() == notifier() == [sent.id]
