"""Consuming events: never acked before the effect is committed, never spinning, never silently gone.

A handler that returns acks its message. One that raises sends the message to a waiting room (5 s, 30 s, 5 min)
and, when those are used up, to the dead-letter queue with the reason. `Permanent` goes there at once.

While the service's own database is away nothing is wrong with the event, so it costs no try: the message is held,
unacknowledged, and tried again here. As only so many are held (the prefetch), the others wait in their queue.

Each event that was handled is one line of the log, `event handled`, with what the method returns as its outcome. Many at a
time: `shared/nameko_ext/batch_consumer.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import eventlet
from eventlet.semaphore import Semaphore
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import Entrypoint

from shared import events, tracing
from shared.clock import utc_now
from shared.contracts.accounts import account_shown
from shared.database import DatabaseUnavailable, UnstorableValue
from shared.messaging import incoming, topology
from shared.messaging.amqp import is_embedded
from shared.nameko_ext.bounded_publisher import publish_raw
from shared.nameko_ext.container import ACCOUNT, KEY
from shared.nameko_ext.listener import InHand, SafeQueueConsumer, is_stale
from shared.telemetry import DEAD_LETTERS, EVENT_SECONDS, error_text, get_logger, redact

log = get_logger(__name__)

HOLD_SECONDS: Final = 15
"""Pause before a message is given back when its retry can't be published. Without it a memory alarm burnt
every redelivery within 30 ms and the message was dead-lettered."""

AWAY_SECONDS: Final = (1, 2, 4, 8, 15)
"""Pauses before an event is tried again while our own database is away; the last one repeats."""

EVENTS_AT_ONCE: Final = 15
"""Handlers of events that run together in a process: fewer than it has database connections, so that a flood of
events leaves some for pages and calls."""

FEW_AT_ONCE: Final = 2
"""The same of handlers that stand beside others in a service, and wait when there is much to do."""

NOT_HANDLED: Final = "not handled"
UNREADABLE: Final = "unreadable"
"""Causes of dead letters, for the metric, beside the names of errors."""

Method = TypeVar("Method", bound=Callable[..., Any])


class Permanent(Exception):
    """Trying again can't help; the text says why. The event goes to the dead-letter queue at once."""


