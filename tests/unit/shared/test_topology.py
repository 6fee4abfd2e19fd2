"""Queues are the same from either side."""

from shared.events import CONSUMERS
from shared.messaging import topology


def test_event_queue_hears_what_the_table_says():
    """A consumer's queue is bound for exactly the types of CONSUMERS, and is a quorum queue that dead-letters."""
    for service, heard in CONSUMERS.items():
        queue = topology.event_queue(service)
        assert {b.routing_key for b in queue.bindings} == {cls.type for cls in heard}
        assert queue.queue_arguments["x-queue-type"] == "quorum"
        assert queue.queue_arguments["x-dead-letter-routing-key"] == queue.name


def test_waiting_rooms_give_back():
    """A retry queue returns its messages to the queue they came from, after its time."""
    queue = topology.retry_queue("notifier.billing-events", 5)
    assert queue.name == "notifier.billing-events.retry.5s"
    assert queue.queue_arguments["x-message-ttl"] == 5000
    assert queue.queue_arguments["x-dead-letter-routing-key"] == "notifier.billing-events"


def test_all_consumers_of_a_source():
    """The publisher declares the queue of every service that hears it."""
    assert set(topology.consumers_of("billing")) == {"portal", "billing", "notifier"}
