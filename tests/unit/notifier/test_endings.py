"""What the business hears when collecting has ended, and of ends that are planned and withdrawn again."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import msgspec
import pytest

from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.planned_ends import PlanNotice, plan_news
from services.notifier.domain.sending import Refused
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import requests, subscriptions
from services.notifier.models import IncidentRow
from services.notifier.ports import InvoiceReport, Mail
from shared import events as contract
from shared.contracts.accounts import OWN
from shared.contracts.invoices import SILENT_FOR, InvoiceStatus
from shared.contracts.payments import Decline, PaymentMethod
from tests.unit.notifier.conftest import House, event, failed, paid
from tests.unit.notifier.fakes import START

BUSINESS = "hello@sunrise.example"
DAY = dt.timedelta(days=1)
VISA = PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026)


def about(kind: type[contract.Data], at: dt.datetime = START, **changes: Any) -> contract.Event:
    """An event about the subscription of Dana's invoice."""
    data: dict[str, Any] = {
        "subscription_id": "sub_1",
        "stripe_customer_id": "cus_1",
        "status": "active",
        "description": "Weekly cleaning",
        "amount": 14900,
        "currency": "usd",
    }
    base = event(contract.CustomerDeleted, occurred_at=at)
    return msgspec.structs.replace(base, data=kind(**(data | changes)))


def stripe_says(house: House, invoice_id: str = "in_1", **changes: Any) -> None:
    """What a look at the invoice finds."""
    now: dict[str, Any] = {
        "status": InvoiceStatus.OPEN,
        "amount_remaining": 14900,
        "decline": Decline.INSUFFICIENT_FUNDS,
        "subscription_status": "past_due",
    }
    house.billing.reports[invoice_id] = InvoiceReport(
        now=InvoiceNow(**(now | changes)),
        method=VISA,
        dashboard_url=f"https://dashboard.example/invoices/{invoice_id}",
    )


def work(house: House) -> list[str]:
    """What is due now, then what is due after it: the business hears after the customer."""
    first = house.work()
    house.clock.forward(seconds=2)
    return first + house.work()


def told(house: House) -> Mail:
    """The last email to the business."""
    return [mail for mail in house.mailer.inbox if mail.to == BUSINESS][-1]


def silence(house: House) -> None:
    """A round of the loop that looks for invoices of which nothing more was heard."""
    with house.db.transaction() as session:
        subscriptions.note_silent(session, house.clock())


DIED = {"subscription_status": "canceled", "subscription_end_reason": "payment_failed"}
GONE = about(contract.SubscriptionEnded, status="canceled", end_reason="payment_failed")


def test_the_end_of_a_subscription_is_told_with_what_is_unpaid(house: House) -> None:
    """Cause, amount, what was tried, what happens next, and one button; one email in all, however often Stripe says it."""
    stripe_says(house)
    house.hear(failed(attempt_count=4))
    work(house)
    stripe_says(house, **DIED)
    house.hear(GONE)
    house.hear(msgspec.structs.replace(GONE, id="evt_again"))
    house.hear(event(contract.InvoiceUpdated, auto_advance=False, attempt_count=4))
    assert work(house) == ["sent"]
    silence(house)
    house.clock.forward(days=30)
    silence(house)
    assert work(house) == []
    assert house.mailed_to(BUSINESS) == ["collection_ended"]
    mail = told(house)
    assert mail.subject == "Still unpaid: $149.00 (Dana Reyes)"
    for words in (
        "has ended because we didn’t receive what was due",
        "We’ve tried 4 times.",
        "emailed the customer once",
        "won’t try again automatically",
        "4242",
        "Not enough money",
        "https://dashboard.example/invoices/in_1",
    ):
        assert words in mail.text
    assert "/me/" not in mail.html
    ends = [row.reason for row in house.rows() if row.kind == "subscription_ending"]
    assert ends == [Reason.TOLD_WITH_DEBT, Reason.END_IS_KNOWN]


def test_an_unpaid_subscription_is_told(house: House) -> None:
    """The second of Stripe's settings for the end of the tries."""
    house.hear(failed())
    stripe_says(house, subscription_status="unpaid")
    house.hear(about(contract.SubscriptionUpdated, status="unpaid"))
    work(house)
    assert house.mailed_to(BUSINESS) == ["collection_ended"]
    assert "is now unpaid" in told(house).text


