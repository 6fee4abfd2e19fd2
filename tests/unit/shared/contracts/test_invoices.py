"""One story of an invoice, and one rule for each question about it."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import events
from shared.contracts.invoices import (
    SILENT_FOR,
    Ending,
    Invoice,
    InvoiceStatus,
    MethodChange,
    Retry,
    RetryPlan,
    Settlement,
    Stop,
    SubscriptionState,
    at_checkout,
    collection_stopped,
    ending,
    may_be_at_checkout,
    may_collect,
    owed,
    payment_under_way,
    retry_plan,
    settlement,
)
from shared.contracts.observations import Observation, merge, observe

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CANCELLED = SubscriptionState("canceled", "cancellation_requested")
DISPUTED = SubscriptionState("canceled", "payment_disputed")
DIED_UNPAID = SubscriptionState("canceled", "payment_failed")
UNPAID = SubscriptionState("unpaid")
ACTIVE = SubscriptionState("past_due")


def seen(**changes: Any) -> Observation:
    values: dict[str, Any] = {
        "at": NOW,
        "status": "open",
        "currency": "usd",
        "amount_due": 14900,
        "amount_remaining": 14900,
        "attempt_count": 1,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "auto_advance": True,
        "failed": True,
    }
    return Observation(**(values | changes))


def story(*observations: Observation) -> Invoice:
    """The invoice after these observations, which must be the same in every order."""
    ends = set()
    for order in itertools.permutations(observations):
        invoice = Invoice()
        for one in order:
            invoice = merge(invoice, one)
        ends.add(invoice)
    (end,) = ends
    return end


_moments = st.integers(0, 4).map(lambda minutes: NOW + dt.timedelta(minutes=minutes))
_observations = st.builds(
    seen,
    at=_moments,
    status=st.sampled_from([status.value for status in InvoiceStatus]),
    amount_due=st.sampled_from([5000, 14900]),
    amount_remaining=st.sampled_from([0, 5000, 14900]),
    amount_paid=st.sampled_from([0, 9900]),
    amount_credited=st.sampled_from([0, 9900]),
    attempt_count=st.integers(0, 3),
    collection_method=st.sampled_from(["charge_automatically", "send_invoice"]),
    finalized_at=st.none() | _moments,
    next_payment_attempt=st.none() | _moments,
    schedule_changed=st.booleans(),
    auto_advance=st.none() | st.booleans(),
    failed=st.booleans(),
    own_retry=st.booleans(),
    action_required=st.booleans(),
    processing=st.booleans(),
)


@given(st.lists(_observations, max_size=6), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(observations: list[Observation], random: Any) -> None:
    """Any order of the same observations, with some repeated, ends in the same invoice."""
    shuffled = [*observations, *observations[:2]]
    random.shuffle(shuffled)
    one, other = Invoice(), Invoice()
    for each in observations:
        one = merge(one, each)
    for each in shuffled:
        other = merge(other, each)
    assert one == other


def began(minutes: int, amount: int = 14900) -> Observation:
    """What a payment that begins tells of its invoice."""
    data = events.InvoiceUpdated(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        status="open",
        currency="usd",
        amount_due=amount,
        amount_remaining=amount,
        attempted=True,
        processing=True,
    )
    return observe(data, NOW + dt.timedelta(minutes=minutes))


def test_a_payment_that_began_is_under_way_until_it_comes_back() -> None:
    """Whoever began it, and in whatever order the events come; of one second the failure is the earlier one."""
    assert payment_under_way(story(began(0)))
    assert payment_under_way(story(seen(), began(0)))
    assert payment_under_way(story(seen(), began(5)))
    assert not payment_under_way(story(began(0), seen(at=NOW + dt.timedelta(minutes=1))))
    assert payment_under_way(story(began(0), seen(at=NOW + DAY), began(2000)))
    assert not payment_under_way(story(seen()))


def test_a_payment_that_began_tells_nothing_else() -> None:
    """It is told by the payment, which knows neither what the invoice comes to nor when it is tried."""
    known = story(seen(next_payment_attempt=NOW + DAY, collection_method="send_invoice"))
    after = merge(known, began(5))
    assert after.with_changes(under_way_since=None, under_way_amount=None) == known


def test_a_payment_of_a_part_leaves_the_rest_to_be_asked_for() -> None:
    """As long as more is due than is on its way: until the rest was paid or forgiven, and in whatever order the events come. What is on its
    way by a word of before amounts were told is all of it."""
    part = began(5, 5000)
    assert not payment_under_way(story(seen(), part))
    rest_paid = seen(
        at=NOW + dt.timedelta(minutes=7), amount_remaining=5000, amount_paid=9900, failed=False
    )
    assert payment_under_way(story(seen(), part, rest_paid))
    assert payment_under_way(story(seen(), part, began(6)))
    assert not payment_under_way(story(seen(), began(4), part))
    assert payment_under_way(story(seen(), part, began(5)))
    assert payment_under_way(story(seen()).with_changes(under_way_since=NOW))


def test_a_release_before_reads_a_payment_that_began_as_no_news() -> None:
    """It knows no `processing`: an update that names no attempt changes neither amounts nor dates of a failed invoice."""
    known = story(seen(next_payment_attempt=NOW + DAY))
    assert merge(known, replace(began(5), processing=False)) == known


def test_what_is_paid_was_not_voided() -> None:
    """Stripe lets nobody void a paid invoice: where both are heard of, it was paid."""
    assert story(seen(), seen(status="paid"), seen(status="void")).status == "paid"


def test_a_credit_note_that_is_taken_back_raises_the_amount_again() -> None:
    """The newest amounts are true, not the smallest ones."""
    credited = seen(at=NOW + DAY, amount_remaining=4900, amount_credited=10000, failed=False)
    taken_back = seen(at=NOW + 2 * DAY, failed=False)
    assert story(seen(), credited).amount_remaining == 4900
    assert story(seen(), credited, taken_back).amount_remaining == 14900
    assert story(seen(), credited, taken_back).amount_credited == 0


def test_a_date_can_be_moved_and_withdrawn() -> None:
    """Stripe's newest word about the next attempt wins; a missing date in a failure says nothing."""
    promised = seen(next_payment_attempt=NOW + 5 * DAY)
    again = seen(at=NOW + dt.timedelta(hours=2))
    earlier = seen(
        at=NOW + dt.timedelta(hours=1),
        next_payment_attempt=NOW + 3 * DAY,
        schedule_changed=True,
        failed=False,
    )
    withdrawn = seen(at=NOW + dt.timedelta(hours=3), schedule_changed=True, failed=False)
    assert story(promised, again).next_payment_attempt == NOW + 5 * DAY
    assert story(promised, earlier, again).next_payment_attempt == NOW + 3 * DAY
    assert story(promised, earlier, again, withdrawn).next_payment_attempt is None


