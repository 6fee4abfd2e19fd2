"""Batching: concurrent calls share the work, and nobody pays for another's failure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import eventlet
import greenlet
import pytest
import structlog
from eventlet import hubs
from eventlet.event import Event
from sqlalchemy import text

from shared.database import DatabaseUnavailable, Transactions, make_engine
from shared.nameko_ext.batching import (
    SPARE,
    Batcher,
    Interrupted,
    Overloaded,
    batch_transactions,
)


class Doubler:
    """Work that doubles its items, remembers its batches, and can be held up or poisoned."""

    def __init__(self, *poison: int) -> None:
        self.batches: list[list[int]] = []
        self.poison = set(poison)
        self.gate: Event | None = None
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                self.gate.wait()
            if self.poison & set(items):
                raise ValueError(f"poison among {len(items)}")
            return [2 * item for item in items]
        finally:
            self.at_once -= 1


def outcome(call: Callable[[int], int], item: int) -> Any:
    """The result, or the error, of one call."""
    try:
        return call(item)
    except Exception as error:
        return error


def start(call: Callable[[int], int], items: range) -> list[Any]:
    """Green threads, each with one call; ended by `ends`."""
    threads = [eventlet.spawn(outcome, call, item) for item in items]
    eventlet.sleep(0)
    return threads


def ends(threads: list[Any]) -> list[Any]:
    with eventlet.Timeout(5):
        return [thread.wait() for thread in threads]


def test_a_lone_call_waits_for_nobody() -> None:
    """Alone, a call is a batch of one, done at once: no timer holds it back."""
    work = Doubler()
    assert Batcher("test", work)(21) == 42
    assert work.batches == [[21]]


def test_calls_of_one_moment_share_a_batch() -> None:
    """Green threads that are ready together become one batch, in the order in which they came."""
    work = Doubler()
    batcher = Batcher("test", work, workers=1)
    assert ends(start(batcher, range(50))) == [2 * item for item in range(50)]
    assert work.batches == [list(range(50))]


def test_at_most_so_many_workers_take_what_is_pending() -> None:
    """While two batches are under way, everything else gathers into the next one."""
    work = Doubler()
    work.gate = Event()
    batcher = Batcher("test", work, workers=2)
    threads = []
    for item in range(5):
        threads += start(batcher, range(item, item + 1))
        eventlet.sleep(0)
    assert batcher.waiting == 3
    work.gate.send()
    assert ends(threads) == [0, 2, 4, 6, 8]
    assert work.most_at_once == 2
    assert work.batches == [[0], [1], [2, 3, 4]]


@pytest.mark.parametrize("callers", [1, 2, 16, 256])
def test_everyone_is_answered_with_their_own_result(callers: int) -> None:
    """From one caller to 256, in batches of at most 32, everyone gets what they asked for."""
    work = Doubler()
    batcher = Batcher("test", work, most=32)
    assert ends(start(batcher, range(callers))) == [2 * item for item in range(callers)]
    assert max(len(batch) for batch in work.batches) <= 32


def test_a_failing_item_fails_its_own_caller_alone() -> None:
    """A poison row among a hundred raises for its caller; the 99 others are answered."""
    batcher = Batcher("test", Doubler(37), workers=1)
    results = ends(start(batcher, range(100)))
    assert isinstance(results.pop(37), ValueError)
    assert results == [2 * item for item in range(100) if item != 37]


def test_what_is_nobodys_own_fault_fails_all_at_once() -> None:
    """An unreachable database is not asked again for every caller: one try, and everybody is told."""
    tries = []

    def work(items: list[int]) -> list[int]:
        tries.append(len(items))
        raise DatabaseUnavailable("away")

    batcher = Batcher("test", work, workers=1, fails_all=(DatabaseUnavailable,))
    results = ends(start(batcher, range(40)))
    assert all(isinstance(result, DatabaseUnavailable) for result in results)
    assert tries == [40]


def test_what_is_begun_is_done_while_its_caller_goes_on() -> None:
    """Together with others; its result may be called for before it is there or after, and as often as wanted, and a result that nobody
    calls for disturbs nobody."""
    work = Doubler(4)
    batcher = Batcher("test", work, workers=1)
    early, _nobodys, late, poisoned = [batcher.begin(item) for item in (1, 2, 3, 4)]
    with eventlet.Timeout(5):
        assert early() == 2
        assert late() == 6
        for _ in range(2):
            with pytest.raises(ValueError, match="poison among 1"):
                poisoned()
    assert work.batches[0] == [1, 2, 3, 4]
    assert early() == 2


def test_a_full_queue_is_told_where_the_result_is_called_for() -> None:
    """Whoever begins something early need not be ready for a refusal yet."""
    batcher = Batcher("test", Doubler(), waiting=1)
    first, second = batcher.begin(1), batcher.begin(2)
    with eventlet.Timeout(5):
        with pytest.raises(Overloaded):
            second()
        assert first() == 2


def test_a_full_queue_refuses_at_once() -> None:
    """Beyond the bound a call is refused without waiting, and those before it are answered."""
    work = Doubler()
    work.gate = Event()
    batcher = Batcher("test", work, workers=1, waiting=3)
    threads = start(batcher, range(1))
    eventlet.sleep(0)
    threads += start(batcher, range(1, 4))
    with eventlet.Timeout(0.5), pytest.raises(Overloaded):
        batcher(99)
    work.gate.send()
    assert ends(threads) == [0, 2, 4, 6]
    assert batcher(5) == 10


def test_nobody_is_passed_over() -> None:
    """Items are taken in the order in which they came, however many come behind."""
    work = Doubler()
    batcher = Batcher("test", work, workers=1, most=4)
    ends(start(batcher, range(20)))
    assert [item for batch in work.batches for item in batch] == list(range(20))


def test_who_gives_up_before_the_work_begins_is_left_out() -> None:
    """A caller's time-out takes its item out of the queue: the work is not done for nobody."""
    work = Doubler()
    work.gate = Event()
    batcher = Batcher("test", work, workers=1)
    first = start(batcher, range(1))
    eventlet.sleep(0)
    with eventlet.Timeout(0.01, False):
        batcher(7)
    assert batcher.waiting == 0
    work.gate.send()
    assert ends(first) == [0]
    assert work.batches == [[0]]


