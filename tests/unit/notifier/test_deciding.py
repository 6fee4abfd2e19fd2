"""Which failed charge becomes an email: the pure rules."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.incidents import Incident, merge
from services.notifier.domain.keys import (
    attempt_key,
    business_recovered_key,
    collection_ended_key,
    failure_key,
    recovered_key,
)
from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import (
    Failure,
    InvoiceNow,
    PriorNotices,
    Send,
    Suppress,
    decide,
    effective_kind,
    is_replacement,
    is_told,
    recheck,
)
from services.notifier.domain.planned_ends import read_plan_key, subscription_end_key, withdrawn_key
from services.notifier.domain.vocabulary import Reason
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.invoices import InvoiceStatus, Retry
from shared.contracts.observations import Observation
from shared.contracts.payments import Decline

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def facts(**changes: Any) -> Observation:
    values: dict[str, Any] = {
        "at": NOW,
        "status": InvoiceStatus.OPEN,
        "currency": "usd",
        "amount_due": 14900,
        "amount_remaining": 14900,
        "attempt_count": 1,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "failed": True,
    }
    return Observation(**(values | changes))


def decision(
    invoice: Observation, told: PriorNotices | None = None, **story: Any
) -> Send | Suppress:
    fresh = Incident(invoice_id="in_1", stripe_customer_id="cus_1")
    incident = merge(fresh, invoice, NOW).with_changes(**story)
    return decide(invoice, incident, told or PriorNotices())


def test_the_first_failure_on_autopay_mails() -> None:
    """An open autopay invoice with something due is the case that the product exists for."""
    assert decision(facts()) == Send(Kind.PAYMENT_FAILED)


def test_a_payment_that_the_bank_wants_confirmed_says_so() -> None:
    """The right action is to confirm, not to replace the card."""
    assert decision(facts(action_required=True)) == Send(Kind.PAYMENT_ACTION_REQUIRED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"own_retry": True}, Reason.OWN_RETRY),
        ({"collection_method": "send_invoice"}, Reason.NOT_AUTOPAY),
        ({"billing_reason": "subscription_create"}, Reason.AT_CHECKOUT),
        ({"status": InvoiceStatus.PAID}, Reason.PAID),
        ({"status": InvoiceStatus.VOID}, Reason.VOIDED),
        ({"status": InvoiceStatus.UNCOLLECTIBLE}, Reason.UNCOLLECTIBLE),
        ({"status": InvoiceStatus.DRAFT}, Reason.NOT_OPEN),
        ({"amount_remaining": 0}, Reason.NOTHING_OWED),
    ],
)
def test_what_is_no_autopay_failure_has_its_own_reason(
    changes: dict[str, Any], reason: Reason
) -> None:
    """Each way of not being an autopay failure is suppressed with words that say which."""
    assert decision(facts(**changes)) == Suppress(reason)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (PriorNotices(this_attempt=True, under_way=True), Reason.SAME_ATTEMPT),
        (PriorNotices(under_way=True), Reason.UNDER_WAY),
        (PriorNotices(customer_deleted=True), Reason.CUSTOMER_DELETED),
    ],
)
def test_what_was_or_is_about_to_be_told_is_not_told_again(
    told: PriorNotices, reason: Reason
) -> None:
    """One email an attempt, one at a time, and none to a deleted customer."""
    assert decision(facts(), told) == Suppress(reason)


def test_an_attempt_that_a_later_one_has_overtaken_is_old_news() -> None:
    """Events arrive in any order; the older failure must not mail after the newer."""
    assert decision(facts(attempt_count=1), attempt_count=2) == Suppress(Reason.OVERTAKEN)


def test_a_second_failure_of_an_attempt_is_looked_at() -> None:
    """Stripe raises no count for a debit made by API that fails days later: only the charge can tell."""
    assert decision(facts(), PriorNotices(this_attempt=True)) == Send(Kind.PAYMENT_FAILED)


@pytest.mark.parametrize(
    ("failure", "told", "reason"),
    [
        (Failure(attempt=1, charge_id="ch_1"), [], None),
        (
            Failure(attempt=1, charge_id="ch_1"),
            [Failure(attempt=1, charge_id="ch_1")],
            Reason.SAME_CHARGE,
        ),
        (
            Failure(attempt=2, charge_id="ch_1"),
            [Failure(attempt=1, charge_id="ch_1")],
            Reason.SAME_CHARGE,
        ),
        (Failure(attempt=1, charge_id="ch_2"), [Failure(attempt=1, charge_id="ch_1")], None),
        (
            Failure(attempt=1, charge_id="ch_1"),
            [Failure(attempt=1, charge_id="ch_1"), Failure(attempt=1, charge_id="ch_2")],
            Reason.SAME_CHARGE,
        ),
        # Without a charge on either side: no card, Stripe away, or told by an earlier release.
        (Failure(attempt=1), [Failure(attempt=1)], Reason.SAME_ATTEMPT),
        (Failure(attempt=1, charge_id="ch_1"), [Failure(attempt=1)], Reason.SAME_ATTEMPT),
        (Failure(attempt=2), [Failure(attempt=1)], None),
        (Failure(attempt=1, next_payment_attempt=NOW), [Failure(attempt=1)], Reason.SAME_ATTEMPT),
        (
            Failure(attempt=1, next_payment_attempt=NOW + dt.timedelta(days=1)),
            [Failure(attempt=1, next_payment_attempt=NOW)],
            None,
        ),
    ],
)
def test_a_failure_is_a_charge_that_failed(
    failure: Failure, told: list[Failure], reason: Reason | None
) -> None:
    """Told once a charge; where no charge is known, attempt and date tell failures apart."""
    assert is_told(failure, told) is reason


def test_another_payment_method_that_fails_is_an_answer() -> None:
    """The customer acted since the last email; what isn't known is no difference."""
    told = [Failure(attempt=1, payment_method_id="pm_old")]
    assert is_replacement(Failure(attempt=1, payment_method_id="pm_new"), told)
    assert not is_replacement(Failure(attempt=1, payment_method_id="pm_old"), told)
    assert not is_replacement(Failure(attempt=1), told)
    assert not is_replacement(Failure(attempt=1, payment_method_id="pm_new"), [])