def test_in_one_second_a_withdrawn_date_is_withdrawn() -> None:
    """A change of the date counts as later than the date that stood there."""
    promised = seen(next_payment_attempt=NOW + 5 * DAY)
    assert story(promised, seen(schedule_changed=True, failed=False)).next_payment_attempt is None


@pytest.mark.parametrize(
    ("subscription", "auto_advance", "stop"),
    [
        (ACTIVE, True, None),
        (ACTIVE, None, None),
        (ACTIVE, False, Stop.TURNED_OFF),
        (None, False, Stop.TURNED_OFF),
        (CANCELLED, True, Stop.SUBSCRIPTION_ENDED),
        (CANCELLED, False, Stop.SUBSCRIPTION_ENDED),
        (DISPUTED, True, Stop.SUBSCRIPTION_ENDED),
        (DIED_UNPAID, False, None),
        (UNPAID, False, None),
    ],
)
def test_who_left_is_not_charged(
    subscription: SubscriptionState | None, auto_advance: bool | None, stop: Stop | None
) -> None:
    """Nothing is collected that Stripe or the business stopped; an end by failed payments is no such stop."""
    later = seen(at=NOW + DAY, auto_advance=auto_advance, failed=False)
    invoice = story(seen(), later)
    assert collection_stopped(invoice, subscription) is stop
    assert owed(invoice, subscription) is (stop is None)
    collected = may_collect(invoice, subscription, MethodChange.CHOSEN, attempted=True)
    assert collected is (stop is None)