def test_who_gives_up_during_the_work_disturbs_nobody() -> None:
    """An item that is under way is finished; its batch mates get their results."""
    work = Doubler()
    work.gate = Event()
    batcher = Batcher("test", work, workers=1)

    def impatient() -> str:
        with eventlet.Timeout(0.01, False):
            batcher(1)
        return "gone"

    left = eventlet.spawn(impatient)
    stayed = eventlet.spawn(batcher, 2)
    assert left.wait() == "gone"
    work.gate.send()
    assert ends([stayed]) == [4]
    assert work.batches == [[1, 2]]


def test_a_caller_that_ends_badly_holds_up_nobody() -> None:
    """Its error comes out where the callers are woken: those behind it are answered all the same."""
    work = Doubler()
    batcher = Batcher("test", work, workers=1)

    def bad() -> None:
        batcher(0)
        raise ValueError("after its answer")

    hub = hubs.get_hub()
    hub.schedule_call_global(0, greenlet.greenlet(bad, parent=hub.greenlet).switch)
    assert ends(start(batcher, range(1, 4))) == [2, 4, 6]
    assert work.batches == [[0, 1, 2, 3]]


def test_a_killed_worker_leaves_nobody_waiting() -> None:
    """When the green thread of a batch is killed its callers are told, and the next batch still runs."""
    threads: list[Any] = []

    def work(items: list[int]) -> list[int]:
        if items == [0]:
            raise eventlet.greenlet.GreenletExit
        return items

    batcher = Batcher("test", work, workers=1, most=1)
    threads = start(batcher, range(2))
    killed, fine = ends(threads)
    assert isinstance(killed, Interrupted)
    assert fine == 1


def test_a_wrong_number_of_results_is_an_error() -> None:
    """Work that answers too few is a mistake of ours, and nobody gets another's answer."""
    batcher = Batcher("test", lambda items: items[:-1] if len(items) > 1 else [], workers=1)
    assert all(isinstance(result, RuntimeError) for result in ends(start(batcher, range(3))))


def test_bounds_below_one_are_refused() -> None:
    """A batcher without workers would never answer."""
    with pytest.raises(ValueError, match="at least 1"):
        Batcher("test", Doubler(), workers=0)


