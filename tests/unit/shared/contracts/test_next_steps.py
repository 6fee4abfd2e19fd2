"""What comes next of a failed invoice, for email and page alike."""

import datetime as dt

import pytest

from shared.contracts.invoices import Retry, RetryPlan
from shared.contracts.next_steps import NextStep, is_under_way, next_step, wants_confirmation
from shared.contracts.payments import Decline

DATED = RetryPlan(Retry.SCHEDULED, dt.datetime(2026, 12, 2, 15, tzinfo=dt.UTC))
OVER, WAITS, UNKNOWN = (
    RetryPlan(one) for one in (Retry.OVER, Retry.WAITS_FOR_METHOD, Retry.UNKNOWN)
)


@pytest.mark.parametrize(
    ("plan", "decline", "ended", "step"),
    [
        (UNKNOWN, None, False, NextStep.MAY_TRY_AGAIN),
        (RetryPlan(Retry.SCHEDULED), None, False, NextStep.MAY_TRY_AGAIN),
        (DATED, Decline.DECLINED, False, NextStep.WAITS_FOR_DATE),
        (WAITS, Decline.EXPIRED_CARD, False, NextStep.NEW_METHOD),
        (WAITS, Decline.INCORRECT_DETAILS, False, NextStep.ENTER_AGAIN),
        (DATED, Decline.NO_PAYMENT_METHOD, False, NextStep.ADD_METHOD),
        (DATED, Decline.ACCOUNT_UNVERIFIED, False, NextStep.VERIFY),
        (OVER, Decline.INCORRECT_DETAILS, False, NextStep.OVER),
        (OVER, Decline.NO_PAYMENT_METHOD, False, NextStep.ADD_METHOD),
        (OVER, Decline.NO_PAYMENT_METHOD, True, NextStep.ENDED),
    ],
)
def test_what_counts_more_is_said(
    plan: RetryPlan, decline: Decline | None, ended: bool, step: NextStep
) -> None:
    """An end before what is missing, what is missing before the tries, a date only where there is one."""
    assert next_step(plan, decline, ended_unpaid=ended) is step


def test_what_is_under_way_asks_for_nothing_and_a_confirmation_comes_before_all_else() -> None:
    """Whatever else is known: money on its way is not asked for, and a confirmation pays at once."""
    assert next_step(OVER, None, ended_unpaid=True, confirm=True) is NextStep.CONFIRM
    under_way = next_step(OVER, None, ended_unpaid=True, confirm=True, under_way=True)
    assert under_way is NextStep.PROCESSING


def test_the_reason_of_the_failure_says_whether_to_confirm() -> None:
    """Stripe's event asks for it; another reason, where one is known, takes it back; the bank's own code asks as well."""
    assert wants_confirmation(True, None)
    assert not wants_confirmation(False, None)
    assert not wants_confirmation(True, Decline.INSUFFICIENT_FUNDS)
    assert wants_confirmation(False, Decline.AUTHENTICATION_REQUIRED)
    assert not wants_confirmation(True, Decline.ACCOUNT_UNVERIFIED)


@pytest.mark.parametrize("observed", [False, True])
def test_a_new_payment_method_is_money_on_its_way_where_we_charge_it(observed: bool) -> None:
    """That is our own doing, so not for a business that observes; what Stripe has begun is on its way in any case."""
    assert is_under_way(payment=False, new_method=True, observed=observed) is not observed
    assert is_under_way(payment=True, new_method=False, observed=observed)
    assert not is_under_way(payment=False, new_method=False, observed=observed)
