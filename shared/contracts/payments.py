"""The vocabulary of failed payments: with what was paid, why it did not work, and what will be charged next."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, replace
from typing import Final


class MethodKind(enum.StrEnum):
    """What a customer would call the thing that was charged."""

    CARD = "card"
    BANK = "bank"
    """A bank account that is debited; the outcome takes days."""
    WALLET = "wallet"
    OTHER = "other"


BANK_DEBITS: Final = frozenset(
    {
        "ach_debit",
        "acss_debit",
        "au_becs_debit",
        "bacs_debit",
        "bank_account",
        "nz_bank_account",
        "sepa_debit",
        "us_bank_account",
    }
)
"""Stripe's words for what is debited from a bank account: the outcome takes days."""
_WALLETS: Final = frozenset(
    {
        "alipay",
        "amazon_pay",
        "cashapp",
        "kakao_pay",
        "link",
        "mobilepay",
        "naver_pay",
        "paypal",
        "revolut_pay",
        "wechat_pay",
    }
)


def method_kind(type_: str | None) -> MethodKind:
    """The kind of a Stripe payment method's `type` (or of a source's `object`). What is unknown is `other`, never a
    guess."""
    if type_ == "card":
        return MethodKind.CARD
    if type_ in BANK_DEBITS:
        return MethodKind.BANK
    return MethodKind.WALLET if type_ in _WALLETS else MethodKind.OTHER


LONGEST_BANK: Final = 60
"""How much of a bank's name is told, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """What may be shown of a payment method. What isn't known is None."""

    type: str | None = None
    """Stripe's word for it: `card`, `us_bank_account`, `paypal`, …"""
    brand: str | None = None
    """Of a card, as Stripe writes it: `visa`."""
    bank: str | None = None
    """The name of the bank that keeps the account. SEPA, Bacs and BECS know codes of banks only, which say nothing to their
    customers."""
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None

    @property
    def kind(self) -> MethodKind:
        """What its owner would call it."""
        return method_kind(self.type)

    def expired(self, today: dt.date) -> bool:
        """Whether its last month is over; nothing but a card has one."""
        if self.kind is not MethodKind.CARD or self.exp_month is None or self.exp_year is None:
            return False
        return (self.exp_year, self.exp_month) < (today.year, today.month)


def told_method(method: PaymentMethod) -> PaymentMethod:
    """A payment method that came over the wire, fit to be shown and stored: what does not look like the end of a number, or like
    a month, is left out."""
    last4 = method.last4 or ""
    return replace(
        method,
        type=(method.type or "")[:50] or None,
        brand=(method.brand or "")[:30] or None,
        bank=" ".join((method.bank or "").split())[:LONGEST_BANK].rstrip() or None,
        last4=last4 if len(last4) == 4 and last4.isascii() and last4.isalnum() else None,
        exp_month=method.exp_month if method.exp_month in range(1, 13) else None,
        exp_year=method.exp_year if method.exp_year in range(1, 10_000) else None,
    )


def other_name(business: str, charged_as: str | None) -> str | None:
    """What a statement calls a business's charges, where that is another name than its customers know it by; None: nothing to say."""
    same = charged_as is None or charged_as.strip().casefold() == business.strip().casefold()
    return None if same else charged_as


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
    ACCOUNT_UNVERIFIED = "account_unverified"
    """The bank account waits for its owner to verify it by a small deposit; it isn't debited before."""
    DECLINED = "declined"


# --- which payment method Stripe charges -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SavedMethod:
    """A payment method that a customer has saved at Stripe."""

    id: str
    """`pm_…`; of the API before payment methods `card_…`, `ba_…`, `src_…`."""
    type: str | None = None
    """Stripe's word, `card`, `us_bank_account`; None where only the id is known."""


def is_source(method_id: str) -> bool:
    """Whether an id is that of a card, a bank account or a source of the API before payment methods, which Stripe takes as a
    `source`, not as a `payment_method`."""
    return method_id.startswith(("ba_", "card_", "src_"))


@dataclass(frozen=True, slots=True)
class ChargeDefaults:
    """What an invoice, a subscription or a customer says about what is to be charged."""

    payment_method: SavedMethod | None = None
    """Its `default_payment_method`; a customer's stands in `invoice_settings`."""
    source: SavedMethod | None = None
    """Its `default_source`."""
    types: frozenset[str] = frozenset()
    """The types that it takes, `payment_settings.payment_method_types`; empty: any."""

    def takes(self, method: SavedMethod) -> bool:
        """Whether it may be charged to this method at all; a type that isn't known counts as taken, Stripe will say."""
        return not self.types or method.type is None or method.type in self.types


SAYS_NOTHING: Final = ChargeDefaults()
"""Has no defaults, and takes any type."""


def charged_method(
    customer: ChargeDefaults,
    subscription: ChargeDefaults | None = None,
    invoice: ChargeDefaults | None = None,
) -> SavedMethod | None:
    """What Stripe charges for an invoice: the first default, of the invoice, of its subscription, of the customer, and at each
    a payment method before a source; one of a type that the invoice or the subscription does not take is passed over.

    None: nothing is there to be charged. Without invoice, or without both, what would be charged for a subscription's next
    one, or for an invoice of its own. (Stripe, "Automate payment retries" and "Set payment methods per-subscription"; an
    invoice's own `default_source`: its API reference.)
    """
    billed = [one for one in (invoice, subscription) if one is not None]
    defaults = (
        default for one in (*billed, customer) for default in (one.payment_method, one.source)
    )
    return next(
        (one for one in defaults if one is not None and all(each.takes(one) for each in billed)),
        None,
    )
