"""What comes next of what is owed, in words: whole sentences where one payment is asked for, short ones in a list.

The steps are `shared.contracts.next_steps`', the whole sentences those of the emails, in every language.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.portal.domain.notice import Line, State
from shared.contracts.payments import MethodKind
from shared.l10n.catalogues import Gettext, Ngettext
from shared.l10n.dates import Days
from shared.l10n.next_steps import (
    days_to_arrive,
    fact_of,
    may_update,
    next_step_sentences,
    observed_sentences,
    pays_nothing,
)


def kind_of(lines: Sequence[Line]) -> MethodKind | None:
    """What all of these were charged to; None where it is not known of each, or not the same."""
    kinds = {line.method.kind if line.method else None for line in lines}
    return kinds.pop() if len(kinds) == 1 else None


def advice(
    asking: Sequence[Line], days: Days, _: Gettext, ngettext: Ngettext, *, observed: bool = False
) -> str:
    """What comes next of the payments that the customer has to do something about, and what helps; `observed`: their business observes."""
    if all(line.state is State.CONFIRM for line in asking):
        return ngettext(
            "Your bank wants you to confirm this payment before it goes through. The button opens your invoice on "
            "Stripe’s secure page; follow your bank’s steps there.",
            "Your bank wants you to confirm each payment before it goes through. Its button opens the invoice on "
            "Stripe’s secure page; follow your bank’s steps there.",
            len(asking),
        )
    if observed or all(line.new_method for line in asking if line.wants_method):
        return _observed(asking, days, _)
    said = [_alone(asking[0], days, _) if len(asking) == 1 else _together(asking, _)]
    if all(line.missing for line in asking):
        said.insert(0, _("There was no payment method on file that we could charge."))
    elif all(line.state is State.STILL_DECLINED for line in asking):
        said.insert(
            0,
            ngettext(
                "Your new payment method was saved, but the payment with it didn’t go through.",
                "Your new payment method was saved, but the payments with it didn’t go through.",
                len(asking),
            ),
        )
    arrives = days_to_arrive(kind_of(asking), _)
    return " ".join([*said, arrives] if arrives else said)


def _alone(line: Line, days: Days, _: Gettext) -> str:
    return next_step_sentences(line.step, _kind(line), line.next_attempt, days, _)


def _observed(asking: Sequence[Line], days: Days, _: Gettext) -> str:
    line, *more = [one for one in asking if one.wants_method]
    new_method = all(one.new_method for one in (line, *more))
    if not more or new_method:
        return observed_sentences(
            line.step, _kind(line), line.next_attempt, days, _, new_method=new_method
        )
    return " ".join([may_update(_), pays_nothing(_)])


def _kind(line: Line) -> MethodKind:
    return line.method.kind if line.method else MethodKind.OTHER


def _together(asking: Sequence[Line], _: Gettext) -> str:
    if all(line.missing for line in asking):
        return _("As soon as you have added a payment method, what is due is charged to it.")
    return _("As soon as you have updated your payment method, what is due is charged to it.")


def short(line: Line, days: Days, _: Gettext) -> str:
    """The state of one of several payments."""
    if line.state is State.SETTLING:
        return _("On its way with your new payment method.")
    if line.state is State.PENDING:
        return _("Being processed.")
    if line.state is State.CONFIRM:
        return _("Your bank wants you to confirm this payment.")
    if line.new_method:
        return _("Your new payment method is saved.")
    return fact_of(line.step, _kind(line), line.next_attempt, days, _)
