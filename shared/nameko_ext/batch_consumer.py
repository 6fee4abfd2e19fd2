"""Consuming events in batches: those that came together are one piece of work, one acknowledgement and one line of the log.

While a batch is under way the next one's events gather. No timer holds any of them back, so one that comes alone is handled at once; but
where a service has `after`, others act first on the same events, and ask it for what they need. What holds for an event alone (`shared/nameko_ext/consumer.py`) holds for each of a batch: acked after its
effect is committed, tried again or given up by itself, held while the database is away.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import eventlet
import msgspec
from eventlet.event import Event as Signal
from nameko.exceptions import ContainerBeingKilled

from shared import tracing
from shared.database import DatabaseUnavailable
from shared.events import Event
from shared.messaging import topology
from shared.nameko_ext.batching import BATCH_SIZE, Failed, in_halves
from shared.nameko_ext.consumer import AWAY_SECONDS, EventConsumer
from shared.nameko_ext.listener import is_stale
from shared.telemetry import EVENT_SECONDS, get_logger

log = get_logger(__name__)

TOGETHER: Final = 25
"""Events of a batch at most: half of what the broker hands out before it is acknowledged, so the other half comes meanwhile."""

Alike = TypeVar("Alike", bound=Event)
Method = TypeVar("Method", bound=Callable[..., Any])
Outcomes = list[str | Failed]
"""What came of each event of a batch, in their order: a word for the log, or what its handling raised."""


@dataclass(frozen=True, eq=False, slots=True)
class _Delivery:
    """An event, the message that brought it, and how often it was held."""

    message: Any
    event: Event
    holds: int = 0


class BatchConsumer(EventConsumer):
    """Entrypoint for a service's event queue: the method gets the events that came together, and returns their `Outcomes`.

    An error that it raises is that of all.
    """

    def __init__(
        self, lane: str = topology.EVENT_LANE, *, after: float = 0.0, **kwargs: Any
    ) -> None:
        """`after`: for how many seconds events gather when none are under way."""
        super().__init__(lane=lane, **kwargs)
        self._after = after
        self._waiting: deque[_Delivery] = deque()
        self._is_running = False
        self._is_stopping = False
        self._is_full = False

    @property
    def is_behind(self) -> bool:
        """Whether more waits than one batch takes: the batch under way is a full one."""
        return self._is_running and self._is_full

    def stop(self) -> None:
        self._is_stopping = True  # what waits is the broker's again; another process takes it
        super().stop()

    def span(self, worker_ctx: Any) -> tracing.Span:
        """The span of a batch. Each of its events has one of its own, in the trace of what made the event."""
        (batch,) = worker_ctx.args
        return tracing.batch(self.lane, batch)

    def accept(self, message: Any) -> bool:
        """Take a message in the listener's green thread; False: it can't be read, and saying so takes time."""
        try:
            event = self._read(message)
        except Exception:
            return False
        self._begin(message, event)
        return True

    def _begin(self, message: Any, event: Event) -> None:
        if not self._in_hand.joins(event.id, message):
            self._add([_Delivery(message, event)])

    def _add(self, deliveries: Sequence[_Delivery]) -> None:
        self._waiting.extend(deliveries)
        if not self._is_running:
            self._is_running = True
            self.container.spawn_managed_thread(self._run)

    def _run(self) -> None:
        """Hand batch after batch to a worker, until nothing waits."""
        waiting = self._waiting
        try:
            if self._after:
                eventlet.sleep(self._after)
            while waiting and not self._is_stopping:
                self._is_full = len(waiting) >= TOGETHER
                self._work([waiting.popleft() for _ in range(min(len(waiting), TOGETHER))])
        finally:
            self._is_running = False

    def _work(self, deliveries: Sequence[_Delivery]) -> None:
        batch = [one for one in deliveries if not self._is_gone(one)]
        if not batch:
            return
        BATCH_SIZE.labels(self.lane).observe(len(batch))
        settled = Signal()
        started = time.perf_counter()
        spans = self._spans(batch)

        def settle(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            outcomes = [Failed(exc_info[1])] * len(batch) if exc_info else result
            for span in spans:
                span.end()
            try:
                failed = self._settle_batch(batch, outcomes, time.perf_counter() - started)
            finally:
                settled.send()  # what failed keeps nobody waiting
            for thread in [eventlet.spawn(self._fail, *one) for one in failed]:
                thread.wait()
            return result, exc_info

        thread = self._context(batch[0].event) if len(batch) == 1 else {}
        events = [one.event for one in batch]
        if spans:
            events = [
                msgspec.structs.replace(event, traceparent=span.traceparent)
                for event, span in zip(events, spans, strict=True)
            ]
        try:
            self.container.spawn_worker(
                self, (events,), {}, context_data=thread, handle_result=settle
            )
        except ContainerBeingKilled:
            for one in batch:
                self.queue_consumer.requeue_message(self._release(one))
            return
        settled.wait()

    def _spans(self, batch: Sequence[_Delivery]) -> list[tracing.Span]:
        if not tracing.is_on():
            return []
        exchange = topology.exchange(self.source).name
        return [tracing.process(exchange, self.queue.name, one.event) for one in batch]

    def _is_gone(self, one: _Delivery) -> bool:
        """Whether the broker delivers it anew, since its connection broke."""
        if not is_stale(self._in_hand.newest(one.event.id, one.message)):
            return False
        self._release(one)
        return True

    def _release(self, one: _Delivery) -> Any:
        """It is in hand no more; the copy of its message that is to be settled."""
        return self._in_hand.release(one.event.id, one.message)

    def _settle_batch(
        self, batch: Sequence[_Delivery], outcomes: Outcomes, seconds: float
    ) -> list[tuple[Any, Event, Exception, float]]:
        """Ack what is done, hold what waits for the database; what is left failed."""
        done: dict[str, list[Event]] = defaultdict(list)
        acks, held, failed = [], [], []
        for one, outcome in zip(batch, outcomes, strict=True):
            error = outcome.error if isinstance(outcome, Failed) else None
            if isinstance(error, DatabaseUnavailable):
                held.append(one)
            elif error is not None:
                failed.append((self._release(one), one.event, error, seconds))
            else:
                acks.append(self._release(one))
                done[str(outcome)].append(one.event)
                self._observe(one.event, "ok", seconds)
        if acks:
            self.queue_consumer.ack_messages(acks)
            self._tell(done, seconds)
        if held:
            self._hold_batch(held, seconds)
        return failed

    def _observe(self, event: Event, outcome: str, seconds: float) -> None:
        EVENT_SECONDS.labels(self.container.service_name, event.type, outcome).observe(seconds)

    def _tell(self, done: dict[str, list[Event]], seconds: float) -> None:
        """One line: of an event that came alone as anywhere else, of several with the ids by what came of them."""
        count = sum(map(len, done.values()))
        if count == 1:
            ((outcome, (event,)),) = done.items()
            self._tell_handled(event, outcome, seconds)
            return
        log.info(
            "events handled",
            queue=self.queue.name,
            events=count,
            outcomes={outcome: [event.id for event in events] for outcome, events in done.items()},
            seconds=round(seconds, 4),
        )

    def _hold_batch(self, held: Sequence[_Delivery], seconds: float) -> None:
        """Try again after a pause, without giving the messages back: the broker counts redeliveries."""
        pause = AWAY_SECONDS[min(max(one.holds for one in held), len(AWAY_SECONDS) - 1)]
        for one in held:
            self._tell_held(one.event, pause)
            self._observe(one.event, "held", seconds)
        again = [_Delivery(one.message, one.event, one.holds + 1) for one in held]

        def resume() -> None:
            eventlet.sleep(pause)
            self._add(again)

        self.container.spawn_managed_thread(resume)

    def _fail(self, message: Any, event: Event, error: Exception, seconds: float) -> None:
        outcome = self._put_aside(message, event, (type(error), error, error.__traceback__))
        self._observe(event, outcome, seconds)


def act(
    batch: Sequence[Event],
    alike: Callable[[Event], bool],
    together: Callable[[list[Any]], Sequence[str]],
    alone: Callable[[Event], str],
) -> Outcomes:
    """What came of each event: of those that are `alike` all in one go, and in halves where that fails (`in_halves`), of the
    others one by one. A database that is away fails all that it was needed for."""
    mine = [event for event in batch if alike(event)]
    found = iter(in_halves(together, mine, fails_all=(DatabaseUnavailable,)) if mine else ())

    def by_itself(events: list[Event]) -> list[str]:
        with tracing.task("handle event", events[0].traceparent):
            return [alone(events[0])]

    outcomes: Outcomes = []
    for event in batch:
        outcomes += [next(found)] if alike(event) else in_halves(by_itself, [event])
    return outcomes


def consume_batched(method: Method) -> Method:
    """Decorate the one method of a service that takes its events, many at a time: `@consume_batched def on_events(self, batch)`."""
    return consume_lane(topology.EVENT_LANE)(method)


def consume_lane(lane: str, *, after: float = 0.0) -> Callable[[Method], Method]:
    """The same for the events of one lane: `@consume_lane("evidence")`. `after`: see `BatchConsumer`."""
    decorator: Callable[[Method], Method] = BatchConsumer.decorator(lane=lane, after=after)
    return decorator