def test_what_stays_past_due_is_told_when_nothing_more_was_heard(house: House) -> None:
    """The third setting ends nothing. Silence of a week does, and never one that began before this was watched."""
    stripe_says(house)
    house.hear(failed(attempt_count=4))
    work(house)
    house.clock.forward(days=6)
    silence(house)
    assert work(house) == []
    house.clock.forward(days=1, seconds=1)
    silence(house)
    assert work(house) == ["sent"]
    assert house.mailed_to(BUSINESS) == ["collection_ended"]
    assert "hasn’t scheduled another try" in told(house).text


@pytest.mark.whole
def test_what_was_open_before_the_upgrade_is_not_told_by_silence(house: House) -> None:
    """Nobody knows how long it has been silent; the next failure begins the count."""
    stripe_says(house)
    house.hear(failed(attempt_count=3))
    work(house)
    with house.db.transaction() as session:
        session.get_one(IncidentRow, (OWN, "in_1")).failure_heard_at = None
    house.clock.forward(days=30)
    silence(house)
    assert work(house) == []
    house.hear(failed(attempt_count=4))
    house.clock.forward(days=7, seconds=1)
    silence(house)
    work(house)
    assert house.mailed_to(BUSINESS) == ["collection_ended"]


@pytest.mark.whole
def test_the_end_waits_until_stripe_itself_says_so(house: House) -> None:
    """A date ahead, a debit under way, a look that only repeats webhooks: not final. Then it is, and is told once."""
    house.hear(failed())
    house.hear(about(contract.SubscriptionUpdated, status="unpaid"))
    unpaid = {"subscription_status": "unpaid"}
    stripe_says(house, **unpaid, next_payment_attempt=START + 5 * DAY)
    assert work(house) == ["sent", "held"]
    for state in ({"heard": True}, {"processing": True}, {"subscription_status": "past_due"}):
        stripe_says(house, **(unpaid | state))
        house.hear(event(contract.InvoiceUpdated))
        assert work(house) == ["held"], state
    assert Reason.WAITS_FOR_END in [row.reason for row in house.rows()]
    stripe_says(house, **unpaid)
    house.clock.forward(days=1)
    assert work(house) == ["sent"]


def test_a_debit_that_comes_back_after_the_end_is_told(house: House) -> None:
    """It was under way when the subscription was cancelled, and had not failed before: the customer is not asked, and the
    business is told at once that this is unpaid."""
    house.hear(about(contract.SubscriptionEnded, status="canceled", ends_at=START))
    work(house)
    assert "Stripe makes no new invoices" in told(house).text
    stripe_says(house, subscription_status="canceled", auto_advance=False)
    house.clock.forward(days=4)
    house.hear(failed(auto_advance=False))
    assert work(house) == ["suppressed", "sent"]
    assert house.mailed_to(BUSINESS) == ["subscription_ending", "collection_ended"]
    assert "is still unpaid" in told(house).text
    silence(house)
    house.clock.forward(days=30)
    silence(house)
    assert work(house) == []


def test_what_is_paid_after_all_is_not_told(house: House) -> None:
    """The customer was quicker: good news alone."""
    house.hear(failed())
    house.hear(about(contract.SubscriptionUpdated, status="unpaid"))
    house.hear(paid())
    stripe_says(house, status=InvoiceStatus.PAID, amount_remaining=0)
    work(house)
    assert "collection_ended" not in house.mailed_to(BUSINESS)


def test_a_bad_debt_that_the_business_chose_is_its_own_decision(house: House) -> None:
    """No email about it; but where the account marks it at the end of the tries, the business hears of that end."""
    house.hear(failed())
    house.hear(event(contract.InvoiceMarkedUncollectible))
    stripe_says(house, status=InvoiceStatus.UNCOLLECTIBLE)
    work(house)
    assert house.mailed_to(BUSINESS) == []
    stripe_says(house, status=InvoiceStatus.UNCOLLECTIBLE, **DIED)
    house.hear(GONE)
    work(house)
    assert house.mailed_to(BUSINESS) == ["collection_ended"]
    assert "we don’t ask the customer for it any more" in told(house).text