def test_a_batch_is_one_transaction() -> None:
    """All rows of a batch commit together; a poison row is rolled back and the others are written without it."""
    database = Transactions(make_engine("sqlite://"))
    with database.transaction() as session:
        session.execute(text("CREATE TABLE t (n INTEGER CHECK (n <> 3))"))

    def insert(session: Any, items: list[int]) -> list[int]:
        for item in items:
            session.execute(text("INSERT INTO t VALUES (:n)"), {"n": item})
        return items

    batcher = batch_transactions("test", insert, database)
    results = ends(start(batcher, range(6)))
    assert [type(result).__name__ for result in results].count("IntegrityError") == 1
    with database.reading() as session:
        assert list(session.scalars(text("SELECT n FROM t ORDER BY n"))) == [0, 1, 2, 4, 5]
    database.engine.dispose()


def test_a_batch_is_no_callers_own() -> None:
    """Its log lines and calls carry an id of its own, none of a caller's context, and the first caller's deadline ends its wait alone."""
    seen: list[dict[str, Any]] = []
    gate = Event()

    def work(items: list[int]) -> list[int]:
        seen.append(structlog.contextvars.get_contextvars())
        gate.wait()
        return items

    batcher = Batcher("test", work, workers=1)

    def call(item: int) -> Any:
        context = {"correlation_id": f"caller {item}", "caller": item}
        with structlog.contextvars.bound_contextvars(**context):
            with eventlet.Timeout(0.01 if item == 0 else 5, False):
                return batcher(item)
            return "too late"

    threads = [eventlet.spawn(call, item) for item in range(3)]
    eventlet.sleep(0.02)
    gate.send()
    assert ends(threads) == ["too late", 1, 2]
    assert ends([eventlet.spawn(call, 3)]) == [3]
    assert [set(one) for one in seen] == [{"correlation_id"}] * 2
    ids = [one["correlation_id"] for one in seen]
    assert len({*ids, "caller 0", "caller 1", "caller 2", "caller 3"}) == 6


def test_groups_are_kept_apart_and_a_slow_one_holds_up_its_own_alone() -> None:
    """A batch has items of one group; while batches of one group hang, the others' items are taken before that group's."""
    gates = {"slow": Event(), "quick": Event()}
    batches: list[list[str]] = []

    def work(items: list[str]) -> list[str]:
        batches.append(items)
        gates[items[0].partition(" ")[0]].wait()
        return items

    batcher: Batcher[str, str] = Batcher(
        "groups", work, workers=2, most=2, apart=lambda item: item.partition(" ")[0]
    )
    names = ["slow 1", "slow 2", "slow 3", "slow 4", "quick 1", "slow 5", "quick 2"]
    threads = [eventlet.spawn(batcher, name) for name in names]
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert batches == [["slow 1", "slow 2"], ["quick 1", "quick 2"]]
    gates["quick"].send()
    gates["slow"].send()
    assert ends(threads) == names
    assert batches[2:] == [["slow 3", "slow 4"], ["slow 5"]]


