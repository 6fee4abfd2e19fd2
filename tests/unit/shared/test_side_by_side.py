"""Asking many questions at the same time."""

from __future__ import annotations

import contextvars

import eventlet
import pytest
from eventlet.event import Event

from shared.nameko_ext.side_by_side import MOST, side_by_side

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
