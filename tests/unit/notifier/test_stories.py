"""Whole stories of an invoice: whatever Stripe sends, in whatever order, the customer is not mailed twice for one state."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.handlers import requests as asking
from services.notifier.models import Base
from services.notifier.ports import Business
from shared import events as contract
from shared.contracts.invoices import InvoiceStatus
from tests.unit import tables
from tests.unit.notifier.conftest import House, event
from tests.unit.notifier.fakes import START, a_contact

pytestmark = pytest.mark.whole

steps = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("confirm"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("own"), st.integers(1, 5), st.booleans()),
        st.tuples(
            st.sampled_from(["paid", "void", "uncollectible", "gone"]), st.just(1), st.booleans()
        ),
        st.tuples(st.just("date"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 100), st.booleans()),
        st.tuples(st.just("send"), st.just(1), st.booleans()),
    ),
    min_size=1,
    max_size=14,
)
policies = st.sampled_from(
    [
        ReminderPolicy(),
        ReminderPolicy(quiet_hours=QuietHours(dt.time(21), dt.time(8))),
        ReminderPolicy(interval=dt.timedelta(days=7)),
    ]
)
KINDS = {
    "fail": contract.InvoicePaymentFailed,
    "own": contract.InvoicePaymentFailed,
    "confirm": contract.InvoicePaymentActionRequired,
    "paid": contract.InvoicePaid,
    "void": contract.InvoiceVoided,
    "uncollectible": contract.InvoiceMarkedUncollectible,
    "date": contract.InvoiceUpdated,
    "gone": contract.CustomerDeleted,
}
Step = tuple[str, int, bool]


def a_house(policy: ReminderPolicy) -> House:
    house = House(tables.empty(Base.metadata))
    business = Business(name="Sunrise", email="hello@sunrise.example", reminders=policy)
    house.portal.people["cus_1"] = a_contact(business=business)
    return house


def tell(house: House, story: list[Step]) -> list[tuple[dt.datetime, str, bool]]:
    """Live through a story; the customer's emails as (when, kind, whether the invoice was closed or gone by then)."""
    mails: list[tuple[dt.datetime, str, bool]] = []
    closed = False
    for what, number, twice in [*story, ("wait", 100, False), ("send", 1, False)]:
        if what == "wait":
            house.clock.forward(hours=number)
            continue
        if what == "send":
            seen = len(house.mailer.inbox)
            house.work()
            new = [mail for mail in house.mailer.inbox[seen:] if mail.to == "dana@example.com"]
            mails += [(house.clock(), mail.kind.value, closed) for mail in new]
            continue
        changes = {} if what == "gone" else {"attempt_count": number, "own_retry": what == "own"}
        told = event(KINDS[what], occurred_at=house.clock(), **changes)
        for _ in range(2 if twice else 1):
            house.hear(told)
        closed = closed or what in ("paid", "void", "uncollectible", "gone")
    return mails


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(steps, policies)
def test_no_story_mails_twice_for_one_state_or_after_the_end(
    story: list[Step], policy: ReminderPolicy
) -> None:
    """One email an attempt, a distance between any two, at no quiet hour, one thank-you, and nothing after the end."""
    house = a_house(policy)
    mails = tell(house, story)
    rows = house.rows()
    dunning = [mail for mail in mails if Kind(mail[1]) in DUNNING]
    assert not any(closed for _, _, closed in dunning), mails
    for (earlier, _, _), (later, _, _) in itertools.pairwise(dunning):
        assert later - earlier >= policy.interval, mails
    attempts = [row.attempt for row in rows if Kind(row.kind) in DUNNING and row.sent_at]
    assert len(attempts) == len(set(attempts))
    kinds = [kind for _, kind, _ in mails]
    assert kinds.count("payment_failed") + kinds.count("payment_action_required") <= len(dunning)
    assert kinds.count("payment_recovered") <= (1 if dunning else 0)
    if policy.quiet_hours is not None:
        # Dana lives in New York: five hours behind in November.
        assert all(8 <= (when - dt.timedelta(hours=5)).hour < 21 for when, _, _ in dunning)
    for row in rows:
        assert row.status in ("sent", "suppressed", "pending"), row.status
        assert row.reason or row.status != "suppressed"