@pytest.mark.parametrize("reason", ["cancellation_requested", "payment_disputed"])
@pytest.mark.parametrize(
    ("after_the_end", "auto_advance", "stop"),
    [
        (dt.timedelta(hours=1), True, None),
        (dt.timedelta(hours=1), None, Stop.SUBSCRIPTION_ENDED),
        (dt.timedelta(hours=1), False, Stop.SUBSCRIPTION_ENDED),
        (dt.timedelta(seconds=30), True, Stop.SUBSCRIPTION_ENDED),
        (-DAY, True, Stop.SUBSCRIPTION_ENDED),
    ],
)
def test_what_is_collected_after_the_end_of_a_subscription_goes_on(
    after_the_end: dt.timedelta, auto_advance: bool | None, stop: Stop | None, reason: str
) -> None:
    """The last invoice, for what was used, or one whose collection somebody turned on again: Stripe's newest word, from well
    after the end, decides. A word of the moments in which Stripe turns it off, and of before, does not."""
    ended = SubscriptionState("canceled", reason, NOW)
    invoice = story(seen(at=NOW + after_the_end, auto_advance=auto_advance))
    assert collection_stopped(invoice, ended) is stop
    assert collection_stopped(invoice, SubscriptionState("canceled", reason)) is not None
    assert owed(invoice, ended) is (stop is None)
    for change in MethodChange:
        assert may_collect(invoice, ended, change, attempted=True) is (stop is None)


def test_an_invoice_by_api_never_had_it_on() -> None:
    """Its failed charge is told and recovered; so is one whose events say nothing of it."""
    for never in (False, None):
        invoice = story(seen(auto_advance=never))
        assert owed(invoice)
        assert may_collect(invoice, None, MethodChange.RENEWED, attempted=True)


@pytest.mark.parametrize("subscription", [DIED_UNPAID, UNPAID])
def test_what_stripe_gave_up_is_paid_only_by_a_card_that_somebody_chose(
    subscription: SubscriptionState,
) -> None:
    """A card that its bank renewed behind the customer's back pays nothing that ended."""
    invoice = story(seen())
    assert may_collect(invoice, subscription, MethodChange.CHOSEN, attempted=True)
    assert not may_collect(invoice, subscription, MethodChange.RENEWED, attempted=True)
    assert may_collect(invoice, ACTIVE, MethodChange.RENEWED, attempted=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "uncollectible"},
        {"status": "paid"},
        {"amount_remaining": 0},
        {"collection_method": "send_invoice"},
    ],
)
def test_only_open_autopay_invoices_are_collected(changes: dict[str, Any]) -> None:
    """What is closed, empty or paid by hand is neither owed nor charged."""
    invoice = story(seen(**changes))
    assert not owed(invoice)
    assert not may_collect(invoice, None, MethodChange.CHOSEN, attempted=True)


def test_checkout_is_minutes_not_days() -> None:
    """A first bank debit fails on day four, when nobody is at checkout any more."""

    def first(after: dt.timedelta | None) -> Invoice:
        made = None if after is None else NOW - after
        return story(seen(billing_reason="subscription_create", finalized_at=made))

    assert at_checkout(first(dt.timedelta(minutes=2)), NOW)
    assert not owed(first(dt.timedelta(minutes=2)))
    assert not at_checkout(first(4 * DAY), NOW)
    assert owed(first(4 * DAY))
    assert at_checkout(first(None), NOW)
    assert not at_checkout(story(seen(finalized_at=NOW)), NOW)


def test_who_comes_back_to_the_checkout_is_at_checkout() -> None:
    """While the subscription waits for its first payment, hours count as minutes do: Stripe tries nothing by itself then. Nobody is asked,
    and a card that came with another subscription does not pay for the one that was left."""
    hours = story(
        seen(billing_reason="subscription_create", finalized_at=NOW - dt.timedelta(hours=5))
    )
    waits = SubscriptionState("incomplete")
    assert at_checkout(hours, NOW, waits)
    assert not owed(hours, waits)
    assert not may_collect(hours, waits, MethodChange.CHOSEN, attempted=True)
    assert ending(hours, waits, now=NOW + 30 * DAY, waited=30 * DAY) is None
    assert owed(hours, ACTIVE)  # a debit that has come back: it had begun
    late = story(seen(billing_reason="subscription_create", finalized_at=NOW - DAY))
    assert not at_checkout(late, NOW, waits)


def test_a_payment_that_was_found_unpaid_may_have_failed_at_checkout() -> None:
    """Nobody knows when it failed, so all the time counts in which Stripe waits for it."""

    def may_be(after: dt.timedelta | None, reason: str = "subscription_create") -> bool:
        made = None if after is None else NOW - after
        return may_be_at_checkout(story(seen(billing_reason=reason, finalized_at=made)), NOW)

    assert may_be(dt.timedelta(hours=22))
    assert may_be(None)
    assert not may_be(DAY)
    assert not may_be(dt.timedelta(hours=1), "subscription_cycle")


