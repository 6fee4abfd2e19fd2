"""Asking many questions at the same time."""

from __future__ import annotations

import contextvars

import eventlet
import pytest
from eventlet.event import Event

from shared.nameko_ext.side_by_side import MOST, run_concurrently, side_by_side

WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")


def test_many_are_asked_at_a_time_and_answered_in_order() -> None:
    """The last of those that are asked together lets the first one answer; no more are asked than may be."""
    asked: list[int] = []
    last_came = Event()

    def ask(number: int) -> int:
        asked.append(number)
        if len(asked) == MOST:
            last_came.send()
        last_came.wait()
        return -number

    many = list(range(2 * MOST))
    with eventlet.Timeout(5):
        assert side_by_side(ask, many) == [-number for number in many]


def test_each_is_asked_as_the_callers_work() -> None:
    """Its log lines and spans are the caller's."""
    WHOSE.set("mine")
    assert side_by_side(lambda number: WHOSE.get(), [1, 2, 3]) == ["mine"] * 3


def test_one_that_fails_is_the_callers_error_and_none_is_nothing_to_do() -> None:
    """The others are asked to their end."""
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        if number == 1:
            raise LookupError("away")

    with pytest.raises(LookupError, match="away"):
        side_by_side(ask, [1, 2, 3])
    assert asked == [1, 2, 3]
    assert side_by_side(ask, []) == []


def test_two_questions_are_asked_at_the_same_time() -> None:
    """The second one is under way while the first one waits, and its answer is there when it is called for."""
    second_came = Event()

    def second() -> str:
        second_came.send()
        return "contact"

    contact = run_concurrently(second)
    with eventlet.Timeout(2):
        second_came.wait()  # what the first question waits for
    assert contact() == "contact"


def test_a_question_that_failed_says_so_to_whoever_wants_the_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its error is raised where the answer is called for, and nowhere else when nobody calls."""

    def unknown() -> None:
        raise LookupError("no such customer")

    wanted, unwanted = run_concurrently(unknown), run_concurrently(unknown)
    with pytest.raises(LookupError, match="no such customer"):
        wanted()
    eventlet.sleep(0)
    del unwanted
    assert capfd.readouterr().err == ""
