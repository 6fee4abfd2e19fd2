"""Pages of Stripe's lists, and about how many objects such a list has: Stripe tells no totals, and to count is to read all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_SAMPLES: Final = 10
FIRST_STEP: Final = 20
"""How many pages back the second sample is taken, at the rate of the first one."""
STEP: Final = 4
"""How much further back each sample is than the one before."""


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A page of one of Stripe's lists, newest first."""

    objects: list[bytes]
    """As Stripe sent them, JSON."""
    more: bool
    """Whether older ones follow."""
    last: str | None = None
    """The id of the oldest of them, after which the next page begins."""
    newest: int = 0
    """When the newest of them was made, in seconds since the epoch."""
    oldest: int = 0

    def rate(self, until: int) -> float:
        """Objects a second, from the oldest of them until a moment: a gap before that counts, or a few that were made together would stand
        for all the time in which there were none."""
        return len(self.objects) / max(until - self.oldest, 1)


def estimate(read: Callable[[int | None], ObjectPage]) -> int:
    """About how many there are, by at most `MOST_SAMPLES` reads more than one: how fast they came at moments ever further back, and as
    fast between those. Many that were made at once are missed where no sample meets them. `read(before)` reads the page that begins before a
    moment; None: the newest."""
    page = read(None)
    total = float(len(page.objects))
    if not page.more:
        return len(page.objects)
    edge, rate, last = page.oldest, page.rate(page.newest), 0
    step = FIRST_STEP * max(page.newest - page.oldest, 1)
    for _ in range(MOST_SAMPLES):
        asked = edge - step
        page = read(asked)
        if not page.more and (not page.objects or asked - page.newest > step):
            # The few that are as old stand behind a gap, or there are none: the rest is in between.
            last, step = len(page.objects), step // 2
            if step == 0:
                return round(total + last)
            continue
        here = page.rate(asked) if page.more else rate  # a handful says nothing of a rate
        total += (rate + here) / 2 * step + len(page.objects)
        if not page.more:
            return round(total)
        edge, rate, step = page.oldest, here, step * STEP
    return round(total + rate * step / 2 + last)