def test_three_weeks_of_dunning_are_four_emails(house: House) -> None:
    """Failures on days 0, 3, 8 and 15 of Stripe's clock, heard within seconds of ours: failed, two reminders, the last."""
    for attempt, day in ((1, 0), (2, 3), (3, 8), (4, 15)):
        last = attempt == 4
        house.billing.say(
            "in_1",
            InvoiceNow(
                status=InvoiceStatus.OPEN,
                next_payment_attempt=None if last else START + dt.timedelta(days=30),
                subscription_status="canceled" if last else "past_due",
                subscription_end_reason="payment_failed" if last else None,
            ),
        )
        failure = event(
            contract.InvoicePaymentFailed,
            attempt_count=attempt,
            occurred_at=START + dt.timedelta(days=day),
        )
        house.hear(failure)
        house.work()
        house.clock.forward(seconds=2)
        house.work()
    assert house.mailed_to("dana@example.com") == [
        "payment_failed",
        "payment_reminder",
        "payment_reminder",
        "payment_last_attempt",
    ]
    assert "subscription has ended" in house.mailer.inbox[-1].text


def test_a_date_that_comes_late_lets_the_reminder_go(house: House) -> None:
    """Held because Stripe had not said whether it goes on; the update says it does, and the email names the day."""
    house.hear(event(contract.InvoicePaymentFailed))
    house.work()
    house.clock.forward(days=4)
    house.billing.say("in_1", InvoiceNow(status=InvoiceStatus.OPEN, subscription_status="past_due"))
    house.hear(event(contract.InvoicePaymentFailed, attempt_count=2, occurred_at=house.clock()))
    assert house.work() == ["held"]
    due = house.clock() + dt.timedelta(days=5)
    house.billing.say("in_1", InvoiceNow(status=InvoiceStatus.OPEN, next_payment_attempt=due))
    house.hear(event(contract.InvoiceUpdated, attempt_count=2, next_payment_attempt=due))
    assert house.work() == ["sent"]
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payment_reminder"]
    assert "Wednesday, December 2" in house.mailer.inbox[-1].text


def test_a_schedule_that_names_no_date_any_more_is_over(house: House) -> None:
    """Where Stripe leaves the subscription as it is: after a quarter of an hour without a date it is the last."""
    house.hear(event(contract.InvoicePaymentFailed))
    house.work()
    house.clock.forward(days=4)
    house.billing.say("in_1", InvoiceNow(status=InvoiceStatus.OPEN, subscription_status="past_due"))
    house.hear(event(contract.InvoicePaymentFailed, attempt_count=2, occurred_at=house.clock()))
    assert house.work() == ["held"]
    house.clock.forward(minutes=15)
    assert house.work() == ["sent"]
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payment_last_attempt"]


@pytest.mark.parametrize("hour", [3, 22])
def test_a_night_holds_even_the_first_email_where_the_business_wants_quiet(
    house: House, hour: int
) -> None:
    """And a person who asks for it by hand gets it out at any hour."""
    policy = ReminderPolicy(quiet_hours=QuietHours(dt.time(21), dt.time(8)))
    house.portal.people["cus_1"] = a_contact(
        timezone="UTC", business=Business(name="Sunrise", reminders=policy)
    )
    house.clock.moment = START.replace(hour=hour)
    house.hear(event(contract.InvoicePaymentFailed, occurred_at=house.clock()))
    assert house.work() == ["held"]
    row = house.row()
    assert (row.status, row.due_at.hour) == ("pending", 8)
    with house.db.transaction() as session:
        asking.resend(session, row.notification_id, house.clock())
    assert house.work() == ["sent"]
