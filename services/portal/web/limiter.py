"""How often one customer may have a Stripe page made: a person clicks a few times, a script or a stuck key hundreds.

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
"""How many are remembered; the longest idle are forgotten first."""


class Limiter:
    """A sliding window a customer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, customer_id: str) -> int:
        """0: go ahead, and it counts. Else in how many seconds the customer may again."""
        now = self._clock()
        taken = self._taken.setdefault(customer_id, deque(maxlen=SESSIONS))
        self._taken.move_to_end(customer_id)
        while len(self._taken) > MOST_CUSTOMERS:
            self._taken.popitem(last=False)
        if len(taken) == SESSIONS and (left := taken[0] + PER_SECONDS - now) > 0:
            return int(left) + 1
        taken.append(now)
        return 0
