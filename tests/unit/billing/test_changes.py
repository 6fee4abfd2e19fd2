"""Which events are one change of a card, what became of a try, and how often we may try: rules without a database."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.changes import (
    A_DAY,
    A_MONTH,
    KEY_LIFE,
    MOST_A_DAY,
    MOST_A_MONTH,
    ONCE_IN,
    SETTLED,
    SIBLINGS,
    TWINS,
    Change,
    Try,
    Wish,
    may_try,
)
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import Payment, PaymentTrace, PayOutcome, fate
from shared.contracts.accounts import OWN
from tests.unit.billing.conftest import NOW
from tests.unit.billing.test_recovery import CUSTOMER, INVOICE, RENEWED, SUBSCRIPTION

SOURCE = "customer.source.updated"
KINDS = (CUSTOMER, SUBSCRIPTION, RENEWED, SOURCE)
moments = st.integers(-7200, 7200).map(lambda seconds: NOW + dt.timedelta(seconds=seconds))
kinds = st.sampled_from(KINDS)
changes = st.builds(
    Change,
    id=st.just("evt_1"),
    stripe_customer_id=st.just("cus_1"),
    payment_method=st.just("pm_1"),
    told=st.frozensets(st.tuples(kinds, st.sampled_from(["", "sub_1"])), min_size=1),
    set_at=moments,
    tried_at=st.none() | moments,
)


def wish(kind: str = CUSTOMER, set_at: dt.datetime = NOW) -> Wish:
    return Wish(OWN, "evt_2", kind, "cus_1", "pm_1", "", set_at)


@pytest.mark.whole
@given(changes, kinds, moments)
def test_a_wish_is_either_answered_by_the_change_or_a_new_one(
    change: Change, kind: str, set_at: dt.datetime
) -> None:
    """New is only what was set after the card was tried, and not at the same time as what is known."""
    included = change.includes(wish(kind, set_at))
    if change.tried_at is None or set_at <= change.tried_at:
        assert included
    elif set_at - change.set_at > SIBLINGS:
        assert not included


@given(changes, kinds, moments, st.integers(0, 7200))
def test_the_earlier_of_two_wishes_is_never_the_newer_one(
    change: Change, kind: str, set_at: dt.datetime, seconds: int
) -> None:
    """If a change has answered a wish, it has answered every earlier one of that kind."""
    if change.includes(wish(kind, set_at)):
        assert change.includes(wish(kind, set_at - dt.timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    ("kind", "after", "same"),
    [
        (SUBSCRIPTION, SIBLINGS, True),
        (SUBSCRIPTION, SIBLINGS + dt.timedelta(seconds=1), False),
        (CUSTOMER, TWINS, True),
        (CUSTOMER, TWINS + dt.timedelta(seconds=1), False),
    ],
)
def test_another_kind_may_come_a_minute_later_the_same_kind_means_it_was_set_again(
    kind: str, after: dt.timedelta, same: bool
) -> None:
    """`customer.updated` twice, seconds apart: the default was changed away and back between."""
    tried = NOW + dt.timedelta(milliseconds=500)
    change = Change(OWN, "evt_1", "cus_1", "pm_1", frozenset({(CUSTOMER, "")}), NOW, tried)
    assert change.includes(wish(kind, NOW + after)) is same


@given(changes, st.dictionaries(st.sampled_from(["", "sub_1", "sub_2"]), moments))
def test_an_earlier_change_holds_an_invoice_back_for_an_hour_at_most(
    change: Change, runs: dict[str, dt.datetime]
) -> None:
    """Only a run of the same card over the same invoice, before this change was tried."""
    until = change.waits_until(runs, ("sub_1", None), NOW)
    others = {scope: at for scope, at in runs.items() if scope in ("", "sub_1")}
    if change.tried_at is not None:
        others = {scope: at for scope, at in others.items() if at < change.tried_at}
    if until is None:
        assert all(at + ONCE_IN <= NOW for at in others.values())
    else:
        assert until > NOW
        assert until - ONCE_IN in others.values()


@given(st.lists(st.tuples(st.sampled_from(["pm_1", "pm_2"]), moments), max_size=20))
def test_tries_stay_within_what_the_networks_take(past: list[tuple[str, dt.datetime]]) -> None:
    """Taking every try that is allowed, no day has more than five and no card more than seven a month."""
    taken: list[tuple[str, dt.datetime]] = []
    for card, at in sorted(past, key=lambda one: one[1]):
        if may_try(taken, card, at):
            taken.append((card, at))
    for _, at in taken:
        window = [(card, other) for card, other in taken if at - A_DAY < other <= at]
        assert len(window) <= MOST_A_DAY


def test_a_cards_month_is_counted_apart_from_the_day() -> None:
    """Seven tries over a week are enough for one card, and no reason to refuse another; a month later it may go on."""
    past = [("pm_1", NOW - dt.timedelta(days=2 + number)) for number in range(MOST_A_MONTH)]
    assert not may_try(past, "pm_1", NOW)
    assert may_try(past, "pm_2", NOW)
    assert may_try(past, "pm_1", NOW + A_MONTH)


# --- what became of a try ------------------------------------------------------------------------------------


def problem(**fields: object) -> PaymentProblem:
    known = PaymentProblem(
        "card_declined", "insufficient_funds", payment_method="pm_1", tried_at=NOW
    )
    return dataclasses.replace(known, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "trace", "expected"),
    [
        ("paid", PaymentTrace(paid_with="pm_1"), Payment(PayOutcome.PAID)),
        ("paid", PaymentTrace(paid_with="pm_2"), Payment(PayOutcome.ALREADY_PAID)),
        ("void", PaymentTrace(), Payment(PayOutcome.CLOSED, "void")),
        ("uncollectible", PaymentTrace(), Payment(PayOutcome.CLOSED, "uncollectible")),
        ("open", PaymentTrace(processing=True), Payment(PayOutcome.PROCESSING)),
        ("open", PaymentTrace(), None),
        (
            "open",
            PaymentTrace(problem=problem()),
            Payment(PayOutcome.DECLINED, "insufficient_funds"),
        ),
        ("open", PaymentTrace(problem=problem(payment_method="pm_2")), None),
        ("open", PaymentTrace(problem=problem(tried_at=NOW - dt.timedelta(seconds=1))), None),
        ("open", PaymentTrace(problem=problem(tried_at=None)), None),
        (
            "open",
            PaymentTrace(problem=problem(code=None, decline_code=None, needs_customer=True)),
            Payment(PayOutcome.AUTHENTICATION_REQUIRED, "authentication_required"),
        ),
    ],
)
def test_what_became_of_a_try_is_read_off_the_invoice(
    status: str, trace: PaymentTrace, expected: Payment | None
) -> None:
    """Paid, closed, under way (the invoice is still open), declined since: known. Open and nothing to see: not known."""
    invoice = INVOICE.with_changes(status=status)
    assert fate(invoice, trace, "pm_1", NOW) == expected


def test_a_key_is_sent_again_by_its_own_change_while_stripe_remembers_it() -> None:
    """Not by another change, not when Stripe keeps an error for it, not after a day."""
    asked = Try(OWN, "pay:…", "evt_1", "in_1", "pm_1", 1, since=NOW, started_at=NOW, sent_at=NOW)
    assert asked.may_be_repeated("evt_1", NOW)
    assert not asked.may_be_repeated("evt_2", NOW)
    assert not asked.may_be_repeated("evt_1", NOW + KEY_LIFE)
    assert not dataclasses.replace(asked, key_spent=True).may_be_repeated("evt_1", NOW)
    assert not asked.is_settled(NOW + SETTLED - dt.timedelta(seconds=1))
    assert asked.is_settled(NOW + SETTLED)
