"""What came of one try to send an email, and what becomes of the row: done with, or due again. The caller holds the row's lock, or
its lease, and stores it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import (
    GRACE,
    LONGEST_RATE_LIMIT,
    OUT_OF_CREDITS,
    RATE_LIMITED,
    Again,
    MaybeSent,
    Outcome,
    RateLimited,
    Refused,
    Stop,
    Unavailable,
    after_unavailable,
)
from services.notifier.domain.vocabulary import Status
from services.notifier.models import Notification
from services.notifier.queries.notifications import Row

HELD: Final = (RATE_LIMITED, OUT_OF_CREDITS)
"""The `last_error` of what SendGrid holds."""


@dataclass(frozen=True)
class Result:
    """What came of one try, for log and metrics. `outcome` is a word of a small set."""

    kind: Kind
    outcome: str
    why: str = ""
    pause_until: dt.datetime | None = None
    """Set when SendGrid asks everybody to wait."""


def record_failure(
    row: Notification | Row,
    kind: Kind,
    outcome: Outcome,
    now: dt.datetime,
    jitter: float,
) -> Result:
    """SendGrid did not take the email, or did not say. Its row, whose lease is held, says when it is tried again, if at all."""
    if isinstance(outcome, MaybeSent):
        _begin_day(row, now)
        row.status, row.lease_until, row.last_error = Status.PENDING.value, None, outcome.why
        row.due_at = now + GRACE
        return Result(kind, "maybe_sent", outcome.why)
    # Certainly not taken: this post is known. An earlier one whose delivery is unconfirmed stays unknown.
    row.unconfirmed_posts -= 1
    if row.unconfirmed_posts == 0:
        row.unconfirmed_since = None
    if isinstance(outcome, Refused):
        finish(row, Status.FAILED, outcome.why, now)
        return Result(kind, "refused", outcome.why)
    if isinstance(outcome, RateLimited):
        # However long that goes on: SendGrid works, and takes no more than so many. The email is looked at again before it goes out, so
        # that late is not wrong; to give it up would cost whoever is last in a long line their email.
        until = min(outcome.until, now + LONGEST_RATE_LIMIT)
        # Spread by up to five seconds: the whole backlog must not come back in one instant.
        spread = dt.timedelta(seconds=5 * jitter)
        retry(row, Again(due_at=max(until, now) + spread), outcome.why)
        return Result(kind, "rate_limited", outcome.why, pause_until=until)
    if isinstance(outcome, Unavailable):
        return retry_or_give_up(row, kind, "unavailable", outcome.why, now, jitter)
    raise TypeError(f"not an outcome of sending: {outcome!r}")


def retry_or_give_up(
    row: Notification | Row,
    kind: Kind,
    word: str,
    why: str,
    now: dt.datetime,
    jitter: float,
) -> Result:
    """The email certainly did not go out: `row` is tried again later, until its day is over."""
    _begin_day(row, now)
    # What the reminder policy held has a day of its own from then on.
    ready_at = max(row.created_at, row.ready_at or row.created_at)
    follows = after_unavailable(ready_at, row.attempts, now, jitter)
    if isinstance(follows, Stop):
        finish(row, follows.status, follows.reason, now)
        row.last_error = why
        return Result(kind, "gave_up", why)
    retry(row, follows, why)
    return Result(kind, word, why)


def _begin_day(row: Notification | Row, now: dt.datetime) -> None:
    """Something else than that came of this try. What SendGrid held until then has a day of its own from now on: as long as it was
    held it was not refused, and one 5xx after it is no reason to give it up."""
    if row.last_error in HELD:
        row.ready_at = now


def retry(row: Notification | Row, again: Again, why: str) -> None:
    """Give the row back, due at a later time."""
    row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
    row.due_at, row.last_error = again.due_at, why


def finish(row: Notification | Row, status: Status, reason: str, now: dt.datetime) -> None:
    """No email comes of the row, for this reason."""
    row.status, row.reason, row.lease_until = status.value, str(reason), None
    row.finished_at = now