def test_a_date_is_promised_only_when_a_charge_will_really_happen() -> None:
    """Not in the past, not after a decline that needs a new card, not when collection stopped or was given up."""
    dated = story(seen(next_payment_attempt=NOW + DAY))

    def plan(
        invoice: Invoice = dated,
        subscription: SubscriptionState | None = ACTIVE,
        needs_new_method: bool = False,
        now: dt.datetime = NOW,
    ) -> RetryPlan:
        return retry_plan(invoice, subscription, needs_new_method=needs_new_method, now=now)

    assert plan() == RetryPlan(Retry.SCHEDULED, NOW + DAY)
    assert plan(now=NOW + 2 * DAY) == RetryPlan(Retry.UNKNOWN)
    assert plan(story(seen())) == RetryPlan(Retry.UNKNOWN)
    assert plan(needs_new_method=True) == RetryPlan(Retry.WAITS_FOR_METHOD)
    for ended in (CANCELLED, DIED_UNPAID, UNPAID):
        assert plan(subscription=ended) == RetryPlan(Retry.OVER)
    off = seen(at=NOW + dt.timedelta(hours=1), auto_advance=False, failed=False)
    assert plan(story(seen(next_payment_attempt=NOW + DAY), off)) == RetryPlan(Retry.OVER)
    assert plan(story(seen(status="paid", amount_remaining=0))) == RetryPlan(Retry.OVER)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount_paid": 14900}, Settlement(14900, 0)),
        ({"amount_due": 0, "amount_credited": 14900}, Settlement(0, 14900)),
        (
            {"amount_due": 4900, "amount_paid": 4900, "amount_credited": 10000},
            Settlement(4900, 10000),
        ),
        ({}, Settlement(14900, 0)),
        ({"amount_due": 4900, "amount_credited": 10000}, Settlement(4900, 10000)),
        ({"amount_paid": 5000}, Settlement(14900, 0)),
    ],
)
def test_what_was_paid_and_what_was_forgiven_are_two_things(
    changes: dict[str, Any], expected: Settlement
) -> None:
    """A credit note for all of it makes Stripe say `paid` without any money. What was paid outside Stripe, all or the rest, it may leave out
    of what was paid."""
    invoice = story(
        seen(), seen(at=NOW + DAY, status="paid", amount_remaining=0, failed=False, **changes)
    )
    assert settlement(invoice) == expected
    assert settlement(invoice).is_waived is (expected.paid == 0)


@pytest.mark.parametrize(
    ("cls", "failed", "action_required"),
    [
        (events.InvoicePaymentFailed, True, False),
        (events.InvoicePaymentActionRequired, True, True),
        (events.InvoicePaid, False, False),
        (events.InvoiceUpdated, False, False),
    ],
)
def test_an_event_says_what_it_is_about(
    cls: type[events.InvoiceData], failed: bool, action_required: bool
) -> None:
    """Failures and requests to confirm are told by the event's kind; its fields are taken as they are."""
    data = cls(
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        status="open",
        currency="usd",
        amount_due=14900,
        amount_remaining=14900,
        amount_credited=100,
        schedule_changed=True,
        auto_advance=False,
        finalized_at=NOW - DAY,
    )
    observation = observe(data, NOW)
    assert (observation.failed, observation.action_required) == (failed, action_required)
    assert observation.at == NOW
    assert observation.amount_credited == 100
    assert (observation.schedule_changed, observation.auto_advance) == (True, False)
    assert observation.finalized_at == NOW - DAY


def test_a_card_pays_nothing_at_checkout() -> None:
    """Whoever is declined at checkout begins anew with another card, which must not pay for the first try as well. A first
    bank debit that comes back days later is owed as any other."""
    first = {"billing_reason": "subscription_create", "finalized_at": NOW - dt.timedelta(minutes=5)}
    assert not may_collect(story(seen(**first)), ACTIVE, MethodChange.CHOSEN, attempted=True)
    debit = story(seen(**first | {"finalized_at": NOW - 4 * DAY}))
    assert may_collect(debit, ACTIVE, MethodChange.CHOSEN, attempted=True)


