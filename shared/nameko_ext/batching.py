"""Concurrent work shares a round trip: what callers ask for at the same time is done in one go.

A call puts its item in a queue and waits. Green threads, at most `workers` of them, take what is pending, do it in
one go and hand out the results; they live only while there is work. So a call that is alone waits for nobody, and
under load the batches grow by themselves: while one statement is under way, the next one's items gather. No timer
ever holds an item back, but where a batcher `gathers`, and then no longer than that behind a batch that is under way; or where it `rests`,
and then no longer than that after a batch of several, since more come then.

The rules that callers may rely on:

- **Order**: items are taken in the order in which they came; nobody is passed over. Where a batcher keeps groups `apart`, a batch is
  of one group, and a group of which no batch is under way comes first, where all workers are busy by one of a few `SPARE`: one that is
  slow holds up its own, and with one group alone there are as many workers as ever.
- **Own failures**: work that raises is done again in halves, down to single items, so a poison item fails its
  own caller alone. Only errors in `fails_all` (the database is away) fail everybody at once, without a second try.
- **Bounds**: with `waiting` items in the queue the next call raises Overloaded at once.
- **Cancelling**: a caller whose `eventlet.Timeout` fires leaves; an item that nobody took yet is not done at all,
  one that is under way is finished, and its result dropped.
- **Nobody's own**: a batch runs in a green thread of its own, with a correlation id of its own in its log lines and its calls
  to other services; no caller's deadline, log context or proxy is that of the others. Its span: docs/adr/0011-traces.md.

Work must be repeatable: after a failure some of its items run again. A transaction that was rolled back is.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

import eventlet
import structlog
from eventlet import hubs
from nameko.extensions import DependencyProvider
from prometheus_client import Histogram
from sqlalchemy.orm import Session

from shared import tracing
from shared.database import DatabaseUnavailable, Transactions
from shared.nameko_ext.container import KEY, new_correlation_id
from shared.nameko_ext.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS: Final = 2
MOST: Final = 128
WAITING: Final = 1024
SPARE: Final = 4
"""Workers beside those that a batcher has, for groups of which no batch is under way."""

NONE_YET: Final = object()

BATCH_SIZE: Final = Histogram(
    "portico_batch_size",
    "How many callers shared one round trip",
    ["batcher"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)


class Overloaded(Exception):
    """Too much waits already: nothing was done, and the caller may come back in a moment."""


class Interrupted(Exception):
    """The work was ended from outside (a service that is killed). Whether it had its effect is not known."""


@dataclass(frozen=True)
class Failed:
    """What work on an item raised, in the place of its result."""

    error: Exception


def in_halves(
    work: Callable[[list[Item]], Sequence[Result]],
    items: list[Item],
    *,
    fails_all: tuple[type[Exception], ...] = (),
) -> list[Result | Failed]:
    """The result of each item, all done in one go; what fails is done again in halves, down to single items, so that
    one that can't be done fails alone. Errors in `fails_all` are nobody's own: those that meet one are not tried again."""
    try:
        results = work(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for {len(items)} items")
    except fails_all as error:
        return [Failed(error)] * len(items)
    except Exception as error:
        if len(items) <= 1:
            return [Failed(error)] * len(items)
        half = len(items) // 2
        return [
            *in_halves(work, items[:half], fails_all=fails_all),
            *in_halves(work, items[half:], fails_all=fails_all),
        ]
    return list(results)


class _Call(Generic[Item]):
    """One caller's item, and the green thread that waits for its result."""

    __slots__ = ("item", "outcome", "traceparent", "waiting")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.waiting: Any = None
        """None: nobody waits yet, or it has gone on, or was ended."""
        self.outcome: Any = NONE_YET
        self.traceparent = tracing.here()


class _Wakes:
    """Wakes the callers of a batch, one after the other, by one timer: each in the hub's own green thread, to which it comes back
    when it waits again."""

    def __init__(
        self, calls: Sequence[_Call[Any]], outcomes: Sequence[Any], seconds: float = math.inf
    ) -> None:
        """`seconds`: after so long the hub looks who else is ready."""
        self._left = deque(zip(calls, outcomes, strict=True))
        self._seconds = seconds
        hubs.get_hub().schedule_call_global(0, self._wake)

    def _wake(self) -> None:
        ends = time.monotonic() + self._seconds
        try:
            while self._left and time.monotonic() < ends:
                call, outcome = self._left.popleft()
                call.outcome = outcome
                if (caller := call.waiting) is not None:
                    call.waiting = None
                    caller.switch()
        finally:
            if self._left:
                hubs.get_hub().schedule_call_global(0, self._wake)


