"""Whose webhooks may have how many of a process's senders: so that hosts which answer late, or never, delay nobody else's."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

SLOW_MILLISECONDS: Final = 3000
"""An attempt that took longer makes its owner slow, whatever its answer said."""
SLOW_SECONDS: Final = 300.0
"""For so long after the last such attempt."""


class Slow(NamedTuple):
    """Owners whose endpoints answer late, and how many senders they may have now, all together."""

    owners: frozenset[str] = frozenset()
    places: int = 0


NOBODY_SLOW: Final = Slow()


class Rotation:
    """Whose turn it is, of the businesses: those after the one that had it last, in the order of their ids, and then from the first on."""

    def __init__(self) -> None:
        self.after = ""
        """The business that had its turn last; empty: begin with the first."""


class HookShares:
    """What is on its way from this process, by owner: the business, or where an endpoint is the installation's own, the endpoint.

    By owner and not by endpoint, since a business may have twenty. Those who have been slow share half of the senders.
    """

    def __init__(self, places: int, per_owner: int) -> None:
        self.under_way: Counter[str] = Counter()
        self.rotation = Rotation()
        self._per_owner = per_owner
        self._more: set[str] = set()
        """Owners of whom as much was taken as might be."""
        self._for_slow = max(1, places // 2)
        self._slow_until: dict[str, float] = {}

    def took(self, owner: str, *, more: bool) -> None:
        """An attempt begins. `more`: more may be due than was taken."""
        self.under_way[owner] += 1
        if more:
            self._more.add(owner)

    def gave_back(self, owner: str) -> bool:
        """An attempt is over; whether more may be due of its owner, and half of what one may have is free: then it is looked for."""
        self.under_way -= Counter({owner: 1})
        if owner not in self._more or self.under_way[owner] > self._per_owner // 2:
            return False
        self._more.discard(owner)
        return True

    def note(self, owner: str, milliseconds: int, now: float) -> None:
        """Remember how long an attempt took. `now` in seconds of a clock that only goes on."""
        if milliseconds > SLOW_MILLISECONDS:
            self._slow_until[owner] = now + SLOW_SECONDS

    def slow(self, now: float) -> Slow:
        """Who is slow now, and what is left for them."""
        self._slow_until = {
            owner: until for owner, until in self._slow_until.items() if until > now
        }
        busy = sum(self.under_way[owner] for owner in self._slow_until)
        return Slow(frozenset(self._slow_until), max(0, self._for_slow - busy))
