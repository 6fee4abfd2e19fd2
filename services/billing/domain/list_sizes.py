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

    @property
    def rate(self) -> float:
        """Objects a second."""
        return len(self.objects) / max(self.newest - self.oldest, 1)


def estimate(read: Callable[[int | None], ObjectPage]) -> int:
    """About how many there are, by at most `MOST_SAMPLES` reads more than one: how fast they came at moments ever further back, and as
    fast between those. `read(before)` reads the page that begins before a moment; None: the newest."""
    page = read(None)
    total = float(len(page.objects))
    if not page.more:
        return len(page.objects)
    edge, rate, last = page.oldest, page.rate, 0
    step = FIRST_STEP * max(page.newest - page.oldest, 1)
    for _ in range(MOST_SAMPLES):
        page = read(edge - step)
        if not page.more and _is_far(page, edge, step):
            # The few that are as old stand behind a gap, or there are none: the rest is in between.
            last, step = len(page.objects), step // 2
            if step == 0:
                return round(total + last)
            continue
        here = page.rate if page.more else rate  # a handful says nothing of a rate
        # Between this page's newest and where it was asked for there is none: what is long ago may be long before that.
        beside = 0.0 if _is_far(page, edge, step) else here
        total += (rate + beside) / 2 * step + len(page.objects)
        if not page.more:
            return round(total)
        edge, rate, step = page.oldest, here, step * STEP
    return round(total + rate * step / 2 + last)


def _is_far(page: ObjectPage, edge: int, step: int) -> bool:
    """Whether it begins further back than where it was asked for by more than that is from the page before."""
    return not page.objects or edge - step - page.newest > step