def test_a_failure_of_our_own_retry_has_a_key_of_its_own() -> None:
    """It carries the attempt number of the failure before it, and must not take that failure's place."""
    assert failure_key(StripeId(OWN, "in_1"), facts()) != failure_key(
        StripeId(OWN, "in_1"), facts(own_retry=True)
    )


statuses = st.sampled_from(
    [InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE]
)
moments = st.datetimes(
    min_value=dt.datetime(2026, 11, 1),
    max_value=dt.datetime(2026, 12, 1),
    timezones=st.just(dt.UTC),
)
stories = st.lists(
    st.builds(
        facts,
        at=moments,
        status=statuses,
        attempt_count=st.integers(0, 4),
        amount_remaining=st.integers(0, 14900),
        amount_paid=st.integers(0, 14900),
        next_payment_attempt=st.none() | moments,
        failed=st.booleans(),
    ),
    max_size=6,
)


@given(stories, st.randoms())
def test_the_story_of_an_invoice_does_not_depend_on_the_order_of_its_events(
    story: list[Observation], random: Any
) -> None:
    """Stripe promises no order: every permutation of the same events gives the same incident."""
    shuffled = list(story)
    random.shuffle(shuffled)

    def tell(events: list[Observation]) -> Incident:
        incident = Incident(invoice_id="in_1", stripe_customer_id="cus_1")
        for seen in events:
            incident = merge(incident, seen, NOW)
        return incident

    assert tell(story) == tell(shuffled)


@given(stories)
def test_no_story_with_an_end_mails(
    story: list[Observation],
) -> None:
    """Once paid, void or uncollectible, in whatever order it was heard, no failure mails any more."""
    incident = Incident(invoice_id="in_1", stripe_customer_id="cus_1")
    for seen in story:
        incident = merge(incident, seen, NOW)
        verdict = decide(seen, incident, PriorNotices())
        if incident.closed_because is not None:
            assert isinstance(verdict, Suppress)


@pytest.mark.parametrize(
    ("fresh", "reason"),
    [
        (InvoiceNow(status=InvoiceStatus.PAID), Reason.PAID),
        (InvoiceNow(status=InvoiceStatus.VOID), Reason.VOIDED),
        (InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=0), Reason.NOTHING_OWED),
        (InvoiceNow(subscription_status="canceled"), Reason.SUBSCRIPTION_ENDED),
        (InvoiceNow(status=InvoiceStatus.OPEN, amount_remaining=1), None),
        (InvoiceNow(), None),
        (None, None),
    ],
)
def test_a_dunning_email_goes_out_only_for_what_stripe_still_wants(
    fresh: InvoiceNow | None, reason: Reason | None
) -> None:
    """What Stripe says at the moment of sending wins; when it can't be asked the email goes out."""
    assert recheck(Kind.PAYMENT_FAILED, None, fresh) == reason


def test_good_news_is_not_held_back_by_a_closed_invoice() -> None:
    """The recovery email is about a paid invoice; only emails that ask for money stop."""
    assert recheck(Kind.PAYMENT_RECOVERED, None, InvoiceNow(status=InvoiceStatus.PAID)) is None


