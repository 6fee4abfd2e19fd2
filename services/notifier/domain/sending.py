"""Answers of SendGrid, and what follows from each."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.kinds import ABOUT_DEBT, Kind
from services.notifier.domain.vocabulary import Reason, Status


@dataclass(frozen=True)
class Accepted:
    """SendGrid took the message (202)."""

    message_id: str | None


RATE_LIMITED: Final = "429: rate limited"
OUT_OF_CREDITS: Final = "401: SendGrid's plan has no credits left"


@dataclass(frozen=True)
class RateLimited:
    """Not taken, as there are too many now; nobody should send before `until`."""

    until: dt.datetime
    why: str = RATE_LIMITED
    """`RATE_LIMITED` or `OUT_OF_CREDITS`."""


@dataclass(frozen=True)
class Unavailable:
    """Not taken, may work later: refused connection, 5xx."""

    why: str


@dataclass(frozen=True)
class Refused:
    """Not taken, and no time will change that: 400, 401, 403, 413."""

    why: str


@dataclass(frozen=True)
class MaybeSent:
    """The request went out and no answer came: SendGrid may have taken it (docs/adr/0004-maybe-sent.md)."""

    why: str


Outcome = Accepted | RateLimited | Unavailable | Refused | MaybeSent


LEASE: Final = dt.timedelta(seconds=45)
"""Longer than everything between taking a row and posting it; how long a customer waits when a sender dies."""
GRACE: Final = dt.timedelta(minutes=15)
"""How long a message whose delivery is unconfirmed is left alone before it is sent once more."""
FIRST_WAIT: Final = dt.timedelta(seconds=2)
LONGEST_WAIT: Final = dt.timedelta(minutes=15)
GIVE_UP_AFTER: Final = dt.timedelta(hours=24)
UNKNOWN_POSTS: Final = 2
"""Posts without an answer that one email may have."""
LOOKUP_WAITS: Final = tuple(dt.timedelta(seconds=seconds) for seconds in (5, 15, 40, 90, 180))
"""Waits for a customer whom the portal does not know yet: the link between ours and Stripe's may come moments after the failed charge."""
LONGEST_LOOKUP_WAIT: Final = dt.timedelta(days=1)
"""Whoever owes is asked about hourly after that, then less and less often, at the least once in this time."""
UNKNOWN_FOR: Final = dt.timedelta(days=60)
"""How long somebody who owes may stay unknown: longer than any of Stripe's retry schedules. What Stripe closes meanwhile ends the wait."""
LONGEST_RATE_LIMIT: Final = dt.timedelta(hours=1)


def backoff(tries: int, jitter: float) -> dt.timedelta:
    """How long to wait after the `tries`-th failure (from 1): doubling, capped, jittered.

    `jitter` is uniform in [0, 1). Half of the wait is certain, half random, so that rows which failed together
    don't come back together.
    """
    exponent = min(max(tries, 1) - 1, 30)
    longest = min(FIRST_WAIT * (1 << exponent), LONGEST_WAIT)
    return longest * (0.5 + jitter / 2)


@dataclass(frozen=True, kw_only=True)
class Again:
    """Try again at `due_at`."""

    due_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Stop:
    """End as `status`, for `reason`."""

    status: Status
    reason: str


def after_unavailable(
    created_at: dt.datetime, tries: int, now: dt.datetime, jitter: float
) -> Again | Stop:
    """What follows when the email certainly did not go out but may later."""
    if now - created_at >= GIVE_UP_AFTER:
        return Stop(status=Status.FAILED, reason=Reason.GAVE_UP)
    return Again(due_at=now + backoff(tries, jitter))


def after_unknown_customer(
    kind: Kind, created_at: dt.datetime, lookups: int, now: dt.datetime
) -> Again | Stop:
    """What follows when the portal knows nobody with this Stripe customer; `lookups` counts the times so far.

    An email about a debt waits while its invoice lives: the host may register the customer tomorrow. Anything
    else would be stale by then.
    """
    soon = len(LOOKUP_WAITS)
    if lookups <= soon:
        return Again(due_at=now + LOOKUP_WAITS[max(lookups, 1) - 1])
    if kind not in ABOUT_DEBT or now - created_at >= UNKNOWN_FOR:
        return Stop(status=Status.SUPPRESSED, reason=Reason.NO_SUCH_CUSTOMER)
    hours = dt.timedelta(hours=2 ** min(lookups - soon - 1, 10))
    return Again(due_at=now + min(hours, LONGEST_LOOKUP_WAIT))