class Batcher(Generic[Item, Result]):
    """Call it with an item; returns the item's result, made together with those of others."""

    def __init__(  # noqa: PLR0913  (a bound each)
        self,
        name: str,
        work: Callable[[list[Item]], Sequence[Result]],
        *,
        workers: int = WORKERS,
        most: int = MOST,
        waiting: int = WAITING,
        gathers: float = 0.0,
        rests: float = 0.0,
        wakes_for: float = math.inf,
        fails_all: tuple[type[Exception], ...] = (),
        apart: Callable[[Item], Hashable] | None = None,
        span: bool = True,
    ) -> None:
        """`work` gets one to `most` items and returns as many results, in their order; all of one group where `apart` tells the
        group of an item. Without `span` its batches have none in a trace.

        `name` is the label of the metric `batch_size`. `gathers`: for how many seconds items gather while one worker has a batch,
        before a second one takes them. Two at a time halve the batches, which costs more than it gives where a batch is done
        soon; and one that is not done soon should hold up nobody. `rests`: for how many seconds a batch gathers before it begins, if the one
        before it had several: for work that nobody waits for, whose items come one soon after the other. `wakes_for`: for how many seconds a
        batch's callers are woken before the hub looks who else is ready, where they go on to do much: the next batch's questions are sent
        meanwhile. Those who are woken all at once share a batch again with what they ask next. Raises ValueError for a bound below one.
        """
        if min(workers, most, waiting) < 1:
            raise ValueError("workers, most and waiting are at least 1")
        self._name, self._work = name, work
        self._workers, self._most, self._waiting = workers, most, waiting
        self._gathers, self._is_planned = gathers, False
        self._rests, self._had_several = rests, False
        self._wakes_for = wakes_for
        self._fails_all = fails_all
        self._apart = apart
        self._has_span = span
        self._under_way: Counter[Hashable] = Counter()
        """How many workers have a batch of each group."""
        self._pending: deque[_Call[Item]] = deque()
        self._busy = 0
        self._observe = BATCH_SIZE.labels(name).observe

    def __call__(self, item: Item) -> Result:
        """The item's result. Raises what the work raised for it, or Overloaded."""
        return self.begin(item)()

    def begin(self, item: Item) -> Callable[[], Result]:
        """Have it done, and go on: what to call for the result, which waits for it, and raises as above. No two green threads may."""
        call = _Call(item)
        if len(self._pending) >= self._waiting:
            call.outcome = Failed(Overloaded(f"{self._waiting} calls wait already"))
            return partial(self._wait, call)
        self._pending.append(call)
        if self._busy and self._gathers:
            self._plan()
        elif self._busy < self._workers or self._is_spared(item):
            self._start()
        return partial(self._wait, call)

    def _wait(self, call: _Call[Item]) -> Result:
        if call.outcome is NONE_YET:
            call.waiting = eventlet.getcurrent()
            try:
                hubs.get_hub().switch()
            except BaseException:
                call.waiting = None
                self._withdraw(call)
                raise
        outcome: Result | Failed = call.outcome
        if isinstance(outcome, Failed):
            raise outcome.error
        return outcome

    @property
    def waiting(self) -> int:
        """How many items nobody has taken yet."""
        return len(self._pending)

    def _is_spared(self, item: Item) -> bool:
        """Whether a spare worker is to look after an item that has just come."""
        if self._apart is None or self._busy >= self._workers + SPARE:
            return False
        return self._apart(item) not in self._under_way

    def _start(self) -> None:
        self._busy += 1
        if self._rests and self._had_several:
            eventlet.spawn_after(self._rests, self._run)
            return
        # It runs after every green thread that is ready now, so calls of the same moment already share.
        eventlet.spawn_n(self._run)

    def _plan(self) -> None:
        """See to it that what waits behind a batch is not held up by it."""
        if self._pending and not self._is_planned:
            self._is_planned = True
            hubs.get_hub().schedule_call_global(self._gathers, self._join_in)

    def _join_in(self) -> None:
        self._is_planned = False
        if self._pending and self._busy < self._workers:
            self._start()

    def _withdraw(self, call: _Call[Item]) -> None:
        try:
            self._pending.remove(call)
        except ValueError:
            return  # it is under way, and will be finished for nobody

    def _run(self) -> None:
        calls: list[_Call[Item]] = []
        try:
            while self._pending and (taken := self._take()) is not None:
                group, calls = taken
                self._observe(len(calls))
                self._had_several = len(calls) > 1
                with (
                    self._counted(group),
                    tracing.batch(self._name, calls) if self._has_span else tracing.NOTHING,
                    structlog.contextvars.bound_contextvars(**{KEY: new_correlation_id()}),
                ):
                    _Wakes(calls, self._outcomes(calls), self._wakes_for)
                    calls = []
                if self._gathers and self._busy > 1:
                    self._plan()
                    break
        except BaseException as error:  # this green thread is killed: nobody may wait indefinitely
            failed = Failed(Interrupted(type(error).__name__))
            _Wakes(calls, [failed] * len(calls))
            raise
        finally:
            self._busy -= 1
            if self._pending and not self._busy:
                self._start()

    def _take(self) -> tuple[Hashable, list[_Call[Item]]] | None:
        """The next batch, and its group; None: there is none for a spare worker."""
        pending = self._pending
        if self._apart is None:
            return None, [pending.popleft() for _ in range(min(len(pending), self._most))]
        groups = [self._apart(call.item) for call in pending]
        fresh = [one for one in groups if one not in self._under_way]
        if not fresh and self._busy > self._workers:
            return None
        group = (fresh or groups)[0]
        calls: list[_Call[Item]] = []
        rest: deque[_Call[Item]] = deque()
        for call, its_group in zip(pending, groups, strict=True):
            mine = its_group == group and len(calls) < self._most
            (calls if mine else rest).append(call)
        self._pending = rest
        return group, calls

    @contextmanager
    def _counted(self, group: Hashable) -> Iterator[None]:
        self._under_way[group] += 1
        try:
            yield
        finally:
            self._under_way[group] -= 1
            if not self._under_way[group]:
                del self._under_way[group]

    def _outcomes(self, calls: list[_Call[Item]]) -> list[Result | Failed]:
        return in_halves(self._work, [call.item for call in calls], fails_all=self._fails_all)


