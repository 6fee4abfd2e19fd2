"""Turns of green threads: in order, some milliseconds between two looks of the hub, and nobody is woken where they don't wait."""

from __future__ import annotations

import time
from collections import Counter

import eventlet
import pytest

from shared.nameko_ext.http_turns import PASS_SECONDS, Line

MOMENT = PASS_SECONDS / 5


def work(seconds: float) -> None:
    """Hold the hub up."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_who_is_alone_goes_on_at_once() -> None:
    """Within one pass; then after a look of the hub."""
    line, seen = Line(), list[int]()

    def look() -> None:
        for number in range(1000):
            seen.append(number)
            eventlet.sleep(0)

    eventlet.spawn(look)
    line.wait(0)
    before = len(seen)
    line.wait(0)
    assert len(seen) == before
    work(PASS_SECONDS)
    line.wait(0)
    assert len(seen) > before


@pytest.mark.whole
def test_all_take_turns_and_others_run_between() -> None:
    """A hundred who always want to go on: each has as many turns as the other, and who waits for the hub alone waits for no
    more than a pass and a turn."""
    line, turns, gaps = Line(), Counter[int](), list[float]()
    end = time.perf_counter() + 1

    def greedy(number: int) -> None:
        while time.perf_counter() < end:
            line.wait(number)
            turns[number] += 1
            work(MOMENT)
            time.sleep(0)

    def other() -> None:
        last = time.process_time()
        while time.perf_counter() < end:
            eventlet.sleep(0)
            now = time.process_time()
            gaps.append(now - last)
            last = now

    for thread in [eventlet.spawn(other), *(eventlet.spawn(greedy, each) for each in range(100))]:
        thread.wait()
    assert len(turns) == 100
    assert max(turns.values()) - min(turns.values()) <= PASS_SECONDS / MOMENT + 1
    assert sorted(gaps)[-2] < 4 * PASS_SECONDS


@pytest.mark.parametrize("end", ["kill", "time-out"])
def test_who_leaves_the_line_is_not_woken(end: str) -> None:
    """Ended or timed out while it waited: it goes on elsewhere, and the others have their turn all the same."""
    line, woken = Line(), list[str]()

    def leaves() -> None:
        with eventlet.Timeout(0.001 if end == "time-out" else None, False):
            line.wait("leaves")
            woken.append("in its turn")
            return
        woken.append("timed out")
        eventlet.sleep(0.05)
        woken.append("slept on")

    def holds_up(number: int) -> None:
        line.wait(number)
        work(2 * PASS_SECONDS)

    others = [eventlet.spawn(holds_up, number) for number in range(3)]
    leaving = eventlet.spawn(leaves)
    eventlet.sleep(0)
    if end == "kill":
        leaving.kill()
    for thread in others:
        thread.wait()
    if end == "time-out":
        leaving.wait()
        assert woken == ["timed out", "slept on"]
    else:
        assert woken == []
    line.wait(0)


def test_who_is_called_up_is_the_next() -> None:
    """Before those who stand in front of it; and who doesn't stand in line is not disturbed."""
    line, told = Line(), list[str]()

    def waits(who: str) -> None:
        line.wait(who)
        told.append(who)
        work(2 * PASS_SECONDS)

    threads = [eventlet.spawn(waits, who) for who in "abcd"]
    eventlet.sleep(0)
    line.call_up("d")
    line.call_up("nobody")
    for thread in threads:
        thread.wait()
    assert told in (["d", "a", "b", "c"], ["a", "d", "b", "c"])


def test_a_failure_in_a_turn_ends_nobody_elses() -> None:
    """What one raises is its own: the next in line goes on."""
    line, done = Line(), list[bool]()

    def fails() -> None:
        line.wait("fails")
        raise ValueError

    def goes_on() -> None:
        line.wait("goes on")
        done.append(True)

    failing, other = eventlet.spawn(fails), eventlet.spawn(goes_on)
    other.wait()
    with pytest.raises(ValueError):
        failing.wait()
    assert done == [True]