def test_several_invoices_are_one_email(house: House) -> None:
    """Each is named, and their sum; a refused email leaves the other to go by itself."""
    for number in (1, 2):
        house.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
        stripe_says(house, f"in_{number}", **DIED)
    house.hear(GONE)
    work(house)
    assert house.mailed_to(BUSINESS) == ["collection_ended"]
    mail = told(house)
    assert "SUN-1" in mail.text
    assert "SUN-2" in mail.text
    assert mail.subject == "Still unpaid: $298.00 (Dana Reyes)"
    reasons = [row.reason for row in house.rows() if row.kind == "collection_ended"]
    assert sorted(reasons, key=str) == [None, Reason.TOLD_TOGETHER]


@pytest.mark.whole
def test_an_email_that_asked_for_several_is_counted_once(house: House) -> None:
    """Three failures within minutes are two emails, and the business reads so."""
    for number in (1, 2, 3):
        house.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
        stripe_says(house, f"in_{number}")
    house.work()
    house.clock.forward(minutes=10)
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payments_failed"]
    for number in (1, 2, 3):
        stripe_says(house, f"in_{number}", **DIED)
    house.hear(GONE)
    work(house)
    assert "We’ve emailed the customer 2 times." in told(house).text


@pytest.mark.whole
def test_an_end_is_sent_again_while_it_is_one(house: House) -> None:
    """A person's resend is held by no policy; but what goes on again, or can't be looked at, has not ended for certain."""
    stripe_says(house, **DIED)
    house.hear(failed())
    house.hear(GONE)
    work(house)
    original = next(row for row in house.rows() if row.kind == "collection_ended")

    def again() -> list[str]:
        with house.db.transaction() as session:
            requests.resend(session, original.notification_id, house.clock())
        return work(house)

    assert again() == ["sent"]
    stripe_says(house, **DIED, heard=True)
    assert again() == ["held"]
    stripe_says(house, next_payment_attempt=house.clock() + DAY)
    house.clock.forward(hours=1)
    assert work(house) == ["held"]
    assert house.mailed_to(BUSINESS) == ["collection_ended"] * 2


def test_tries_that_were_not_made_are_not_counted(house: House) -> None:
    """After such a decline Stripe's count goes on, and no bank is asked: neither customer nor business reads how often."""
    dead = {"decline": Decline.LOST_OR_STOLEN, "needs_new_method": True}
    stripe_says(house, **dead)
    house.hear(failed())
    work(house)
    house.clock.forward(days=4)
    stripe_says(house, **dead, **DIED)
    house.hear(failed(attempt_count=4))
    house.work()
    assert house.mailed_to("dana@example.com") == ["payment_failed", "payment_last_attempt"]
    assert "We’ve tried" not in house.mailer.inbox[-1].text


def test_the_end_of_a_subscription_without_a_debt_is_told_as_ever(house: House) -> None:
    """Cancelled by the customer, or its invoice never failed."""
    house.hear(event(contract.InvoiceUpdated))
    house.hear(about(contract.SubscriptionEnded, status="canceled"))
    work(house)
    assert house.mailed_to(BUSINESS) == ["subscription_ending"]


# --- planned ends ---------------------------------------------------------------------------------------------


def cancelled(at: int, day: int = 30, **changes: Any) -> contract.Event:
    return about(
        contract.SubscriptionCancellationScheduled,
        START + dt.timedelta(minutes=at),
        **{"ends_at": START + day * DAY, "end_changed": True} | changes,
    )


def kept(at: int, **changes: Any) -> contract.Event:
    when = START + dt.timedelta(minutes=at)
    return about(contract.SubscriptionUpdated, when, **({"end_changed": True} | changes))


@pytest.mark.whole
def test_toggles_are_told_both_ways_once_each_in_order(house: House) -> None:
    """Cancelled, withdrawn, cancelled for the same day, withdrawn; each said twice by Stripe."""
    for each in (cancelled(0), kept(1), cancelled(2), kept(3)):
        house.hear(each)
        house.hear(msgspec.structs.replace(each, id=f"{each.id}/again"))
        house.work()
    assert house.mailed_to(BUSINESS) == ["subscription_ending", "cancellation_withdrawn"] * 2
    assert "goes on as before" in told(house).text


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_any_order_the_last_word_is_the_true_one(house: House, order: tuple[int, ...]) -> None:
    """Cancelled, withdrawn, cancelled again: whatever comes late, the business is left with the truth."""
    toggles = (cancelled(0), kept(1), cancelled(2))
    for number in order:
        house.hear(toggles[number])
        house.work()
    kinds = house.mailed_to(BUSINESS)
    assert kinds[-1] == "subscription_ending"
    assert all(a != b for a, b in itertools.pairwise(kinds))


