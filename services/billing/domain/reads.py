"""The allowance of reads that Stripe gives: counting what was used, and what may still be used for what nobody waits for."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared.contracts.accounts import Account

WINDOW_DAYS: Final = 30
"""Stripe reckons reads of a month; we those of the last thirty days, so that no month ends with a rush
(https://docs.stripe.com/rate-limits)."""


class ReadKey(NamedTuple):
    """What reads are counted by."""

    account: Account
    day: dt.date
    """UTC."""
    own_key: bool
    """Whether it was read with a key of its own, which has an allowance of its own."""


class ReadTally:
    """Counts a process's reads until they are stored: as many numbers as accounts were read since."""

    def __init__(self) -> None:
        self._reads: Counter[ReadKey] = Counter()

    def count(self, key: ReadKey, reads: int = 1) -> None:
        """Note reads."""
        self._reads[key] += reads

    def take(self, most: int) -> dict[ReadKey, int]:
        """Up to `most` of the numbers, which are forgotten here: `count` them again where they could not be stored."""
        keys = list(self._reads)[:most]
        return {key: self._reads.pop(key) for key in keys}


@dataclass(frozen=True, slots=True)
class ReadPool:
    """The platform's allowance of reads, for its own account and all that are connected to it, and how it is used."""

    size: int
    """For `WINDOW_DAYS`."""
    used: int
    """In the last `WINDOW_DAYS`."""
    today: int
    """Of those, today."""

    def allows(self, *, cause: bool) -> bool:
        """Whether a connected account may be reconciled. Without a cause only while the day has had less than its even share of
        the pool, so that quiet accounts take what customers and causes leave."""
        if self.used >= self.size:
            return False
        return cause or self.today * WINDOW_DAYS < self.size
