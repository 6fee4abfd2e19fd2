"""Asking many questions at the same time, as far as the one who is asked is to bear it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import eventlet
from eventlet import GreenPool
from eventlet.event import Event

MOST: Final = 8
Question = TypeVar("Question")
Answer = TypeVar("Answer")


def side_by_side(ask: Callable[[Question], Answer], questions: Sequence[Question]) -> list[Answer]:
    """The answers, in the order of the questions, of which `MOST` at most are asked at a time; one alone is asked here. Raises what
    the first one raised that failed; those after it are asked to their end all the same.

    Log lines, calls and spans of each belong to the caller's work.
    """
    if len(questions) < 2:
        return [ask(one) for one in questions]
    pool = GreenPool(MOST)
    threads = [pool.spawn(contextvars.copy_context().run, ask, one) for one in questions]
    return [thread.wait() for thread in threads]


def run_concurrently(ask: Callable[[], Answer]) -> Callable[[], Answer]:
    """Begin to ask, and go on. Gives what to call for the answer: it waits for it, and raises what `ask` raised.

    It asks in a green thread of its own, with the log fields and the span of this one.
    """
    answer = Event()

    def run() -> None:
        try:
            answer.send(ask())
        except BaseException as error:  # raised where it is waited for, if anybody still does
            answer.send_exception(error)

    eventlet.spawn_n(contextvars.copy_context().run, run)
    wait: Callable[[], Answer] = answer.wait
    return wait
