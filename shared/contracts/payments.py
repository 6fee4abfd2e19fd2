"""The vocabulary of failed payments: with what was paid, and why it did not work."""

from __future__ import annotations

import enum
from typing import Final


class MethodKind(enum.StrEnum):
    """What a customer would call the thing that was charged."""

    CARD = "card"
    BANK = "bank"
    """A bank account that is debited; the outcome takes days."""
    WALLET = "wallet"
    OTHER = "other"


_BANK_DEBITS: Final = frozenset(
    {
        "acss_debit",
        "au_becs_debit",
        "bacs_debit",
        "bank_account",
        "nz_bank_account",
        "sepa_debit",
        "us_bank_account",
    }
)
_WALLETS: Final = frozenset(
    {"amazon_pay", "cashapp", "link", "mobilepay", "paypal", "revolut_pay", "wechat_pay"}
)


def method_kind(type_: str | None) -> MethodKind:
    """The kind of a Stripe payment method's `type` (or of a source's `object`). What is unknown is `other`, never a
    guess."""
    if type_ == "card":
        return MethodKind.CARD
    if type_ in _BANK_DEBITS:
        return MethodKind.BANK
    return MethodKind.WALLET if type_ in _WALLETS else MethodKind.OTHER


class Decline(enum.StrEnum):
    """Why a charge failed, as far as a person can do something about it; everything else is `declined`."""

    EXPIRED_CARD = "expired_card"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LOST_OR_STOLEN = "lost_or_stolen"
    AUTHENTICATION_REQUIRED = "authentication_required"
    INCORRECT_DETAILS = "incorrect_details"
    PROCESSING_ERROR = "processing_error"
    NO_PAYMENT_METHOD = "no_payment_method"
    """There was nothing to charge."""
    ACCOUNT_CLOSED = "account_closed"
    """The bank account is closed, frozen, or takes no debits."""
    NOT_AUTHORIZED = "not_authorized"
    """The permission to debit or charge was withdrawn."""
    DECLINED = "declined"
