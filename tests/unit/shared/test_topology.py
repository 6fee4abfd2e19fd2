"""Queues are the same from either side."""

from shared.events import CONSUMERS
from shared.messaging import topology


def test_event_queue_hears_what_the_table_says():
    """A consumer's queue is bound for exactly the types of CONSUMERS, and is a quorum queue that dead-letters."""
    for service, heard in CONSUMERS.items():
        queues = [
            one for source in topology.sources() for one in topology.event_queues(service, source)
        ]
        keys = [b.routing_key for queue in queues for b in queue.bindings]
        assert sorted(keys) == sorted(cls.type for cls in heard)
        for queue in queues:
            assert queue.queue_arguments["x-queue-type"] == "quorum"
            assert queue.queue_arguments["x-dead-letter-routing-key"] == queue.name


def test_the_portals_old_replicas_never_get_what_they_do_not_know():
    """They share its queue of events, and would give up a type that they don't know."""
    assert topology.lanes("portal") == ["accounts", "events", "evidence", "imported", "profiles"]
    keys = {binding.routing_key for binding in topology.event_queue("portal").bindings}
    assert not keys & {"customer.evidence_changed", "customer.seen", "invoice.imported"}
    assert [queue.name for queue in topology.event_queues("portal", "billing")] == [
        "portal.billing-accounts",
        "portal.billing-events",
        "portal.billing-evidence",
        "portal.billing-imported",
        "portal.billing-profiles",
    ]


def test_waiting_rooms_give_back():
    """A retry queue returns its messages to the queue they came from, after its time."""
    queue = topology.retry_queue("notifier.billing-events", 5)
    assert queue.name == "notifier.billing-events.retry.5s"
    assert queue.queue_arguments["x-message-ttl"] == 5000
    assert queue.queue_arguments["x-dead-letter-routing-key"] == "notifier.billing-events"


def test_all_consumers_of_a_source():
    """The publisher binds the queue of every service that hears it."""
    assert set(topology.consumers_of("billing")) == {"portal", "billing", "notifier"}
    assert topology.consumers_of("portal") == ["notifier"]
    assert [queue.name for queue in topology.queues_of("portal")] == ["notifier.portal-events"]


def test_an_exchange_is_made_by_its_owner_alone():
    """Whoever else declares a queue that is bound to it only looks whether it is there."""
    for service in CONSUMERS:
        queues = [topology.rpc_queue(service), *topology.event_queues(service, "billing")]
        queues += topology.event_queues(service, "portal")
        queues += [side for one in queues[1:] for side in topology.auxiliary_queues(one.name)]
        queues.append(topology.reply_queue(service, "address"))
        bound = [each.exchange for one in queues for each in (one, *one.bindings) if each.exchange]
        assert {one.name for one in bound} >= set(topology.OWNERS) - {
            "notifier.events",
            "portal.events",
        }
        for exchange in bound:
            if exchange.name in topology.OWNERS:
                assert exchange.passive == (topology.OWNERS[exchange.name] != service)
    made = [one.name for service in CONSUMERS for one in topology.exchanges_of(service)]
    assert sorted(made) == sorted(topology.OWNERS)
