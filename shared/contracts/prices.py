"""What may be said of a subscription's price, and when: one rule for the page and for every mail.

A price is said only where it is so. What the subscription itself tells is enough for a plain price; what tiers, packages,
taxes and discounts make of it, Stripe alone works out, in its preview of the invoice that comes next. Amounts are in the
currency's minor unit. Pure: no clock, no database, no framework.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Pricing(StrEnum):
    """How an invoice's amount comes about, by the subscription's items alone: discounts are a matter of their own."""

    FIXED = "fixed"
    """The same amount each interval."""
    FIXED_AND_USAGE = "fixed_and_usage"
    """The same amount each interval, and what was used."""
    USAGE = "usage"
    """What was used."""
    OTHER = "other"
    """Tiers, packages, fractions of a minor unit, tax on top, intervals that differ, a price that stands in another currency: Stripe
    works it out."""


class Lasts(StrEnum):
    """How long a discount lasts, in Stripe's words."""

    ONCE = "once"
    REPEATING = "repeating"
    """Until a moment."""
    FOREVER = "forever"
    MIXED = "mixed"
    """Several discounts that don't end together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextInvoice:
    """Stripe's preview of a subscription's next invoice."""

    amount: int
    """What it will ask for, as things stand."""
    recurring: int | None = None
    """Of it, what the fixed part comes to with its discounts; None where that can't be told from the rest."""
    discount: Lasts | None = None
    until: dt.datetime | None = None
    """When a `repeating` discount ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is known of a subscription's price."""

    pricing: Pricing | None = None
    """None: not known, which is not the same as fixed."""
    amount: int | None = None
    """Of one interval: the fixed part, before discounts."""
    currency: str | None = None
    interval: str | None = None
    """`day`, `week`, `month` or `year`."""
    interval_count: int = 1
    discounted: bool | None = None
    """A discount stands, on the subscription, on an item, or on the customer as far as that is known; None: not known."""
    next_invoice: NextInvoice | None = None
    """None where Stripe was not asked lately."""


UNKNOWN_TERMS: Final = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price that may be said."""

    amount: int | None
    """Of one interval, discounts taken off; None: there is usage alone."""
    currency: str = ""
    interval: str = ""
    interval_count: int = 1
    usage: bool = False
    """What was used comes on top, or is all."""
    discount: Lasts | None = None
    """Of the discount in `amount`: `forever`, or `repeating` with `until` and `afterwards`."""
    until: dt.datetime | None = None
    afterwards: int | None = None


def pricing_of(word: str | None) -> Pricing | None:
    """The word of an event or an answer; one of a later release is as good as none."""
    return Pricing(word) if word in set(Pricing) else None


def price(terms: Terms) -> Price | None:
    """The price that may be said; None where no single sentence is true."""
    if terms.pricing is Pricing.USAGE:
        return Price(amount=None, usage=True)
    if terms.pricing not in (Pricing.FIXED, Pricing.FIXED_AND_USAGE):
        return None
    if terms.amount is None or not terms.currency or not terms.interval:
        return None
    regular = Price(
        amount=terms.amount,
        currency=terms.currency,
        interval=terms.interval,
        interval_count=terms.interval_count,
        usage=terms.pricing is Pricing.FIXED_AND_USAGE,
    )
    seen = terms.next_invoice
    if seen is None:
        return regular if terms.discounted is False else None
    if seen.discount is Lasts.ONCE:
        return regular  # the next payment is told with its own amount
    if seen.recurring is None:
        return None
    if seen.discount is None:
        return regular if seen.recurring == terms.amount else None
    if seen.discount is Lasts.MIXED or (seen.discount is Lasts.REPEATING and seen.until is None):
        return None
    return Price(
        amount=seen.recurring,
        currency=terms.currency,
        interval=terms.interval,
        interval_count=terms.interval_count,
        usage=regular.usage,
        discount=seen.discount,
        until=seen.until if seen.discount is Lasts.REPEATING else None,
        afterwards=terms.amount if seen.discount is Lasts.REPEATING else None,
    )


def next_amount(terms: Terms) -> int | None:
    """What the next payment will be; None where that is not known, as with usage before the period is over."""
    seen = terms.next_invoice
    if seen is None or terms.pricing in (Pricing.USAGE, Pricing.FIXED_AND_USAGE):
        return None
    return seen.amount


def asks_stripe(terms: Terms) -> bool:
    """Whether Stripe's preview would tell more than the subscription does. Usage alone has no amount ahead."""
    return terms.pricing is not Pricing.USAGE
