"""What comes next of what is owed, in words: whole sentences where one payment is asked for, short ones in a list.

The steps are `shared.contracts.next_steps`', the whole sentences those of the emails, in every language.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.portal.domain.notice import Line, State
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import MethodKind
from shared.l10n.catalogues import Gettext, Ngettext
from shared.l10n.dates import Days
from shared.l10n.next_steps import days_to_arrive, method_step, next_step_sentences


def kind_of(lines: Sequence[Line]) -> MethodKind | None:
    """What all of these were charged to; None where it is not known of each, or not the same."""
    kinds = {line.method.kind if line.method else None for line in lines}
    return kinds.pop() if len(kinds) == 1 else None


def advice(asking: Sequence[Line], days: Days, _: Gettext, ngettext: Ngettext) -> str:
    """What comes next of the payments that the customer has to do something about, and what helps."""
    if all(line.state is State.CONFIRM for line in asking):
        return ngettext(
            "Your bank wants you to confirm this payment before it goes through. The button opens your invoice on "
            "Stripe’s secure page; there you follow your bank’s steps.",
            "Your bank wants you to confirm each payment before it goes through. Its button opens the invoice on "
            "Stripe’s secure page; there you follow your bank’s steps.",
            len(asking),
        )
    said = [_alone(asking[0], days, _) if len(asking) == 1 else _together(asking, _)]
    if all(line.state is State.STILL_DECLINED for line in asking):
        said.insert(
            0,
            ngettext(
                "Your new payment method was saved, but the payment with it didn’t go through.",
                "Your new payment method was saved, but the payments with it didn’t go through.",
                len(asking),
            ),
        )
    elif all(line.step is NextStep.ADD_METHOD for line in asking):
        said.insert(0, _("There was no payment method on file that we could charge."))
    arrives = days_to_arrive(kind_of(asking), _)
    return " ".join([*said, arrives] if arrives else said)


def _alone(line: Line, days: Days, _: Gettext) -> str:
    return next_step_sentences(line.step, _kind(line), line.next_attempt, days, _)


def _kind(line: Line) -> MethodKind:
    return line.method.kind if line.method else MethodKind.OTHER


def _together(asking: Sequence[Line], _: Gettext) -> str:
    if all(line.step is NextStep.ADD_METHOD for line in asking):
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
    if line.step in (NextStep.ENTER_AGAIN, NextStep.NEW_METHOD):
        return method_step(line.step, _kind(line), _)
    if line.step is NextStep.WAITS_FOR_DATE and line.next_attempt is not None:
        return _("We’ll try again on %(day)s.") % {
            "day": days.full(line.next_attempt),
            "on_day": days.on_full(line.next_attempt),
        }
    return {
        NextStep.ENDED: _("Your subscription has ended because we didn’t receive this payment."),
        NextStep.ADD_METHOD: _("There was no payment method on file that we could charge."),
        NextStep.OVER: _("We won’t try again automatically."),
    }.get(line.step, _("We may try again."))
