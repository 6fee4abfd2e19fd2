"""How often one customer may have a Stripe page made (a person clicks a few times, a script or a stuck key hundreds), and how
often one key of the HTTP API may ask.

Counted in this process alone: with three replicas a customer has at most three times as many. The limit protects Stripe's
rate limit and our workers, no secret, so that is good enough and costs no round trip.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

SESSIONS: Final = 10
PER_SECONDS: Final = 60.0
MOST_CUSTOMERS: Final = 10_000
MOST_KEYS: Final = 500
"""How many are remembered; the longest idle are forgotten first."""


class Limiter:
    """A sliding window for each customer, or key."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        most: int = SESSIONS,
        remembered: int = MOST_CUSTOMERS,
    ) -> None:
        """`most` a minute, of each of the `remembered` that came last."""
        self._clock, self._most, self._remembered = clock, most, remembered
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, whose: str) -> int:
        """0: go ahead, and it counts. Else in how many seconds they may again."""
        now = self._clock()
        taken = self._taken.setdefault(whose, deque(maxlen=self._most))
        self._taken.move_to_end(whose)
        while len(self._taken) > self._remembered:
            self._taken.popitem(last=False)
        if len(taken) == self._most and (left := taken[0] + PER_SECONDS - now) > 0:
            return int(left) + 1
        taken.append(now)
        return 0
