"""Turns: how long all that clients ask for may hold up a green thread that waits for the hub.

The hub runs whatever is ready before it looks again who else is. With a hundred clients who always have more to ask, that is a
hundred times one's turn. Here those who want to go on stand in a line, and between two looks of the hub as many of
them go on as `PASS_SECONDS` allows.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

import eventlet
from eventlet import hubs

PASS_SECONDS: Final = 0.005


class Line:
    """The green threads that wait for their turn, in order, by whom they wait for."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, Any] = OrderedDict()
        self._ends = 0.0
        self._planned = False

    def wait(self, who: Hashable, *, first: bool = False) -> None:
        """Return when it is this green thread's turn: at once, where nobody waits and the pass has time left. `first`: before those who
        wait already, since it is about to go."""
        if not self._waiting and time.monotonic() < self._ends:
            return
        self._waiting[who] = eventlet.getcurrent()
        if first:
            self.call_up(who)
        self._plan()
        try:
            hubs.get_hub().switch()
        except BaseException:  # ended, or a time-out: nobody is to wake it here later
            self._waiting.pop(who, None)
            raise

    def call_up(self, who: Hashable) -> None:
        """Have whoever waits here for `who`, if anybody does, be the next: in a long line its turn may be seconds away."""
        if who in self._waiting:
            self._waiting.move_to_end(who, last=False)

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            hubs.get_hub().schedule_call_global(0, self._go_on)

    def _go_on(self) -> None:
        self._ends = time.monotonic() + PASS_SECONDS
        try:
            while self._waiting and time.monotonic() < self._ends:
                self._waiting.popitem(last=False)[1].switch()
        finally:
            self._planned = False
            if self._waiting:
                self._plan()
