"""Exchanges and queues: who makes them, and with which arguments.

Each exchange has one owner, the only service with the right to make it (`OWNERS`); to everybody else it is passive: they
look whether it is there, and wait until it is. A queue is made by the service that consumes it. RabbitMQ refuses
to declare a queue again with other arguments, so all of them are built here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from amqp.exceptions import NotFound
from kombu import Exchange, Queue, binding

from shared.events import CONSUMERS, EVENTS, Data

EVENT_LANE: Final = Data.lane
QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}
SAFE_DEAD_LETTERING: Final[dict[str, Any]] = {
    **QUORUM,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
RPC_EXCHANGE: Final = "nameko-rpc"
"""Where services call each other."""
HOST_EXCHANGE: Final = "amq.topic"
"""Where host applications call. RabbitMQ makes it in each virtual host and lets nobody delete it, and no kombu client declares it: a
stock nameko proxy needs no configure right (docs/adr/0015)."""
DEAD_EXCHANGE: Final = "dead"
REPLY_EXPIRES_MS: Final = 300_000
"""How long a queue for answers outlives its last consumer: a caller that reconnects finds it again."""
RETRY_SECONDS: Final = (5, 30, 300)
"""How long a failed event waits before each further try."""
DELIVERY_LIMIT: Final = 20
"""Redeliveries (a consumer that died in mid-work) before the broker itself gives a message up."""


def sources() -> list[str]:
    """The services that publish events."""
    return sorted({cls.source for cls in EVENTS.values()})


OWNERS: Final[dict[str, str]] = {
    **{f"{source}.events": source for source in sources()},
    RPC_EXCHANGE: "billing",
    DEAD_EXCHANGE: "billing",
}
"""Exchange to the service that makes it. Billing waits for nobody, so it also makes what belongs to all."""


def _topic(name: str, by: str | None) -> Exchange:
    return Exchange(name, type="topic", durable=True, passive=by != OWNERS[name])


def exchange(source: str, by: str | None = None) -> Exchange:
    """The topic exchange on which `source` publishes, `billing.events`, as service `by` declares it."""
    return _topic(f"{source}.events", by)


def exchanges_of(service: str) -> list[Exchange]:
    """The exchanges that `service` makes."""
    return [_topic(name, service) for name, owner in OWNERS.items() if owner == service]


def rpc_queue(service: str) -> Queue:
    """Where the calls of a service's methods wait, from services and from hosts."""
    exchanges = (_topic(RPC_EXCHANGE, service), Exchange(HOST_EXCHANGE, type="topic", durable=True))
    return Queue(
        f"rpc-{service}",
        bindings=[binding(one, routing_key=f"{service}.*") for one in exchanges],
        durable=True,
    )


def reply_queue(caller: str, address: str, **options: Any) -> Queue:
    """Where the answers to a caller's calls arrive; `address` is their `reply_to`, a random UUID."""
    return Queue(
        f"rpc.reply-{caller}-{address}",
        exchange=_topic(RPC_EXCHANGE, caller),
        routing_key=address,
        **options,
    )


def queue_name(service: str, source: str = "billing", lane: str = EVENT_LANE) -> str:
    """`notifier.billing-events`: what `service` hears from `source` in a lane."""
    return f"{service}.{source}-{lane}"


def lanes(service: str, source: str = "billing") -> list[str]:
    """The lanes in which `service` hears from `source`; it has a queue for each."""
    return sorted({cls.lane for cls in CONSUMERS[service] if cls.source == source})


def event_queue(service: str, source: str = "billing", lane: str = EVENT_LANE) -> Queue:
    """The queue of a consuming service for one lane, bound for each event type that it hears there."""
    name = queue_name(service, source, lane)
    heard = [cls for cls in CONSUMERS[service] if (cls.source, cls.lane) == (source, lane)]
    keys = sorted({cls.type for cls in heard})
    return Queue(
        name,
        bindings=[binding(exchange(source, by=service), routing_key=key) for key in keys],
        durable=True,
        queue_arguments={
            **SAFE_DEAD_LETTERING,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD_EXCHANGE,
            "x-dead-letter-routing-key": name,
        },
    )


def dead_queue(name: str) -> Queue:
    """Where the messages of queue `name` go that were given up; kept until a person replays or discards them."""
    return Queue(
        f"{name}.dead",
        exchange=_topic(DEAD_EXCHANGE, name.partition(".")[0]),
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


def auxiliary_queues(name: str) -> list[Queue]:
    """The dead-letter queue and the waiting rooms of queue `name`."""
    return [dead_queue(name), *(retry_queue(name, seconds) for seconds in RETRY_SECONDS)]


def consumers_of(source: str) -> list[str]:
    """The services that hear events of `source`."""
    return [
        service
        for service, heard in CONSUMERS.items()
        if any(cls.source == source for cls in heard)
    ]


def event_queues(service: str, source: str) -> list[Queue]:
    """The queues of a service for what it hears from `source`, one a lane."""
    return [event_queue(service, source, lane) for lane in lanes(service, source)]


def queues_of(source: str) -> list[Queue]:
    """The queues of all who hear `source`."""
    return [queue for service in CONSUMERS for queue in event_queues(service, source)]


def bind_consumers(open_channel: Callable[[], Any], source: str) -> dict[str, str]:
    """Bind the queues of those who hear `source`, as its publisher does, so that nothing passes a queue by whose consumer has
    not come to that yet. Returns which event types must wait, and for the queue that does not exist."""
    waiting: dict[str, str] = {}
    for queue in queues_of(source):
        channel = open_channel()
        try:
            queue(channel).queue_declare(passive=True)
        except NotFound:
            waiting |= {one.routing_key: queue.name for one in queue.bindings}
        else:
            for one in queue.bindings:
                queue(channel).bind_to(one.exchange, one.routing_key)
            channel.close()
    return waiting


def has_consumer(event_type: str) -> bool:
    """Whether a service of ours hears this type. Only then is "no queue is bound" an error: an event for the host
    application alone is published all the same when the host does not care to listen (docs/adr/0007)."""
    return event_type in _HEARD


_HEARD: Final = frozenset(cls.type for heard in CONSUMERS.values() for cls in heard)
