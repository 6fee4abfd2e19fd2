"""How webhooks to hosts are tried: what an answer means, when the next try is, and when an endpoint is switched off."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Tried for three days, or the endpoint is gone; it can be replayed."""
    OBSERVED = "observed"
    """Not sent, since its business was not live; it can be replayed."""


class DisabledBecause(StrEnum):
    """Why an endpoint gets nothing."""

    BY_HAND = "by_hand"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """All has failed for five days."""


@dataclass(frozen=True)
class Answered:
    """What one attempt ended with. The body that came is not kept: it may hold secrets."""

    status: int | None
    """The HTTP status; None: there was no whole answer."""
    error: str | None
    """One word for why it counts as failed: `timeout`, `refused_address`, `tls`, `http_500`, …; None: delivered."""
    milliseconds: int
    retry_after: dt.timedelta | None = None

    @property
    def delivered(self) -> bool:
        """A status of 200 to 299 and nothing else."""
        return self.error is None

    @property
    def gone(self) -> bool:
        """The host wants nothing more."""
        return self.status == 410


OBSERVED: Final = Answered(None, "observed", 0)
"""What stands for an answer where nothing was sent, since the business is not live."""


def answered(status: int, milliseconds: int, retry_after: dt.timedelta | None = None) -> Answered:
    """What a whole answer means. A redirect is a failure: it is never followed."""
    error = None if 200 <= status < 300 else f"http_{status}"
    return Answered(status, error, milliseconds, retry_after if error else None)


LEASE: Final = dt.timedelta(seconds=60)
"""Longer than one attempt with its two transactions."""
WAITS: Final = tuple(
    dt.timedelta(seconds=one) for one in (5, 60, 300, 1800, 7200, 18000, 36000, 50400, 64800, 79200)
)
"""Before the second try of a webhook, the third, …: three days in all."""
JITTER: Final = 0.2
"""Each wait is longer or shorter by up to this part of it."""
LONGEST_RETRY_AFTER: Final = dt.timedelta(hours=12)
PER_OWNER: Final = 4
"""Requests to the endpoints of one business, or to one of the installation's, at the same time, a process."""
FAILURES_IN_A_ROW: Final = 5
"""After as many, an endpoint is tried with one delivery at a time, and less and less often."""
FIRST_PAUSE: Final = dt.timedelta(seconds=5)
LONGEST_PAUSE: Final = dt.timedelta(minutes=15)
OFF_AFTER: Final = dt.timedelta(days=5)
"""An endpoint at which all has failed for so long is switched off."""


def next_try(
    attempts: int, now: dt.datetime, jitter: float, retry_after: dt.timedelta | None
) -> dt.datetime | None:
    """When a delivery that has failed so many times is tried again; None: no more. `jitter` is uniform in [0, 1)."""
    if attempts > len(WAITS):
        return None
    wait = WAITS[attempts - 1] * (1 + JITTER * (2 * jitter - 1))
    asked = min(retry_after or dt.timedelta(), LONGEST_RETRY_AFTER)
    return now + max(wait, asked)


def pause(
    failures: int, now: dt.datetime, jitter: float, retry_after: dt.timedelta | None
) -> dt.datetime | None:
    """Until when an endpoint is left alone after so many failures in a row, or as it asks; None: it isn't."""
    wait = min(retry_after or dt.timedelta(), LONGEST_RETRY_AFTER)
    if failures >= FAILURES_IN_A_ROW:
        doubled = FIRST_PAUSE * 2 ** min(failures - FAILURES_IN_A_ROW, 20)
        wait = max(wait, min(doubled, LONGEST_PAUSE) * (0.5 + jitter / 2))
    return now + wait if wait else None