class Batched(DependencyProvider):
    """Injects a `Batcher` whose batches are transactions on the service's own database.

    `work` is a plain function of a session and the items, and returns as many results: a handler. A database
    that is away fails all callers at once, with DatabaseUnavailable.
    """

    batcher: Batcher[Any, Any]

    def __init__(
        self,
        name: str,
        work: Callable[[Session, list[Any]], Sequence[Any]],
        *,
        workers: int = WORKERS,
        gathers: float = 0.0,
        rests: float = 0.0,
        wakes_for: float = math.inf,
        reads: bool = False,
    ) -> None:
        """One worker makes the largest batches, and suits work that nobody waits for at a screen. `gathers`, `rests`, `wakes_for`: see
        `Batcher`. `reads`: the work writes nothing and locks nothing (`Transactions.reading`)."""
        self.label = name
        self.work = work
        self.kind: Any = {
            "workers": workers,
            "gathers": gathers,
            "rests": rests,
            "wakes_for": wakes_for,
            "reads": reads,
        }

    def start(self) -> None:
        database = next(each for each in self.container.dependencies if isinstance(each, Database))
        self.batcher = batch_transactions(self.label, self.work, database.transactions, **self.kind)

    def get_dependency(self, worker_ctx: Any) -> Batcher[Any, Any]:
        return self.batcher


def batch_transactions(
    name: str,
    work: Callable[[Session, list[Item]], Sequence[Result]],
    database: Transactions,
    *,
    workers: int = WORKERS,
    gathers: float = 0.0,
    rests: float = 0.0,
    wakes_for: float = math.inf,
    reads: bool = False,
) -> Batcher[Item, Result]:
    """A batcher that does each batch in one transaction; one that only `reads`, without BEGIN and COMMIT."""
    begin = database.reading if reads else database.transaction

    def in_transaction(items: list[Item]) -> Sequence[Result]:
        with begin() as session:
            return work(session, items)

    return Batcher(
        name,
        in_transaction,
        workers=workers,
        gathers=gathers,
        rests=rests,
        wakes_for=wakes_for,
        fails_all=(DatabaseUnavailable,),
    )
