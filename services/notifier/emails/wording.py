"""Plain words for what failed, and why. Never a code, and never a guess: what is not known is not said."""

from __future__ import annotations

import datetime as dt

from services.notifier.emails.formats import plain_name
from shared.contracts.invoices import Retry, RetryPlan
from shared.contracts.next_steps import NextStep, next_step
from shared.contracts.payments import Decline, MethodKind, PaymentMethod
from shared.l10n import brands
from shared.l10n.catalogues import Gettext, Ngettext
from shared.l10n.dates import Days
from shared.l10n.next_steps import days_to_arrive, next_step_sentences


def method_fact(method: PaymentMethod | None, _: Gettext) -> tuple[str, str] | None:
    """What was charged, as the box of facts says it: a label, and what stands beside it. None when it has no name."""
    kind = method.kind if method else MethodKind.OTHER
    if method is None or kind is MethodKind.OTHER:
        return None
    if kind is MethodKind.WALLET:
        wallet = brands.wallet(method.type)
        return (_("Payment method"), wallet) if wallet else None
    if method.last4 is None:
        return None
    if kind is MethodKind.BANK:
        return _("Bank account"), brands.masked(plain_name(method.bank or ""), method.last4)
    return _("Card"), brands.masked(brands.card_brand(method.brand) or "", method.last4)


def method_name(method: PaymentMethod | None, _: Gettext) -> str:
    """The same on one line, after a colon: `Visa •••• 4242`, `Bank account Chase •••• 6789`, `PayPal`."""
    label, name = method_fact(method, _) or ("", "")
    kind = method.kind if method else MethodKind.OTHER
    known = kind is MethodKind.WALLET or (kind is MethodKind.CARD and method and method.brand)
    return name if known else f"{label} {name}"


def method_phrase(method: PaymentMethod | None, _: Gettext) -> str:
    """What was charged, within a sentence: `your Visa ending in 4242`.

    Languages with cases have it in the one that all sentences of `why_declined` want.
    """
    kind = method.kind if method else MethodKind.OTHER
    words = _("your payment method")
    values: dict[str, str | None] = {}
    if method is not None:
        values = {
            "bank": plain_name(method.bank or ""),
            "brand": brands.card_brand(method.brand),
            "last4": method.last4,
            "wallet": brands.wallet(method.type),
        }
    if kind is MethodKind.CARD:
        words = _("your card")
        if values["last4"]:
            words = _("your card ending in %(last4)s")
            if values["brand"]:
                words = _("your %(brand)s ending in %(last4)s")
    elif kind is MethodKind.BANK:
        words = _("your bank account")
        if values["last4"]:
            words = _("your bank account ending in %(last4)s")
            if values["bank"]:
                words = _("your bank account at %(bank)s ending in %(last4)s")
    elif values.get("wallet"):
        words = _("your %(wallet)s account")
    return words % values


def why_declined(decline: Decline | None, method: PaymentMethod | None, _: Gettext) -> str | None:
    """One sentence on why the charge failed; None when Stripe does not say, or what comes next says it.

    Lost and stolen cards read like any other decline: Stripe asks to keep that reason from whoever is paying
    (docs.stripe.com/declines/codes, `lost_card`, `stolen_card`). Such a sentence names nobody: Stripe, too, blocks payments, and tells a
    plain decline (https://support.stripe.com/questions/payment-blocked-due-to-excessive-retries). Nor does it say that no reason is known:
    of limits, or of a card that may not be charged so, there is one.
    """
    if decline is None:
        return None
    fact = method_fact(method, _)
    sentences = {
        Decline.EXPIRED_CARD: _("Your payment method has expired, so the payment failed."),
        Decline.INSUFFICIENT_FUNDS: _("There wasn’t enough money available for this payment."),
        Decline.LOST_OR_STOLEN: _("The payment from %(method)s was declined."),
        Decline.INCORRECT_DETAILS: _("Some of the details we have for %(method)s aren’t right."),
        Decline.PROCESSING_ERROR: _(
            "There was a technical problem while the payment was being processed."
        ),
        Decline.NO_PAYMENT_METHOD: _("There was no payment method on file that we could charge."),
        Decline.ACCOUNT_CLOSED: _("The account is closed, or it can’t be charged."),
        Decline.NOT_AUTHORIZED: _("The permission to charge %(method)s was withdrawn."),
        Decline.DECLINED: _("The payment from %(method)s was declined."),
    }
    kind = method.kind if method else MethodKind.OTHER
    if kind in (MethodKind.CARD, MethodKind.BANK):
        sentences[Decline.INCORRECT_DETAILS] = _(
            "Your bank says that some of the details we have for %(method)s aren’t right."
        )
    if kind is MethodKind.CARD:
        sentences |= {
            Decline.EXPIRED_CARD: _("Your card (%(card)s) has expired, so the payment failed.")
            if fact
            else _("Your card has expired, so the payment failed."),
            Decline.INSUFFICIENT_FUNDS: _(
                "Your bank says there wasn’t enough money available on %(method)s."
            ),
        }
    elif kind is MethodKind.BANK:
        sentences |= {
            Decline.INSUFFICIENT_FUNDS: _(
                "Your bank says there wasn’t enough money in %(method)s."
            ),
            Decline.ACCOUNT_CLOSED: _(
                "Your bank says that %(method)s is closed or can’t be debited."
            ),
        }
    sentence = sentences.get(decline)
    if sentence is None:
        return None
    return sentence % {"method": method_phrase(method, _), "card": fact[1] if fact else ""}