def test_one_incident_has_one_right_action() -> None:
    """When Stripe says the bank wants a confirmation, the email asks for that."""
    fresh = InvoiceNow(decline=Decline.AUTHENTICATION_REQUIRED)
    unknown = Retry.UNKNOWN
    assert effective_kind(Kind.PAYMENT_FAILED, None, fresh, unknown) is Kind.PAYMENT_ACTION_REQUIRED
    assert effective_kind(Kind.FRESH_LINK, None, fresh, unknown) is Kind.FRESH_LINK
    replaced = InvoiceNow(decline=Decline.DECLINED)
    confirm = Kind.PAYMENT_ACTION_REQUIRED
    assert effective_kind(confirm, None, replaced, unknown) is Kind.PAYMENT_FAILED
    assert effective_kind(confirm, None, None, unknown) is confirm


@pytest.mark.parametrize(
    ("kind", "decline", "schedule", "said"),
    [
        (Kind.PAYMENT_REMINDER, Decline.DECLINED, Retry.OVER, Kind.PAYMENT_REMINDER),
        (Kind.PAYMENT_LAST_ATTEMPT, Decline.DECLINED, Retry.OVER, Kind.PAYMENT_LAST_ATTEMPT),
        (Kind.PAYMENT_LAST_ATTEMPT, Decline.DECLINED, Retry.SCHEDULED, Kind.PAYMENT_FAILED),
        (Kind.PAYMENT_ACTION_REQUIRED, Decline.DECLINED, Retry.SCHEDULED, Kind.PAYMENT_FAILED),
        (Kind.PAYMENT_ACTION_REQUIRED, None, Retry.UNKNOWN, Kind.PAYMENT_ACTION_REQUIRED),
        (
            Kind.PAYMENT_FAILED,
            Decline.AUTHENTICATION_REQUIRED,
            Retry.SCHEDULED,
            Kind.PAYMENT_ACTION_REQUIRED,
        ),
        (Kind.PAYMENTS_FAILED, Decline.DECLINED, Retry.SCHEDULED, Kind.PAYMENT_FAILED),
    ],
)
def test_what_is_sent_again_says_what_is_still_so(
    kind: Kind, decline: Decline | None, schedule: Retry, said: Kind
) -> None:
    """A person wants the same email once more; of what has changed since it says how it is now."""
    fresh = InvoiceNow(decline=decline)
    assert effective_kind(kind, None, fresh, schedule, by_hand=True) is said


def test_nobody_is_asked_who_is_back_at_checkout() -> None:
    """The event says when it failed, and only Stripe whether the subscription still waits for that payment."""
    made = NOW - dt.timedelta(hours=2)
    first = facts(billing_reason="subscription_create", finalized_at=made)
    assert decision(first) == Send(Kind.PAYMENT_FAILED)
    incident = merge(Incident(invoice_id="in_1", stripe_customer_id="cus_1"), first, NOW)
    for status, reason in (("incomplete", Reason.AT_CHECKOUT), ("past_due", None)):
        fresh = InvoiceNow(status=InvoiceStatus.OPEN, subscription_status=status)
        assert recheck(Kind.PAYMENT_FAILED, incident, fresh) == reason


def test_keys_of_the_own_account_are_those_of_before_accounts() -> None:
    """Byte for byte: what was told under them is not told anew. In another account the same ids are other things."""
    day = dt.datetime(2026, 12, 24, 12, tzinfo=dt.UTC)

    def keys(account: Account) -> list[str]:
        invoice, subscription = StripeId(account, "in_1"), StripeId(account, "sub_1")
        return [
            failure_key(invoice, facts(attempt_count=2)),
            attempt_key(invoice, 2),
            recovered_key(invoice),
            business_recovered_key(invoice),
            collection_ended_key(invoice),
            subscription_end_key(subscription, day),
            withdrawn_key(subscription, day),
        ]

    own = keys(OWN)
    assert own[:6] == [
        "in_1/2/payment_failed",
        "in_1/2",
        "in_1/payment_recovered",
        "in_1/customer_recovered",
        "in_1/collection_ended",
        "subscription_ending/sub_1/20261224",
    ]
    assert own[6].startswith("cancellation_withdrawn/sub_1/20261224")
    other = Account("acct_1")
    assert keys(other) == [f"acct_1/{key}" for key in own]
    assert [read_plan_key(account, keys(account)[5]) for account in (OWN, other)] == [
        ("sub_1", "20261224")
    ] * 2
    assert read_plan_key(OWN, keys(other)[5]) is None
