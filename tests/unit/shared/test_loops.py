"""Loops that are woken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest

from shared.nameko_ext.loops import Loop, Waker


class Woken(Loop):
    """A loop that counts how often it was woken."""

    def __init__(self) -> None:
        super().__init__(poll=60)
        self.method_name = "work"
        self.times = 0

    def wake(self) -> None:
        self.times += 1


def waking(loop: Loop, **how: Any) -> Any:
    """What a worker of the loop's service gets to wake it."""
    waker = Waker("work", **how)
    waker.container = SimpleNamespace(service_name="some", entrypoints=[loop])
    waker.start()
    return waker.get_dependency(None)


def test_a_loop_is_woken_at_once() -> None:
    """Each time."""
    loop = Woken()
    wake = waking(loop)
    wake()
    wake()
    assert loop.times == 2


def test_a_loop_that_is_in_the_way_is_woken_later() -> None:
    """Once for all who wake it until then, and again for those after."""
    loop = Woken()
    wake = waking(loop, after=0.01)
    for times in (1, 2):
        wake()
        wake()
        assert loop.times == times - 1
        eventlet.sleep(0.05)
        assert loop.times == times


def test_a_loop_that_is_not_there_is_a_mistake() -> None:
    """Told when the service starts."""
    waker = Waker("work")
    waker.container = SimpleNamespace(service_name="some", entrypoints=[])
    with pytest.raises(LookupError, match="no loop 'work'"):
        waker.start()