def test_a_schedule_that_names_no_date_any_more_is_over() -> None:
    """A repeated try without a date, some time after it failed; a first one after a week, and none before Stripe had its time."""
    for attempt, minutes, plan in (
        (2, 15, Retry.OVER),
        (2, 14, Retry.UNKNOWN),
        (1, 99, Retry.UNKNOWN),
        # A first one that was never repeated: a week says enough.
        (1, 7 * 24 * 60, Retry.OVER),
    ):
        found = retry_plan(
            story(seen(attempt_count=attempt)),
            ACTIVE,
            needs_new_method=False,
            now=NOW,
            silent_for=dt.timedelta(minutes=minutes),
        )
        assert found == RetryPlan(plan)


SOON = dt.timedelta(minutes=15)
OFF = {"auto_advance": False, "failed": False}


@pytest.mark.parametrize(
    ("last", "subscription", "waited", "how"),
    [
        ({}, DIED_UNPAID, 0 * DAY, Ending.SUBSCRIPTION_FAILED),
        ({}, UNPAID, 0 * DAY, Ending.SUBSCRIPTION_UNPAID),
        ({}, CANCELLED, 0 * DAY, Ending.SUBSCRIPTION_ENDED),
        (OFF, ACTIVE, 0 * DAY, Ending.TURNED_OFF),
        (OFF, DISPUTED, 0 * DAY, Ending.SUBSCRIPTION_ENDED),
        # The setting that leaves a subscription past due ends nothing, and says nothing.
        ({}, ACTIVE, SILENT_FOR, Ending.NO_MORE_TRIES),
        ({}, ACTIVE, SILENT_FOR - SOON, None),
        ({}, None, SILENT_FOR, Ending.NO_MORE_TRIES),
        # A date is a try that will still come.
        ({"next_payment_attempt": NOW + DAY}, UNPAID, SILENT_FOR, None),
        ({"next_payment_attempt": NOW - DAY}, UNPAID, 0 * DAY, Ending.SUBSCRIPTION_UNPAID),
        # A bad debt is somebody's decision, unless all was given up with it.
        ({"status": "uncollectible"}, ACTIVE, SILENT_FOR, None),
        ({"status": "uncollectible"}, CANCELLED, SILENT_FOR, None),
        ({"status": "uncollectible"}, DIED_UNPAID, 0 * DAY, Ending.SUBSCRIPTION_FAILED),
        ({"status": "paid", "amount_remaining": 0}, DIED_UNPAID, SILENT_FOR, None),
        ({"status": "void"}, UNPAID, SILENT_FOR, None),
        ({"collection_method": "send_invoice"}, UNPAID, SILENT_FOR, None),
        ({"billing_reason": "subscription_create"}, CANCELLED, SILENT_FOR, None),
    ],
)
def test_how_collecting_ended(
    last: dict[str, Any],
    subscription: SubscriptionState | None,
    waited: dt.timedelta,
    how: Ending | None,
) -> None:
    """By what Stripe has ended, switched off, or not said for long; never by a missing date alone."""
    first = {k: last[k] for k in ("billing_reason",) if k in last}
    invoice = story(seen(**first), seen(at=NOW + SOON, **last))
    assert ending(invoice, subscription, now=NOW + SOON, waited=waited) is how


def test_what_never_failed_has_no_end_to_tell() -> None:
    """A subscription that somebody ended before its invoice was ever charged."""
    invoice = story(seen(failed=False, auto_advance=False))
    assert ending(invoice, CANCELLED, now=NOW, waited=SILENT_FOR) is None


@pytest.mark.parametrize("subscription", [None, ACTIVE, UNPAID, DIED_UNPAID, CANCELLED])
@pytest.mark.parametrize("change", list(MethodChange))
def test_a_bad_debt_is_left_alone_everywhere(
    subscription: SubscriptionState | None, change: MethodChange
) -> None:
    """Not asked for, not charged to a new card, no further try, however its subscription stands: one answer of all rules."""
    invoice = story(seen(), seen(at=NOW + DAY, status="uncollectible", failed=False))
    assert not owed(invoice, subscription)
    assert not may_collect(invoice, subscription, change, attempted=True)
    plan = retry_plan(invoice, subscription, needs_new_method=False, now=NOW)
    assert plan == RetryPlan(Retry.OVER)


def test_a_bad_debt_that_is_paid_is_money() -> None:
    """A person had it collected: it counts as paid, and not as lost."""
    invoice = story(
        seen(),
        seen(at=NOW + DAY, status="uncollectible", failed=False),
        seen(at=NOW + 2 * DAY, status="paid", amount_remaining=0, amount_paid=14900, failed=False),
    )
    assert settlement(invoice) == Settlement(14900, 0)