class Held:
    """Work that is held up group by group, and counts its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gates: dict[str, Event] = {}
        self.batcher: Batcher[str, str] = Batcher("held", self, workers=2, most=1, apart=group_of)

    def __call__(self, items: list[str]) -> list[str]:
        self.batches.append(items)
        self.gates.setdefault(group_of(items[0]), Event()).wait()
        return items

    def ask(self, *items: str) -> list[Any]:
        """Calls of one moment."""
        threads = [eventlet.spawn(self.batcher, item) for item in items]
        for _ in range(3):
            eventlet.sleep(0)
        return threads


def group_of(item: str) -> str:
    return item.partition(" ")[0]


def test_a_group_that_comes_late_waits_for_no_slow_one() -> None:
    """Although one group has all workers, another one's first item is taken at once, and so is a third one's."""
    held = Held()
    slow = held.ask("slow 1", "slow 2", "slow 3")
    assert held.batches == [["slow 1"], ["slow 2"]]
    late = held.ask("late 1", "late 2", "third 1")
    assert held.batches[2:] == [["late 1"], ["third 1"]]
    for gate in list(held.gates.values()):
        gate.send()
    assert ends(slow + late) == ["slow 1", "slow 2", "slow 3", "late 1", "late 2", "third 1"]


def test_one_group_alone_has_no_more_workers_than_it_was_given() -> None:
    """Spare workers are for other groups: who has one asks as few questions at a time as ever."""
    held = Held()
    threads = held.ask(*(f"one {number}" for number in range(9)))
    threads += held.ask("one 9")
    assert len(held.batches) == 2
    held.gates["one"].send()
    assert len(ends(threads)) == len(held.batches) == 10


def test_spare_workers_are_bounded() -> None:
    """However many groups hang, so many batches are under way and no more; each item is done in the end."""
    held = Held()
    items = [f"group{number} 1" for number in range(20)]
    threads = held.ask(*items)
    assert len(held.batches) == 2 + SPARE
    for _ in range(20):
        for gate in list(held.gates.values()):
            if not gate.ready():
                gate.send()
        eventlet.sleep(0)
    assert ends(threads) == items


def test_a_caller_that_breaks_keeps_no_other_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    """All callers of a batch are woken, whatever one of them does next, and without waiting for one that takes long."""
    batcher = Batcher("test", Doubler(), workers=1)
    done: list[int] = []
    goes_on, ended = Event(), Event()

    def call(number: int) -> None:
        result = batcher(number)
        if number == 1:
            raise RuntimeError("broke")
        if number == 2:
            goes_on.wait()
        done.append(result)
        if number in (2, 4):
            ended.send()

    for number in range(5):
        eventlet.spawn_n(call, number)
    with eventlet.Timeout(10):
        ended.wait()
        assert done == [0, 6, 8]
        ended.reset()
        goes_on.send()
        ended.wait()
    assert done == [0, 6, 8, 4]
    assert "broke" in capsys.readouterr().err


@pytest.mark.whole
def test_what_gathers_is_done_together_and_held_up_for_a_moment_alone() -> None:
    """While a batch is under way the next items wait for its end; one that takes long holds them up no longer than that."""
    work = Doubler()
    work.gate = Event()
    batcher = Batcher("test", work, gathers=0.02)
    threads = [
        one for items in (range(1), range(1, 3), range(3, 6)) for one in start(batcher, items)
    ]
    eventlet.sleep(0.005)
    assert work.batches == [[0]]
    eventlet.sleep(0.03)
    assert work.batches == [[0], [1, 2, 3, 4, 5]]
    threads += start(batcher, range(6, 8))
    eventlet.sleep(0.03)
    work.gate.send()
    assert ends(threads) == [2 * item for item in range(8)]
    assert (work.batches[2:], work.most_at_once) == ([[6, 7]], 2)
    assert ends(start(batcher, range(8, 9))) == [16]


@pytest.mark.parametrize(("wakes_for", "shared"), [(math.inf, True), (0.0005, False)])
def test_who_is_woken_together_shares_the_next_batch_unless_waking_has_a_bound(
    wakes_for: float, shared: bool
) -> None:
    """Callers of a batch go on one after the other. What they ask next shares a batch, but where waking ends after a moment: then those who
    were woken so far are served meanwhile."""
    work = Doubler()
    batcher = Batcher("test", work, gathers=0.1, wakes_for=wakes_for)

    def twice(item: int) -> int:
        doubled = batcher(item)
        time.sleep(0.002)  # what it goes on to do
        return batcher(doubled)

    assert ends(start(twice, range(4))) == [4 * item for item in range(4)]
    assert work.batches[0] == [0, 1, 2, 3]
    assert (work.batches[1:] == [[0, 2, 4, 6]]) is shared


def test_after_a_batch_of_several_the_next_one_gathers_for_a_moment() -> None:
    """More come then, one soon after the other, and share a batch. What comes after one alone waits for nobody."""
    work = Doubler()
    batcher = Batcher("test", work, workers=1, rests=0.1)
    assert batcher(1) == 2
    assert ends(start(batcher, range(2, 4))) == [4, 6]
    threads = start(batcher, range(4, 5))
    eventlet.sleep(0.01)
    assert work.batches == [[1], [2, 3]]
    threads += start(batcher, range(5, 7))
    assert ends(threads) == [8, 10, 12]
    assert work.batches == [[1], [2, 3], [4, 5, 6]]