def test_a_toggle_that_nobody_was_told_of_stays_untold(house: House) -> None:
    """The first email can't go out before the cancellation is withdrawn: neither does."""
    house.portal.down = True
    house.hear(cancelled(0))
    house.work()
    house.hear(kept(1))
    house.work()
    house.portal.down = False
    house.clock.forward(hours=1)
    house.work()
    assert house.mailed_to(BUSINESS) == []
    assert {row.reason for row in house.rows()} == {
        Reason.PLAN_CHANGED_AGAIN,
        Reason.NO_END_WAS_TOLD,
    }


def test_a_refused_email_is_no_news_that_was_told(house: House) -> None:
    """The business never heard of the cancellation, so its withdrawal is nothing to it."""
    house.mailer.answers = [Refused("401")]
    house.hear(cancelled(0))
    house.work()
    house.hear(kept(1))
    house.work()
    assert house.mailed_to(BUSINESS) == []


@pytest.mark.whole
def test_an_end_that_was_withdrawn_is_not_sent_again(house: House) -> None:
    """A person may have it sent again while it is so, however often; and the business has heard of it by that email, too."""
    house.mailer.answers = [Refused("401")]
    house.hear(cancelled(0))
    house.work()
    (first,) = house.rows()
    assert house.mailed_to(BUSINESS) == []

    def again(of: str) -> str:
        with house.db.transaction() as session:
            made = requests.resend(session, of, house.clock())
        house.work()
        return made.notification_id

    second = again(first.notification_id)
    again(second)
    assert house.mailed_to(BUSINESS) == ["subscription_ending"] * 2
    house.hear(kept(1))
    house.work()
    assert house.mailed_to(BUSINESS)[2:] == ["cancellation_withdrawn"]
    for one in (first.notification_id, second):
        made = again(one)
        row = next(row for row in house.rows() if row.notification_id == made)
        assert row.reason == Reason.PLAN_CHANGED_AGAIN
    assert len(house.mailed_to(BUSINESS)) == 3
    house.hear(cancelled(2))
    house.hear(cancelled(3))
    house.work()
    again(first.notification_id)
    assert house.mailed_to(BUSINESS)[3:] == ["subscription_ending"] * 2


def test_a_change_that_is_not_about_the_end_is_silent(house: House) -> None:
    """A renewal leaves no row; one of an earlier release, which can't say so, counts as withdrawn after a cancellation."""
    house.hear(kept(0, end_changed=False))
    assert house.rows() == []
    house.hear(cancelled(1))
    house.work()
    house.hear(kept(2, end_changed=False))
    house.work()
    assert house.mailed_to(BUSINESS) == ["subscription_ending", "cancellation_withdrawn"]


def test_withdrawing_what_the_business_approved_is_news(house: House) -> None:
    """It knows of the end, since it was its own decision."""
    house.hear(cancelled(0, requested=True))
    house.hear(kept(1))
    house.work()
    assert house.mailed_to(BUSINESS) == ["cancellation_withdrawn"]


def test_an_end_is_the_last_word(house: House) -> None:
    """What Stripe said before and tells late is old."""
    end = about(contract.SubscriptionEnded, START, status="canceled", ends_at=START)
    house.hear(end)
    house.hear(kept(-1))
    house.work()
    assert house.mailed_to(BUSINESS) == ["subscription_ending"]


def test_within_one_second_the_order_of_arrival_counts() -> None:
    """Stripe's moments are whole seconds."""
    first = PlanNotice(at=START, ends_on="20261223", known=True)
    assert plan_news(PlanNotice(at=START, ends_on=None), [first]) is None


def test_silence_is_a_week() -> None:
    """The product's own word for the third setting."""
    assert dt.timedelta(days=7) == SILENT_FOR
