"""Plain words for what Stripe says about a decline. Never a code, and never a guess: what is not known is not said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.notifier.domain import Schedule
from services.notifier.ports import Card
from shared.contracts.payments import Decline

Gettext = Callable[[str], str]
Ngettext = Callable[[str, str, int], str]

_BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
    "cartes_bancaires": "Cartes Bancaires",
    "eftpos_au": "eftpos",
    "link": "Link",
}


def card_name(card: Card | None, _: Gettext) -> str | None:
    """`Visa ending in 4242`; None when the card is not known."""
    if card is None or not (card.last4.isascii() and card.last4.isdigit()):
        return None
    brand = _BRANDS.get(card.brand.lower())
    if brand is None:
        return _("the card ending in %(last4)s") % {"last4": card.last4}
    return _("%(brand)s ending in %(last4)s") % {"brand": brand, "last4": card.last4}


def why_declined(decline: Decline | None, card: str | None, _: Gettext) -> str | None:
    """One sentence on why the charge failed; None when Stripe does not say.

    Lost and stolen cards read like any other decline: Stripe asks to keep that reason from whoever is paying
    (docs.stripe.com/declines/codes, `lost_card`, `stolen_card`).
    """
    the_card = card or _("the card we have on file")
    sentences = {
        Decline.EXPIRED_CARD: _("The card we charged (%(card)s) has expired.")
        if card
        else _("The card we have on file has expired."),
        Decline.INSUFFICIENT_FUNDS: _(
            "Your bank says there was not enough money available on %(card)s."
        ),
        Decline.LOST_OR_STOLEN: _("Your bank declined %(card)s."),
        Decline.INCORRECT_DETAILS: _(
            "Your bank says that some of the details we have for %(card)s are not right."
        ),
        Decline.PROCESSING_ERROR: _(
            "There was a technical problem while the payment was being processed."
        ),
        Decline.DECLINED: _("Your bank declined %(card)s and did not tell us why."),
    }
    sentence = sentences.get(decline) if decline else None
    return sentence % {"card": the_card} if sentence else None


def what_next(
    decline: Decline | None,
    next_day: str | None,
    _: Gettext,
    *,
    planned: Schedule = Schedule.UNKNOWN,
    ended: bool = False,
) -> str:
    """What happens without the customer, and what the customer can do about it.

    `planned` says whether Stripe will try again by itself, `next_day` when; `ended`: it ended the subscription over this
    payment.
    """
    if ended:
        return _(
            "Your subscription has ended because this payment is missing, and the amount is still due. "
            "As soon as you have added a new card, the amount is charged to it."
        )
    if planned is Schedule.OVER:
        return _(
            "We will not try again by ourselves. As soon as you have added a new card, "
            "the amount is charged to it."
        )
    if decline is Decline.INCORRECT_DETAILS:
        return _("Please enter the card again or add a different one.")
    if planned is Schedule.NEEDS_METHOD:
        return _("This card can’t be charged any more, so please add a new one.")
    if next_day:
        return _(
            "We will try again on %(day)s. To have it settled sooner, or to use a different card, "
            "please update your payment method."
        ) % {"day": next_day}
    return _(
        "We may try again. To be sure that everything goes on as usual, "
        "please update your payment method."
    )


def how_often(tries: int, ngettext: Ngettext) -> str | None:
    """How often the charge was tried; None when that is not known."""
    if tries < 1:
        return None
    sentence = ngettext("We have tried once.", "We have tried %(num)d times.", tries)
    return sentence % {"num": tries} if "%(num)d" in sentence else sentence