class EventConsumer(Entrypoint):
    """Entrypoint for a service's event queue: the method gets a parsed `shared.events.Event`."""

    queue_consumer = SafeQueueConsumer()

    def __init__(
        self,
        source: str = "billing",
        lane: str = topology.EVENT_LANE,
        at_once: int = EVENTS_AT_ONCE,
        **kwargs: Any,
    ) -> None:
        self.source, self.lane = source, lane
        self._slots = Semaphore(at_once)
        self._in_hand = InHand()
        super().__init__(**kwargs)

    def setup(self) -> None:
        service = self.container.service_name
        # Told as 0 from the start: the first one is an increase.
        for cause in (NOT_HANDLED, UNREADABLE, Permanent.__name__):
            DEAD_LETTERS.labels(service, cause)
        self.queue = topology.event_queue(service, self.source, self.lane)
        self.embedded = is_embedded(self.container.config["AMQP_URI"])
        self.auxiliary_queues = (
            [topology.dead_queue(self.queue.name)]
            if self.embedded
            else topology.auxiliary_queues(self.queue.name)
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
            event = self._read(message)
        except (incoming.Unreadable, events.EventError) as error:
            self.give_up(message, str(error), UNREADABLE)
            return
        self._begin(message, event)

    @staticmethod
    def _read(message: Any) -> events.Event:
        incoming.assure_json(message)
        return events.decode(message.body)

    def _begin(self, message: Any, event: events.Event) -> None:
        if not self._in_hand.joins(event.id, message):
            self._handle(message, event, 0)

    def _handle(self, message: Any, event: events.Event, holds: int) -> None:
        self._slots.acquire()
        if is_stale(self._in_hand.newest(event.id, message)):  # the broker delivers it anew
            self._drop(message, event)
            return
        started = time.perf_counter()
        try:
            self.container.spawn_worker(
                self,
                (event,),
                {},
                context_data=self._context(event),
                handle_result=partial(self._settle, message, event, started, holds),
            )
        except ContainerBeingKilled:
            self.queue_consumer.requeue_message(self._drop(message, event))
        except Exception:
            self._drop(message, event)
            raise

    @staticmethod
    def _context(event: events.Event) -> dict[str, str]:
        """What the log lines and calls of a worker that has this one event in hand say of it."""
        account = {ACCOUNT: event.data.account} if event.data.account else {}
        return {KEY: event.correlation_id or event.id, **account}

    def _drop(self, message: Any, event: events.Event) -> Any:
        """Nothing is done about it here; the copy that is still to be settled."""
        self._slots.release()
        return self._in_hand.release(event.id, message)

    def _hold(self, message: Any, event: events.Event, holds: int) -> None:
        """Try again after a pause, without giving the message back: the broker counts redeliveries."""
        pause = AWAY_SECONDS[min(holds, len(AWAY_SECONDS) - 1)]
        self._tell_held(event, pause)

        def again() -> None:
            eventlet.sleep(pause)
            self._handle(message, event, holds + 1)

        self.container.spawn_managed_thread(again)

    def _tell_held(self, event: events.Event, pause: float) -> None:
        log.warning(
            "event held, the database is away",
            event_id=event.id,
            type=event.type,
            queue=self.queue.name,
            seconds=pause,
            correlation_id=event.correlation_id or event.id,
        )

    def _tell_handled(self, event: events.Event, outcome: str, seconds: float) -> None:
        log.info(
            "event handled",
            event_id=event.id,
            type=event.type,
            queue=self.queue.name,
            outcome=outcome,
            seconds=round(seconds, 4),
            correlation_id=event.correlation_id or event.id,
            **account_shown(event.data.account),
        )

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
        seconds = time.perf_counter() - started
        outcome = "ok"
        if exc_info is not None and isinstance(exc_info[1], DatabaseUnavailable):
            outcome = "held"
            self._hold(message, event, holds)
        else:
            message = self._in_hand.release(event.id, message)
            if exc_info is None:
                self.queue_consumer.ack_message(message)
                self._tell_handled(event, result if isinstance(result, str) else "done", seconds)
            else:
                outcome = self._put_aside(message, event, exc_info)
        EVENT_SECONDS.labels(self.container.service_name, event.type, outcome).observe(seconds)
        return result, exc_info

    def _put_aside(self, message: Any, event: events.Event, exc_info: Any) -> str:
        """Send a message whose handler failed to a waiting room, or give it up; which of them."""
        error = exc_info[1]
        attempt = incoming.own_headers(message.headers).attempt
        permanent = isinstance(error, Permanent | UnstorableValue)
        outcome = "dead" if permanent or attempt >= len(topology.RETRY_SECONDS) else "retry"
        cause, correlation_id = type(error).__name__, event.correlation_id or event.id
        reason = f"{cause}: {error}"
        log.error(
            "event not handled",
            event_id=event.id,
            type=event.type,
            queue=self.queue.name,
            attempt=attempt,
            outcome=outcome,
            exc_info=None if permanent else exc_info,
            reason=reason,
            correlation_id=correlation_id,
        )
        if outcome == "dead":
            self.give_up(message, reason, cause, correlation_id)
        else:
            self._retry(message, attempt, reason)
        return outcome

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

    def give_up(
        self, message: Any, reason: str, cause: str = NOT_HANDLED, correlation_id: str = ""
    ) -> None:
        """Move the message to the dead-letter queue with its reason and its plain headers; then ack it.

        `cause` is the reason in a word of a small set, for the metric: the name of an error's class, `unreadable`, or
        `not handled`.
        """
        if is_stale(
            message
        ):  # its next copy comes here too; a letter of each would be one too many
            return
        reason = reason[: incoming.TEXT_LENGTH]
        DEAD_LETTERS.labels(self.container.service_name, cause).inc()
        own = incoming.own_headers(message.headers)
        event_id, type_ = incoming.identify(message.body)
        log.error(
            "dead letter",
            event_id=event_id,
            type=type_,
            queue=self.queue.name,
            attempt=own.attempt,
            reason=reason,
            correlation_id=correlation_id or own.correlation_id or event_id,
        )
        self._move(
            message,
            message.body,
            topology.dead_queue(self.queue.name).name,
            {
                **self._headers(message, reason, own.attempt),
                incoming.GIVEN_UP_AT: utc_now().isoformat(timespec="seconds"),
            },
        )

    @staticmethod
    def _headers(message: Any, reason: str, attempt: int) -> dict[str, Any]:
        came_as = message.delivery_info.get("routing_key", "")
        return {
            **incoming.carried(message.headers),
            incoming.ATTEMPT: attempt,
            incoming.ERROR: redact(reason[: 2 * incoming.TEXT_LENGTH])[: incoming.TEXT_LENGTH],
            incoming.ORIGINAL_ROUTING_KEY: incoming.own_headers(
                message.headers
            ).original_routing_key
            or came_as,
        }

    def _move(self, message: Any, body: Any, queue: str, headers: dict[str, Any]) -> None:
        """Publish with confirm, then ack; when that fails, hold and give the message back."""
        if message is not None and is_stale(message):
            return
        try:
            publish_raw(
                self.container.config["AMQP_URI"],
                body,
                exchange="",
                routing_key=queue,
                headers=headers,
            )
        except Exception as error:
            log.warning("message not moved", to=queue, error=error_text(error))
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


def consume_from(source: str) -> Callable[[Method], Method]:
    """The same for the few events of another source than billing: `@consume_from("portal")`."""
    decorator: Callable[[Method], Method] = EventConsumer.decorator(
        source=source, at_once=FEW_AT_ONCE
    )
    return decorator
