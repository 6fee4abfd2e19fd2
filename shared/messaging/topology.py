"""Exchanges and queues, declared the same way by publisher and consumer.

RabbitMQ refuses to declare a queue again with other arguments, so both sides build them here. An event that is
published before its consumer ever ran waits in the consumer's queue, because the publisher declares it too.
"""

from __future__ import annotations

from typing import Any, Final

from kombu import Exchange, Queue, binding

from shared.events import CONSUMERS, EVENTS

QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}
SAFE_DEAD_LETTERING: Final[dict[str, Any]] = {
    **QUORUM,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
DEAD_EXCHANGE: Final = Exchange("dead", type="topic", durable=True)
RETRY_SECONDS: Final = (5, 30, 300)
"""How long a failed event waits before each further try."""
DELIVERY_LIMIT: Final = 20
"""Redeliveries (a consumer that died in mid-work) before the broker itself gives a message up."""


def exchange(source: str) -> Exchange:
    """The topic exchange on which `source` publishes: `billing.events`."""
    return Exchange(f"{source}.events", type="topic", durable=True)


def queue_name(service: str, source: str = "billing") -> str:
    """`notifier.billing-events`: what `service` hears from `source`."""
    return f"{service}.{source}-events"


def event_queue(service: str, source: str = "billing") -> Queue:
    """The one queue of a consuming service, bound for each event type that it hears."""
    name = queue_name(service, source)
    keys = sorted({cls.type for cls in CONSUMERS[service] if cls.source == source})
    return Queue(
        name,
        bindings=[binding(exchange(source), routing_key=key) for key in keys],
        durable=True,
        queue_arguments={
            **SAFE_DEAD_LETTERING,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD_EXCHANGE.name,
            "x-dead-letter-routing-key": name,
        },
    )


def dead_queue(name: str) -> Queue:
    """Where the messages of queue `name` go that were given up; kept until a person replays or discards them."""
    return Queue(
        f"{name}.dead",
        exchange=DEAD_EXCHANGE,
        routing_key=name,
        durable=True,
        queue_arguments=dict(QUORUM),
    )


def retry_queue(name: str, seconds: int) -> Queue:
    """A waiting room: a message stays `seconds`, then goes back to queue `name`."""
    return Queue(
        f"{name}.retry.{seconds}s",
        durable=True,
        queue_arguments={
            **SAFE_DEAD_LETTERING,
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": name,
        },
    )


def side_queues(name: str) -> list[Queue]:
    """The dead-letter queue and the waiting rooms of queue `name`."""
    return [dead_queue(name), *(retry_queue(name, seconds) for seconds in RETRY_SECONDS)]


def consumers_of(source: str) -> list[str]:
    """The services that hear events of `source`."""
    return [
        service
        for service, heard in CONSUMERS.items()
        if any(cls.source == source for cls in heard)
    ]


def sources() -> list[str]:
    """The services that publish events."""
    return sorted({cls.source for cls in EVENTS.values()})


def has_consumer(event_type: str) -> bool:
    """Whether a service of ours hears this type. Only then is "no queue is bound" an error: an event for the host
    application alone is published all the same when the host does not care to listen (docs/adr/0007)."""
    return event_type in _HEARD


_HEARD: Final = frozenset(cls.type for heard in CONSUMERS.values() for cls in heard)
