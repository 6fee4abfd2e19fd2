"""Consuming events: never acked before the effect is committed, never spinning, never silently gone.

A handler that returns acks its message. One that raises sends the message to a waiting room (5 s, 30 s, 5 min)
and, when those are used up, to the dead-letter queue with the reason. `Permanent` goes there at once.

While the service's own database is away nothing is wrong with the event, so it costs no try: the message is held,
unacknowledged, and tried again here. As only so many are held (the prefetch), the others wait in their queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import eventlet
import structlog
from amqp.exceptions import AMQPError, NotFound
from eventlet.semaphore import Semaphore
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import Entrypoint, ProviderCollector
from nameko.messaging import HeaderDecoder, QueueConsumer

from shared import events, tracing
from shared.database import DatabaseUnavailable
from shared.messaging import topology
from shared.messaging.amqp import make_connection, publish_raw
from shared.telemetry import DEAD_LETTERS, EVENT_SECONDS, get_logger

log = get_logger(__name__)

HOLD_SECONDS: Final = 15
"""Pause before a message is given back when its retry can't be published. Without it a memory alarm burnt
every redelivery within 30 ms and the message was dead-lettered."""

LOOK_UP_SECONDS: Final = 0.2
"""How long a silent broker keeps a consumer from noticing that it is to stop; a service has up to three in a row."""

AWAY_SECONDS: Final = (1, 2, 4, 8, 15)
"""Pauses before an event is tried again while our own database is away; the last one repeats."""

EVENTS_AT_ONCE: Final = 15
"""Handlers of events that run together in a process: fewer than it has database connections, so that a flood of
events leaves some for pages and calls."""

TOGETHER_AT_ONCE: Final = 24
"""The same of handlers that share transactions: all of them need two connections, and a batch gets half of them."""

REASON_LENGTH: Final = 500
Method = TypeVar("Method", bound=Callable[..., Any])


class Permanent(Exception):
    """Trying again can't help; the text says why. The event goes to the dead-letter queue at once."""


class SafeQueueConsumer(QueueConsumer):
    """nameko's consumer, hardened: settling on a broken connection does not kill the container, and a message
    that can't be decoded is not acked away."""

    connected = False

    def consume(self, *args: Any, **kwargs: Any) -> Any:
        """nameko's, which looks for consumers to be stopped each time that nothing has come for a while."""
        return super().consume(*args, **{**kwargs, "safety_interval": LOOK_UP_SECONDS})

    @property
    def connection(self) -> Any:
        return make_connection(self.amqp_uri, heartbeat=10)

    def unregister_provider(self, provider: Any) -> None:
        if self._consumers_ready.ready():
            super().unregister_provider(provider)
        else:  # nameko's fails at the second one that stops before the broker was there
            ProviderCollector.unregister_provider(self, provider)

    def _settle(self, message: Any, operation: Callable[[], None]) -> None:
        if message.acknowledged or not message.channel.connection:
            return  # the broker has taken it back already
        try:
            operation()
        except (OSError, AMQPError) as error:
            log.warning("message not settled, the broker will deliver it again", error=repr(error))

    def ack_message(self, message: Any) -> None:
        self._settle(message, message.ack)

    def requeue_message(self, message: Any) -> None:
        self._settle(message, message.requeue)

    def reject_message(self, message: Any) -> None:
        self._settle(message, message.reject)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error(
            "undecodable message", error=type(exc).__name__, content_type=message.content_type
        )
        for provider in self._providers:
            give_up = getattr(provider, "give_up", None)
            if give_up and provider.queue.name == self._queue_of(message):
                self.container.spawn_managed_thread(
                    partial(give_up, message, f"undecodable: {type(exc).__name__}")
                )
                return
        self.reject_message(message)

    def _queue_of(self, message: Any) -> str | None:
        tag = message.delivery_info.get("consumer_tag")
        for consumer in self._consumers.values():
            for queue in consumer.queues:
                if consumer._active_tags.get(queue.name) == tag:
                    return str(queue.name)
        return None

    def get_consumers(self, consumer_cls: Any, channel: Any) -> Any:
        # Runs again after every reconnection.
        for exchange in topology.exchanges_of(self.container.service_name):
            exchange(channel).declare()
        sides = [q for one in self._providers for q in getattr(one, "side_queues", ())]
        for exchange in topology.awaited([*sides, *(one.queue for one in self._providers)]):
            self._await(exchange, channel.connection.client)
        for queue in sides:
            queue(channel).declare()
        return super().get_consumers(consumer_cls, channel)

    def _await(self, exchange: Any, connection: Any) -> None:
        """Wait until its owner has made the exchange: services start in any order."""
        told = False
        while not self.should_stop:
            looking = connection.channel()
            try:
                exchange(looking).declare()
            except NotFound:
                if not told:
                    owner = topology.OWNERS[exchange.name]
                    log.info("waiting for an exchange", exchange=exchange.name, made_by=owner)
                told = True
                eventlet.sleep(LOOK_UP_SECONDS)
            else:
                looking.close()
                return

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, **kwargs: Any
    ) -> None:
        self.connected = True
        super().on_consume_ready(connection, channel, consumers, **kwargs)

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        self.connected = False
        log.warning("broker unreachable", error=type(exc).__name__, retry_seconds=interval)

    def handle_message(self, provider: Any, body: Any, message: Any) -> None:
        def guarded() -> None:
            try:
                provider.handle_message(body, message)
            except Exception as error:  # anything that escapes a managed thread kills the container
                log.error("message not handled", error=repr(error), queue=provider.queue.name)
                self.reject_message(message)

        self.container.spawn_managed_thread(guarded)

    def degradation(self) -> str | None:
        """What `/readyz` tells of the broker; None when consuming."""
        return None if self.connected else "not connected to the broker"


