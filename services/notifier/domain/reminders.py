"""When an email that asks for money, or keeps quiet hours, may go out: the reminder policy (docs/adr/0009-reminders.md).

Two clocks meet here. *Our* clock says when a telephone would ring: quiet hours are read off it. *The invoice's* time
line, which `effective_time` makes of Stripe's and ours, says how far apart two emails are: in production the two are the
same; on a Stripe test clock the invoice's runs ahead, and three weeks of failures pass in seconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, KEEP_QUIET_HOURS, Kind
from services.notifier.domain.notification_rules import InvoiceNow, Suppress, as_it_stands
from services.notifier.domain.vocabulary import Reason
from shared.contracts.invoices import (
    NAMES_A_DATE_WITHIN,
    Invoice,
    InvoiceStatus,
    Retry,
    retry_plan,
)


@dataclass(frozen=True)
class QuietHours:
    """The hours of a day in which nobody is asked for money or welcomed, on the customer's wall clock. `end` may lie on the next
    day; equal times mean none."""

    start: dt.time
    end: dt.time


@dataclass(frozen=True)
class ReminderPolicy:
    """How often, and when, one unpaid invoice may write to its customer. Set per business."""

    interval: dt.timedelta = dt.timedelta(days=3)
    """Least time between two emails about the same invoice."""
    quiet_hours: QuietHours | None = None


PATIENCE: Final = dt.timedelta(days=1)
"""A reminder that comes too early by no more than this waits; one that is earlier still is left to the next
failure. Stripe retries "about every three days": without it, three days less a minute would be told on day six."""
GATHER_FOR: Final = dt.timedelta(minutes=10)
"""After an email that asked a customer for money: what of theirs fails in this time is told together, in one more."""


def gather_until(others: Iterable[Incident], now: dt.datetime) -> dt.datetime | None:
    """Until when a failure waits for others of the same customer, so that five in a minute are two emails; None: it need
    not. `others` are the customer's other invoices. On our own clock: it is about telephones that ring."""
    last = max((one.asked_at for one in others if one.asked_at is not None), default=None)
    return last + GATHER_FOR if last is not None and now < last + GATHER_FOR else None


@dataclass(frozen=True)
class Go:
    """Send it now."""


@dataclass(frozen=True)
class Hold:
    """Look at it again after `wait`, on our own clock."""

    wait: dt.timedelta
    reason: Reason


def effective_time(
    occurred_at: dt.datetime, heard_at: dt.datetime, now: dt.datetime
) -> dt.datetime:
    """Now, on the time line of the invoice whose event happened at `occurred_at` and was heard at `heard_at`.

    The later of our clock and Stripe's. So in production it is our clock, and a message that was a day on its way
    counts from when it was heard; on a test clock that was run ahead it is Stripe's. A test clock in the past reads as
    our clock too, which may hold a reminder back and never sends one early.
    """
    return max(now, occurred_at + (now - heard_at))


def schedule(
    incident: Incident | None,
    fresh: InvoiceNow | None,
    waited: dt.timedelta,
    now: dt.datetime,
) -> Retry:
    """Will Stripe try again by itself? `retry_plan` says; an invoice that can't be read stays UNKNOWN, and of one that is
    only heard of a date may be on its way."""
    if fresh is None:
        return Retry.UNKNOWN
    known = as_it_stands(incident, fresh) if incident is not None else _read_alone(fresh)
    read = fresh.status is not None and not fresh.heard
    return retry_plan(
        known,
        fresh.subscription,
        needs_new_method=fresh.needs_new_method,
        now=now,
        silent_for=waited if read else dt.timedelta(0),
    ).retry


def _read_alone(fresh: InvoiceNow) -> Invoice:
    """An invoice that no event has told of yet."""
    return Invoice(
        status=fresh.status or InvoiceStatus.OPEN,
        amount_remaining=1 if fresh.amount_remaining is None else fresh.amount_remaining,
        next_payment_attempt=fresh.next_payment_attempt,
    )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The moment at which an email wants to go out, as the reminder policy sees it."""

    planned: Retry
    now: dt.datetime
    story_now: dt.datetime
    """The same on the invoice's time line (`effective_time`)."""
    waited: dt.timedelta
    """How long ago the failure was heard of."""
    zone: dt.tzinfo
    """The customer's."""
    policy: ReminderPolicy
    readable: bool = True
    """The invoice could be read just now."""
    answer: bool = False
    """The payment method that the customer gave since the last email failed; that is told however recent the last email is."""


def when(kind: Kind, incident: Incident | None, timing: Timing) -> Go | Hold | Suppress:
    """May this email go out now?

    The first email about an invoice goes at once, except in quiet hours: a business that asks for quiet means it, and
    a night costs none of Stripe's tries.
    """
    verdict = _since_the_last(incident, timing) if kind in DUNNING else None
    if verdict is not None:
        return verdict
    if kind in KEEP_QUIET_HOURS and timing.policy.quiet_hours is not None:
        rest = quiet_for(timing.policy.quiet_hours, timing.now, timing.zone)
        if rest > dt.timedelta(0):
            return Hold(rest, Reason.WAITS_FOR_MORNING)
    return Go()


def _since_the_last(incident: Incident | None, timing: Timing) -> Hold | Suppress | None:
    """What the last email about the invoice says against this one; None: nothing."""
    last = incident.last_mailed_at if incident else None
    if last is not None and not timing.answer:
        missing = last + timing.policy.interval - timing.story_now
        if missing > dt.timedelta(0):
            if timing.planned is Retry.OVER or missing <= PATIENCE:
                return Hold(missing, Reason.WAITS_FOR_INTERVAL)
            return Suppress(Reason.REMINDED_RECENTLY)
        undecided = timing.planned is Retry.UNKNOWN and timing.readable
        if (
            undecided
            and timing.waited < NAMES_A_DATE_WITHIN
            and incident
            and incident.attempt_count > 1
        ):
            return Hold(NAMES_A_DATE_WITHIN - timing.waited, Reason.WAITS_FOR_SCHEDULE)
    return None


def quiet_for(hours: QuietHours, now: dt.datetime, zone: dt.tzinfo) -> dt.timedelta:
    """How long the quiet hours at `zone` go on; zero outside them. Right across changes of daylight saving."""
    local = now.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    if hours.start <= hours.end:
        inside, ends_on = hours.start <= clock < hours.end, local.date()
    else:
        inside = clock >= hours.start or clock < hours.end
        ends_on = local.date() + dt.timedelta(days=1 if clock >= hours.start else 0)
    if not inside:
        return dt.timedelta(0)
    end = dt.datetime.combine(ends_on, hours.end, tzinfo=zone).astimezone(dt.UTC)
    # An hour that daylight saving skips can end "before now": then it is over.
    return max(end - now, dt.timedelta(0))
