"""The memory that clients may take of a process, all together, and who gives way when it is used up.

A body counts from its first byte until its request is answered, a head while it has not ended, an answer while the client does not
take it. When another piece would not fit, those give way that have taken most for longest, among the ones that wait for their
client. What Stripe, SendGrid or a customer sends is small and here within a
moment, so whoever fills the memory takes it from themselves. A body that is whole is never taken back: it is about to be answered.

While it arrives, a body lies in pages of its own. Among everything else in the heap, a few hundred that come slowly leave holes
that the process keeps for good.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import Any, Final

import eventlet
from eventlet import hubs

BODY_BUDGET: Final = 64 << 20
"""Bytes. The manifests' memory limit has room for them (`tests/unit/deploy/test_promises.py`)."""
_SHARE: Final = 16
"""So much of the budget, a sixteenth, is made free at once: looking for who gives way costs more than a piece does."""

_OWN_PAGES: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class NoRoom(Exception):
    """There is no memory for (the rest of) this body now."""


class TooLarge(Exception):
    """The body is over its limit, now or ever."""


class Held:
    """What a connection has in hand while it waits for its client. `end` is called, with this, when it has to give way."""

    def __init__(self, budget: BodyBudget, end: Callable[[Any], None]) -> None:
        self._budget, self._end = budget, end
        self._began = budget.clock()
        self.taken = 0
        """Bytes."""

    def hold(self, size: int) -> None:
        """So many bytes now, in all. Raises NoRoom."""
        self._budget.make_room(self, size - self.taken)
        self._budget.arriving.add(self)
        self._budget.taken += size - self.taken
        self.taken = size

    def weight(self, now: float) -> float:
        """How much for how long: bytes times seconds."""
        return self.taken * (now - self._began)

    def give_way(self) -> None:
        """Free it now, and have whoever waits hear so."""
        self.free()
        self._end(self)

    def free(self) -> None:
        """Nothing any more."""
        self._budget.arriving.discard(self)
        self._budget.taken -= self.taken
        self.taken = 0


class Room(Held):
    """What one request's body takes: a context, entered and left by the green thread that reads it. Left, it takes nothing.

    When it has to give way, its reader hears so as soon as this green thread waits.
    """

    def __init__(self, budget: BodyBudget, limit: int) -> None:
        super().__init__(budget, Room._begin_interrupting)  # bound, it would hold itself
        self._limit = limit
        self._reader = eventlet.getcurrent()
        self._reading = True
        self._gave_way = False
        self._first = b""
        self._pages: mmap.mmap | None = None

    def __enter__(self) -> Room:
        self._budget.arriving.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._end_reading()
        self.free()

    def expect(self, length: int) -> None:
        """What the request announces. Raises TooLarge. Nothing is set aside for it: announcing costs a client nothing."""
        if length > self._limit:
            raise TooLarge

    def add(self, piece: bytes) -> None:
        """Keep the next piece of the body. Raises TooLarge, or NoRoom; so may whatever the reader waits for, when the body
        has to give way."""
        self._check()
        self.expect(self.taken + len(piece))
        self._budget.make_room(self, len(piece))
        if not self.taken:
            self._first = piece  # mostly it is all that comes
        else:
            if self._pages is None:
                self._pages = mmap.mmap(-1, self._limit, flags=_OWN_PAGES)
                self._pages.write(self._first)
                self._first = b""
            self._pages.write(piece)
        self.taken += len(piece)
        self._budget.taken += len(piece)

    def whole(self) -> bytes:
        """All of it: nothing more will come, and it counts until the context is left. Raises NoRoom when it has given way."""
        self._check()
        self._end_reading()
        if self._pages is None:
            return self._first
        body = self._pages[: self.taken]
        self._pages.close()
        return body

    def _begin_interrupting(self) -> None:
        self._gave_way = True
        hubs.get_hub().schedule_call_global(0, self._interrupt)

    def _interrupt(self) -> None:
        if self._reading:  # it has not heard by itself meanwhile
            self._reading = False
            self._reader.throw(NoRoom())

    def _check(self) -> None:
        if self._gave_way:
            self._end_reading()
            raise NoRoom

    def _end_reading(self) -> None:
        self._reading = False
        self._budget.arriving.discard(self)

    def free(self) -> None:
        super().free()
        self._first = b""
        if self._pages is not None:
            self._pages.close()


class BodyBudget:
    """What clients may take, `most` bytes in all; hands out rooms for bodies."""

    def __init__(
        self, most: int = BODY_BUDGET, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.clock = most, clock
        self.taken = 0
        self.arriving: set[Held] = set()

    def room(self, limit: int) -> Room:
        """A room for one body of at most so many bytes, to be entered."""
        return Room(self, limit)

    def make_room(self, newcomer: Held, size: int) -> None:
        """See to it that so many bytes more fit. Raises NoRoom when it is the newcomer itself that has to give way."""
        if self.taken + size <= self.most:
            return
        wanted = self.most - max(size, self.most // _SHARE)
        now = self.clock()
        heaviest = sorted(self.arriving, key=lambda one: one.weight(now), reverse=True)
        for room in heaviest:
            if room is newcomer or self.taken <= wanted:
                break
            room.give_way()
        if self.taken + size > self.most:
            raise NoRoom
