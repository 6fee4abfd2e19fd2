"""When an email that asks for money goes out: the reminder policy."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import InvoiceNow, Suppress
from services.notifier.domain.reminders import (
    Go,
    Hold,
    QuietHours,
    ReminderPolicy,
    Timing,
    effective_time,
    quiet_for,
    schedule,
    when,
)
from services.notifier.domain.vocabulary import Reason
from shared.contracts.invoices import NAMES_A_DATE_WITHIN, InvoiceStatus, Retry

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
POLICY = ReminderPolicy()
DAY = dt.timedelta(days=1)
NIGHT = QuietHours(dt.time(21), dt.time(8))


def incident(told: dt.timedelta | None = None, attempt: int = 1) -> Incident:
    """An incident that was last told of so long ago."""
    return Incident(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        status=InvoiceStatus.OPEN,
        attempt_count=attempt,
        amount_remaining=14900,
        last_mailed_at=NOW - told if told is not None else None,
    )


def verdict(
    story: Incident,
    planned: Retry = Retry.SCHEDULED,
    policy: ReminderPolicy = POLICY,
    now: dt.datetime = NOW,
    kind: Kind = Kind.PAYMENT_REMINDER,
    waited: dt.timedelta = dt.timedelta(0),
    zone: dt.tzinfo = dt.UTC,
) -> Go | Hold | Suppress:
    return when(
        kind,
        story,
        Timing(planned=planned, now=now, story_now=now, waited=waited, zone=zone, policy=policy),
    )


def test_the_first_failure_is_told_at_once() -> None:
    """Nothing was said yet, so nothing holds it, dated or not."""
    assert verdict(incident(), Retry.UNKNOWN, kind=Kind.PAYMENT_FAILED) == Go()


@pytest.mark.parametrize(
    ("told", "follows"),
    [
        (3 * DAY, Go()),
        (
            3 * DAY - dt.timedelta(minutes=1),
            Hold(dt.timedelta(minutes=1), Reason.WAITS_FOR_INTERVAL),
        ),
        (2 * DAY, Hold(DAY, Reason.WAITS_FOR_INTERVAL)),
        (2 * DAY - dt.timedelta(minutes=1), Suppress(Reason.REMINDED_RECENTLY)),
    ],
)
def test_reminders_keep_their_distance(told: dt.timedelta, follows: Go | Hold | Suppress) -> None:
    """Three days or more go out, a little less waits, much less is left to the next failure."""
    assert verdict(incident(told, attempt=2)) == follows


def test_the_last_attempt_waits_but_is_never_dropped() -> None:
    """No further failure would say it, so it is held to the end of the interval, however long that is."""
    assert verdict(incident(DAY, 4), Retry.OVER) == Hold(2 * DAY, Reason.WAITS_FOR_INTERVAL)


def test_a_repeated_failure_without_a_date_gives_stripe_time_to_name_one() -> None:
    """It may be the last: the email waits a quarter of an hour, no longer, and only if the invoice can be read."""
    story = incident(4 * DAY, attempt=3)
    held = verdict(story, Retry.UNKNOWN)
    assert held == Hold(NAMES_A_DATE_WITHIN, Reason.WAITS_FOR_SCHEDULE)
    assert verdict(story, Retry.UNKNOWN, waited=NAMES_A_DATE_WITHIN) == Go()


@pytest.mark.parametrize(
    ("fresh", "attempt", "waited", "planned"),
    [
        (None, 4, DAY, Retry.UNKNOWN),
        (
            InvoiceNow(status=InvoiceStatus.OPEN, subscription_status="unpaid"),
            4,
            0 * DAY,
            Retry.OVER,
        ),
        (
            InvoiceNow(subscription_status="canceled", subscription_end_reason="payment_failed"),
            4,
            0 * DAY,
            Retry.OVER,
        ),
        (InvoiceNow(subscription_status="canceled"), 4, 0 * DAY, Retry.OVER),
        (
            InvoiceNow(status=InvoiceStatus.OPEN, next_payment_attempt=NOW + DAY),
            4,
            DAY,
            Retry.SCHEDULED,
        ),
        (
            InvoiceNow(
                status=InvoiceStatus.OPEN, next_payment_attempt=NOW + DAY, needs_new_method=True
            ),
            4,
            DAY,
            Retry.WAITS_FOR_METHOD,
        ),
        (InvoiceNow(status=InvoiceStatus.OPEN), 4, 0 * DAY, Retry.UNKNOWN),
        (InvoiceNow(status=InvoiceStatus.OPEN), 4, DAY, Retry.OVER),
        (InvoiceNow(status=InvoiceStatus.OPEN), 1, DAY, Retry.UNKNOWN),
    ],
)
def test_the_end_of_the_schedule_is_never_guessed(
    fresh: InvoiceNow | None, attempt: int, waited: dt.timedelta, planned: Retry
) -> None:
    """Stripe's own words end it, or a repeated try with no date after the time that Stripe takes to name one."""
    assert schedule(incident(attempt=attempt), fresh, waited, NOW) is planned


def test_quiet_hours_are_the_customers() -> None:
    """The same moment is night in Warsaw and afternoon in Los Angeles; good news is no reason to wait."""
    policy = ReminderPolicy(quiet_hours=NIGHT)
    late = dt.datetime(2026, 11, 23, 22, tzinfo=dt.UTC)
    warsaw, angeles = ZoneInfo("Europe/Warsaw"), ZoneInfo("America/Los_Angeles")
    held = verdict(incident(), policy=policy, now=late, zone=warsaw, kind=Kind.PAYMENT_FAILED)
    assert held == Hold(dt.timedelta(hours=9), Reason.WAITS_FOR_MORNING)
    assert verdict(incident(), policy=policy, now=late, zone=angeles) == Go()
    recovered = Kind.PAYMENT_RECOVERED
    assert verdict(incident(), policy=policy, now=late, zone=warsaw, kind=recovered) == Go()


def test_quiet_hours_end_on_the_clock_on_the_wall() -> None:
    """In the night that daylight saving begins the morning comes an hour sooner."""
    zone = ZoneInfo("Europe/Berlin")
    evening = dt.datetime(2026, 3, 28, 23, tzinfo=zone).astimezone(dt.UTC)
    assert quiet_for(NIGHT, evening, zone) == dt.timedelta(hours=8)


@given(
    st.datetimes(
        timezones=st.sampled_from([dt.UTC]),
        min_value=dt.datetime(2026, 1, 1),
        max_value=dt.datetime(2027, 1, 1),
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
    st.times(),
    st.times(),
)
def test_after_the_quiet_hours_it_is_not_quiet(
    now: dt.datetime, name: str, start: dt.time, end: dt.time
) -> None:
    """What waits for the morning goes out in the morning, within a day and a bit, everywhere and on every day."""
    hours, zone = QuietHours(start, end), ZoneInfo(name)
    rest = quiet_for(hours, now, zone)
    assert dt.timedelta(0) <= rest <= dt.timedelta(hours=25)
    assert quiet_for(hours, now + rest, zone) <= dt.timedelta(hours=1)


def test_an_invoices_time_is_the_later_of_the_two_clocks() -> None:
    """In production it is our clock; on a test clock that ran ahead it is Stripe's, and goes on from there."""
    heard = NOW
    assert effective_time(NOW - DAY, heard, NOW) == NOW
    assert effective_time(NOW + 9 * DAY, heard, NOW) == NOW + 9 * DAY
    assert effective_time(NOW + 9 * DAY, heard, NOW + DAY) == NOW + 10 * DAY
