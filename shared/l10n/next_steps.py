"""What comes next of a failed payment, in the sentences that pages and emails have in common.

The steps are `shared.contracts.next_steps`'.
"""

from __future__ import annotations

import datetime as dt

from shared.contracts.next_steps import NextStep
from shared.contracts.payments import MethodKind
from shared.l10n.catalogues import Gettext
from shared.l10n.dates import Days


def next_step_sentences(
    step: NextStep, kind: MethodKind, next_attempt: dt.datetime | None, days: Days, _: Gettext
) -> str:
    """What happens without the customer, and what the customer can do about it.

    `kind` is that of what was charged; `next_attempt`: when Stripe tries again, with `NextStep.WAITS_FOR_DATE`.
    """
    if step is NextStep.ENDED:
        return _(
            "Your subscription has ended because we didn’t receive this payment, and the amount is still due. "
            "As soon as you have added a new payment method, the amount is charged to it."
        )
    if step is NextStep.ADD_METHOD:
        return _("As soon as you have added a payment method, the amount is charged to it.")
    if step is NextStep.VERIFY:
        return _(
            "Your bank account hasn’t been verified yet. Please verify it with the small deposit that was sent to it, "
            "as the email about that deposit explains, or add a different payment method."
        )
    if step is NextStep.OVER:
        return _(
            "We won’t try again automatically. As soon as you have added a new payment method, "
            "the amount is charged to it."
        )
    if step in (NextStep.ENTER_AGAIN, NextStep.NEW_METHOD):
        return method_step(step, kind, _)
    if step is NextStep.WAITS_FOR_DATE and next_attempt is not None:
        return _(
            "We’ll try again on %(day)s. To pay sooner, or in another way, "
            "please update your payment method."
        ) % {"day": days.full(next_attempt), "on_day": days.on_full(next_attempt)}
    return _(
        "We may try again. To be sure that everything goes on as usual, "
        "please update your payment method."
    )


def method_step(step: NextStep, kind: MethodKind, _: Gettext) -> str:
    """What to do about a payment method: `NextStep.ENTER_AGAIN` or `NextStep.NEW_METHOD`."""
    if step is NextStep.ENTER_AGAIN:
        return _("Please enter the details again or add a different payment method.")
    if kind is MethodKind.CARD:
        return _("This card can’t be charged any more, so please add a new one.")
    if kind is MethodKind.BANK:
        return _("This bank account can’t be debited any more, so please add a new payment method.")
    return _("This payment method can’t be charged any more, so please add a new one.")


def fact_of(
    step: NextStep, kind: MethodKind, next_attempt: dt.datetime | None, days: Days, _: Gettext
) -> str:
    """What the step comes to, in one sentence that promises nothing of ours; arguments as of `next_step_sentences`."""
    if step in (NextStep.ENTER_AGAIN, NextStep.NEW_METHOD):
        return method_step(step, kind, _)
    if step is NextStep.WAITS_FOR_DATE and next_attempt is not None:
        return _("We’ll try again on %(day)s.") % {
            "day": days.full(next_attempt),
            "on_day": days.on_full(next_attempt),
        }
    return {
        NextStep.ENDED: _("Your subscription has ended because we didn’t receive this payment."),
        NextStep.ADD_METHOD: _("There was no payment method on file that we could charge."),
        NextStep.VERIFY: _("Your bank account hasn’t been verified yet."),
        NextStep.OVER: _("We won’t try again automatically."),
    }.get(step, _("We may try again."))


def observed_sentences(
    step: NextStep,
    kind: MethodKind,
    next_attempt: dt.datetime | None,
    days: Days,
    _: Gettext,
    *,
    new_method: bool,
) -> str:
    """The same as `next_step_sentences` for a customer of a business that observes: a new payment method is not charged by us, so that
    nothing is promised of it. Stripe's own next try may be named. `new_method`: one came since the failure."""
    if new_method:
        said = _("Your new payment method is saved.")
    else:
        said = fact_of(step, kind, next_attempt, days, _)
        if step not in (NextStep.ENTER_AGAIN, NextStep.NEW_METHOD):
            said = " ".join([said, may_update(_)])
    return " ".join([said, pays_nothing(_)])


def may_update(_: Gettext) -> str:
    """That a new payment method can be given, without a word of what for."""
    return _("You can update your payment method here.")


def pays_nothing(_: Gettext) -> str:
    """That a new payment method pays nothing by itself: of a business that observes."""
    return _("That alone doesn’t pay what’s due yet.")


def days_to_arrive(kind: MethodKind | None, _: Gettext) -> str | None:
    """How long a payment is on its way; None where it takes no days."""
    if kind is not MethodKind.BANK:
        return None
    return _("Payments from a bank account take a few days to arrive.")