class EventConsumer(Entrypoint, HeaderDecoder):
    """Entrypoint for a service's event queue: the method gets a parsed `shared.events.Event`."""

    queue_consumer = SafeQueueConsumer()

    def __init__(
        self, source: str = "billing", at_once: int = EVENTS_AT_ONCE, **kwargs: Any
    ) -> None:
        self.source = source
        self._slots = Semaphore(at_once)
        super().__init__(**kwargs)

    def setup(self) -> None:
        service = self.container.service_name
        self.queue = topology.event_queue(service, self.source)
        self.embedded = self.container.config["AMQP_URI"].startswith("embedded")
        self.side_queues = (
            [topology.dead_queue(self.queue.name)]
            if self.embedded
            else topology.side_queues(self.queue.name)
        )
        self.queue_consumer.register_provider(self)

    def stop(self) -> None:
        self.queue_consumer.unregister_provider(self)

    def span(self, worker_ctx: Any) -> tracing.Span:
        """The span of one event's handling, in the trace of what made the event."""
        (event,) = worker_ctx.args
        return tracing.process(topology.exchange(self.source).name, self.queue.name, event)

    def handle_message(self, body: Any, message: Any) -> None:
        try:
            event = events.decode(message.body)
        except events.EventError as error:
            self.give_up(message, str(error))
            return
        self._handle(message, event, 0)

    def _handle(self, message: Any, event: events.Event, holds: int) -> None:
        self._slots.acquire()
        started = time.perf_counter()
        try:
            self.container.spawn_worker(
                self,
                (event,),
                {},
                context_data={"correlation_id": event.correlation_id},
                handle_result=partial(self._settle, message, event, started, holds),
            )
        except ContainerBeingKilled:
            self._slots.release()
            self.queue_consumer.requeue_message(message)

    def _hold(self, message: Any, event: events.Event, holds: int) -> None:
        """Try again after a pause, without giving the message back: the broker counts redeliveries."""
        pause = AWAY_SECONDS[min(holds, len(AWAY_SECONDS) - 1)]
        log.warning("event held, the database is away", event_id=event.id, seconds=pause)

        def again() -> None:
            eventlet.sleep(pause)
            if message.channel.connection:  # else the broker has it back, and delivers it anew
                self._handle(message, event, holds + 1)

        self.container.spawn_managed_thread(again)

    def _settle(
        self,
        message: Any,
        event: events.Event,
        started: float,
        holds: int,
        worker_ctx: Any,
        result: Any,
        exc_info: Any,
    ) -> tuple[Any, Any]:
        self._slots.release()
        outcome = "ok"
        if exc_info is None:
            self.queue_consumer.ack_message(message)
        elif isinstance(exc_info[1], DatabaseUnavailable):
            outcome = "held"
            self._hold(message, event, holds)
        else:
            error = exc_info[1]
            attempt = int((message.headers or {}).get("x-attempt", 0))
            permanent = isinstance(error, Permanent)
            outcome = "dead" if permanent or attempt >= len(topology.RETRY_SECONDS) else "retry"
            with structlog.contextvars.bound_contextvars(correlation_id=event.correlation_id):
                log.error(
                    "event not handled",
                    event_id=event.id,
                    type=event.type,
                    attempt=attempt,
                    outcome=outcome,
                    exc_info=None if permanent else exc_info,
                    reason=str(error),
                )
                reason = f"{type(error).__name__}: {error}"
                if outcome == "dead":
                    self.give_up(message, reason)
                else:
                    self._retry(message, attempt, reason)
        EVENT_SECONDS.labels(self.container.service_name, event.type, outcome).observe(
            time.perf_counter() - started
        )
        return result, exc_info

    def _headers(self, message: Any, reason: str, attempt: int) -> dict[str, Any]:
        return {
            **(message.headers or {}),
            "x-attempt": attempt,
            "x-error": reason[:REASON_LENGTH],
            "x-original-routing-key": (message.headers or {}).get(
                "x-original-routing-key", message.delivery_info.get("routing_key", "")
            ),
        }

    def _retry(self, message: Any, attempt: int, reason: str) -> None:
        seconds = topology.RETRY_SECONDS[attempt]
        headers = self._headers(message, reason, attempt + 1)
        if self.embedded:  # no waiting rooms in memory: wait here
            eventlet.spawn_after(seconds, self._move, None, message.body, self.queue.name, headers)
            self.queue_consumer.ack_message(message)
            return
        self._move(
            message, message.body, topology.retry_queue(self.queue.name, seconds).name, headers
        )

    def give_up(self, message: Any, reason: str) -> None:
        """Move the message to the dead-letter queue with its reason and original headers; then ack it."""
        DEAD_LETTERS.labels(self.container.service_name, reason.split(":", 1)[0]).inc()
        attempt = int((message.headers or {}).get("x-attempt", 0))
        log.error("dead letter", queue=self.queue.name, reason=reason)
        self._move(
            message,
            message.body,
            topology.dead_queue(self.queue.name).name,
            self._headers(message, reason, attempt),
        )

    def _move(self, message: Any, body: Any, queue: str, headers: dict[str, Any]) -> None:
        """Publish with confirm, then ack; when that fails, hold and give the message back."""
        try:
            publish_raw(
                self.container.config["AMQP_URI"],
                body,
                exchange="",
                routing_key=queue,
                headers=headers,
            )
        except Exception as error:
            log.warning("message not moved", to=queue, error=repr(error))
            if message is not None:
                eventlet.sleep(HOLD_SECONDS)
                self.queue_consumer.requeue_message(message)
        else:
            if message is not None:
                self.queue_consumer.ack_message(message)


def consume(method: Method) -> Method:
    """Decorate the one method of a service that takes its events: `@consume def on_event(self, event)`."""
    decorated: Method = EventConsumer.decorator(method)
    return decorated


def consume_together(method: Method) -> Method:
    """The same for a method whose work on many events is one transaction (`shared/batching.py`)."""
    decorated: Method = EventConsumer.decorator(at_once=TOGETHER_AT_ONCE)(method)
    return decorated
