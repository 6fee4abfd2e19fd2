"""How often Stripe may be asked for what is good to know: so many requests a second, and a few more at once after a quiet
time (docs/adr/0012-looking-again-within-a-budget.md).

Written here (twenty lines) rather than taken from a library: those wait for their turn, and here whoever gets none goes
another way at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 3.0
"""How many seconds' worth may be spent at once after a quiet time."""
SHARE: Final = 4
"""Work that can wait, and not for ever, has one request in so many."""


class Budget:
    """A token bucket of one process."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_second`: how many requests; 0 allows none."""
        self._per_second, self._clock = per_second, clock
        self._most = self._left = per_second * BURST_SECONDS
        self._at = self._shared_at = clock()

    def take(self, requests: int, *, spare: bool = False) -> bool:
        """Take so many requests, or none of them and answer False: whoever asks has another way.

        `spare`: only while half is left for whoever is in more of a hurry.
        """
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        reserve = min(self._most / 2, max(self._most - requests, 0)) if spare else 0
        if requests > self._left - reserve:
            return False
        self._left -= requests
        return True

    def take_share(self) -> bool:
        """Take one request, for work that can wait: only while half is left, as above, or if it has had none in the time of `SHARE` requests,
        for which others wait then."""
        if not self.take(1, spare=True):
            if (self._at - self._shared_at) * self._per_second < SHARE:
                return False
            self._left -= 1
        self._shared_at = self._at
        return True
