"""What comes next of an invoice that failed: the one vocabulary of email and page.

Both ask the functions below, in the same order of what counts more, and only put the step into words. What was heard and
read of the invoice may differ by a moment; what follows from it may not. Pure, as `shared.contracts.invoices` is.
"""

from __future__ import annotations

from enum import StrEnum

from shared.contracts.invoices import Retry, RetryPlan
from shared.contracts.payments import Decline


class NextStep(StrEnum):
    """What happens to what is due, and what its customer can do about it; what counts more first."""

    PROCESSING = "processing"
    """A payment is under way: nothing is asked of the customer."""
    CONFIRM = "confirm"
    """The customer's bank wants a confirmation."""
    ENDED = "ended"
    """Stripe ended the subscription because this was not paid. A new payment method is charged."""
    ADD_METHOD = "add_method"
    """There was nothing to charge."""
    VERIFY = "verify"
    """The bank account waits for the customer to verify it."""
    OVER = "over"
    """Stripe tries no more by itself. A new payment method is charged."""
    ENTER_AGAIN = "enter_again"
    """Some of the payment method's details are wrong: the same one put right helps, and so does another."""
    NEW_METHOD = "new_method"
    """This payment method can't be charged any more, though the dates of tries go on."""
    WAITS_FOR_DATE = "waits_for_date"
    """Stripe will try again by itself, at a date that is known."""
    MAY_TRY_AGAIN = "may_try_again"
    """Nobody knows yet whether, or when."""


def is_under_way(*, payment: bool, new_method: bool, observed: bool) -> bool:
    """Whether money is on its way, so that nothing is asked of the customer.

    `payment`: Stripe has begun one. `new_method`: a new payment method came that nothing has answered yet; it is charged by us, and so
    not where the business observes (`observed`).
    """
    return payment or (new_method and not observed)


def wants_confirmation(asked: bool, decline: Decline | None) -> bool:
    """Whether what helps is that the customer confirms the payment with their bank.

    `asked`: Stripe's event said so (`payment_action_required`). Why the charge failed counts more, where that is known.
    """
    return decline is Decline.AUTHENTICATION_REQUIRED or (asked and decline is None)


def next_step(
    plan: RetryPlan,
    decline: Decline | None,
    *,
    ended_unpaid: bool,
    confirm: bool = False,
    under_way: bool = False,
) -> NextStep:
    """The step for one owed invoice.

    `plan` is `retry_plan`'s, with no date where none may be promised yet; `decline` is why the last charge failed, None
    where nobody says; `ended_unpaid`: Stripe ended the subscription over it; `confirm` is `wants_confirmation`'s.
    """
    rules = (
        (under_way, NextStep.PROCESSING),
        (confirm, NextStep.CONFIRM),
        (ended_unpaid, NextStep.ENDED),
        (decline is Decline.NO_PAYMENT_METHOD, NextStep.ADD_METHOD),
        (decline is Decline.ACCOUNT_UNVERIFIED, NextStep.VERIFY),
        (plan.retry is Retry.OVER, NextStep.OVER),
        (decline is Decline.INCORRECT_DETAILS, NextStep.ENTER_AGAIN),
        (plan.retry is Retry.WAITS_FOR_METHOD, NextStep.NEW_METHOD),
        (plan.at is not None, NextStep.WAITS_FOR_DATE),
    )
    return next((step for holds, step in rules if holds), NextStep.MAY_TRY_AGAIN)