def what_next(
    decline: Decline | None,
    method: PaymentMethod | None,
    next_attempt: dt.datetime | None,
    days: Days,
    _: Gettext,
    *,
    planned: Retry = Retry.UNKNOWN,
    ended: bool = False,
    next_method: PaymentMethod | None = None,
) -> str:
    """What happens without the customer, what the customer can do about it, and how long that takes where it takes days.

    `planned` says whether Stripe will try again by itself, `next_attempt` when; `ended`: it ended the subscription over this
    payment. `next_method` is what it will charge then: said only where it is another one than failed.
    """
    kind = method.kind if method else MethodKind.OTHER
    step = next_step(RetryPlan(planned, next_attempt), decline, ended_unpaid=ended)
    another = method_fact(next_method, _)
    if step is NextStep.NEW_METHOD and kind not in (MethodKind.CARD, MethodKind.BANK):
        text = _("It can’t be charged any more, so please add a new payment method.")
    elif (
        step is NextStep.WAITS_FOR_DATE
        and next_attempt is not None
        and another not in (None, method_fact(method, _))
    ):
        text = _(
            "We’ll try again on %(day)s. The payment will then be taken from: %(method)s. "
            "To pay sooner, or in another way, please update your payment method."
        ) % {
            "day": days.full(next_attempt),
            "on_day": days.on_full(next_attempt),
            "method": method_name(next_method, _),
        }
    else:
        text = next_step_sentences(step, kind, next_attempt, days, _)
    arrives = days_to_arrive(kind, _)
    return f"{text} {arrives}" if arrives else text


def how_often(tries: int, ngettext: Ngettext) -> str | None:
    """How often the charge was tried; None when that is not known."""
    if tries < 1:
        return None
    sentence = ngettext("We’ve tried once.", "We’ve tried %(num)d times.", tries)
    return sentence % {"num": tries} if "%(num)d" in sentence else sentence


def reason(decline: Decline | None, _: Gettext) -> str | None:
    """Why the last charge failed, in a few words for the business; None when Stripe does not say."""
    if decline is None:
        return None
    return {
        Decline.EXPIRED_CARD: _("The card has expired"),
        Decline.INSUFFICIENT_FUNDS: _("Not enough money"),
        Decline.AUTHENTICATION_REQUIRED: _("The customer hasn’t confirmed the payment"),
        Decline.INCORRECT_DETAILS: _("Incorrect details"),
        Decline.PROCESSING_ERROR: _("Technical problem"),
        Decline.NO_PAYMENT_METHOD: _("No payment method on file"),
        Decline.ACCOUNT_CLOSED: _("The account is closed or can’t be debited"),
        Decline.NOT_AUTHORIZED: _("The permission to charge was withdrawn"),
        Decline.ACCOUNT_UNVERIFIED: _("The customer hasn’t verified the bank account"),
    }.get(decline, _("Declined"))
