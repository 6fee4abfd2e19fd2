"""The shape of a subscription in Stripe's events and answers, as far as we read it, and what it tells of its price."""

from __future__ import annotations

from typing import Any

import msgspec

from services.billing.stripe_events.payloads import (
    LARGEST,
    Amount,
    Count,
    Currency,
    Id,
    LongWord,
    Metadata,
    Ref,
    Word,
)
from shared.contracts.prices import Pricing, Terms


class Recurring(msgspec.Struct, frozen=True):
    interval: Word = ""
    interval_count: Count = 1
    usage_type: Word | None = None


class TaxRate(msgspec.Struct, frozen=True):
    inclusive: bool = False


class AutomaticTax(msgspec.Struct, frozen=True):
    enabled: bool = False


class Price(msgspec.Struct, frozen=True):
    currency: Currency = ""
    unit_amount: Amount | None = None
    """None with tiers, and where a fraction of the minor unit stands in `unit_amount_decimal` alone."""
    billing_scheme: LongWord | None = None
    transform_quantity: Any = None
    tax_behavior: LongWord | None = None
    recurring: Recurring | None = None


class Plan(msgspec.Struct, frozen=True):
    """What stood where a price stands, before 2020: its interval is not nested."""

    currency: Currency = ""
    amount: Amount | None = None
    billing_scheme: LongWord | None = None
    transform_usage: Any = None
    interval: Word = ""
    interval_count: Count = 1
    usage_type: Word | None = None

    def as_price(self) -> Price:
        return Price(
            currency=self.currency,
            unit_amount=self.amount,
            billing_scheme=self.billing_scheme,
            transform_quantity=self.transform_usage,
            recurring=Recurring(self.interval, self.interval_count, self.usage_type),
        )


class SubscriptionItem(msgspec.Struct, frozen=True):
    id: str | None = None
    price: Price | None = None
    plan: Plan | None = None
    quantity: int | None = None
    current_period_end: int | None = None
    discounts: tuple[Any, ...] | None = None
    tax_rates: tuple[TaxRate, ...] | None = None

    @property
    def sold(self) -> Price | None:
        """What it sells, in either shape."""
        return self.price or (self.plan.as_price() if self.plan else None)

    @property
    def metered(self) -> bool:
        """Whether its quantity is known only when the period is over."""
        recurring = self.sold.recurring if self.sold else None
        return recurring is not None and recurring.usage_type == "metered"

    @property
    def fixed(self) -> int | None:
        """What it comes to each interval, before discounts; None where that isn't a plain product."""
        price = self.sold
        if price is None or price.unit_amount is None or price.recurring is None:
            return None
        if price.billing_scheme not in (None, "per_unit") or price.transform_quantity:
            return None
        return price.unit_amount * (1 if self.quantity is None else self.quantity)


class SubscriptionItems(msgspec.Struct, frozen=True):
    data: tuple[SubscriptionItem, ...] = ()
    has_more: bool = False


class CancellationDetails(msgspec.Struct, frozen=True):
    reason: LongWord | None = None


class PauseCollection(msgspec.Struct, frozen=True):
    resumes_at: int | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """`subscription`. The period moved from here to the items with 2025-03-31.basil, and `discount` became `discounts`;
    both are read."""

    id: Id
    customer: Ref
    status: Word = "active"
    currency: Currency | None = None
    """What it is charged in: not always the currency that its price stands in."""
    on_behalf_of: Ref | None = None
    metadata: Metadata | None = None
    default_payment_method: Ref | None = None
    default_source: Ref | None = None
    description: str | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    ended_at: int | None = None
    trial_end: int | None = None
    collection_method: LongWord = "charge_automatically"
    pause_collection: PauseCollection | None = None
    cancellation_details: CancellationDetails | None = None
    current_period_end: int | None = None
    discount: Any = None
    discounts: tuple[Any, ...] | None = None
    automatic_tax: AutomaticTax | None = None
    default_tax_rates: tuple[TaxRate, ...] | None = None
    tax_percent: Any = None
    schedule: Any = None
    items: SubscriptionItems = SubscriptionItems()

    @property
    def period_end(self) -> int | None:
        """The end of the current period; of several items' the earliest."""
        ends = [one.current_period_end for one in self.items.data if one.current_period_end]
        return self.current_period_end or min(ends, default=None)

    @property
    def collection_paused(self) -> bool | None:
        """Whether no payment is collected for now; None where none ever is by itself, since its invoices are sent."""
        if self.pause_collection is not None:
            return True
        return False if self.collection_method == "charge_automatically" else None

    @property
    def name(self) -> str | None:
        """What the business calls it, on one line; None where it gave it no name. A price's nickname is hidden from customers."""
        text = " ".join((self.description or "").split())
        return text[:200] if text.isprintable() and text else None

    @property
    def discounted(self) -> bool | None:
        """Whether a discount stands on it or on an item. A customer's own does not show here, nor what a schedule has for the next
        period, another price or a discount: then None."""
        if self.discount or self.discounts or any(one.discounts for one in self.items.data):
            return True
        return None if self.schedule else False

    @property
    def taxed_on_top(self) -> bool:
        """Whether tax may come on top of its prices."""
        if self.tax_percent:
            return True
        if self.automatic_tax and self.automatic_tax.enabled:
            return any(
                one.sold is None or one.sold.tax_behavior != "inclusive" for one in self.items.data
            )
        rates = [one.tax_rates or self.default_tax_rates or () for one in self.items.data]
        return any(not rate.inclusive for those in rates for rate in those)

    @property
    def terms(self) -> Terms:
        """What it tells of its price."""
        other = Terms(pricing=Pricing.OTHER, discounted=self.discounted)
        items = self.items.data
        if not items or self.items.has_more or self.taxed_on_top:
            return other
        total, rhythms = 0, set()
        for item in items:
            price, amount = item.sold, item.fixed
            if item.metered:
                continue
            if price is None or price.recurring is None or amount is None:
                return other
            # A price shows what it is in its own currency; what it is in another one that it is sold in, only on demand
            # (https://docs.stripe.com/products-prices/pricing-models#use-multi-currency-prices).
            if self.currency is not None and price.currency != self.currency:
                return other
            rhythms.add((price.currency, price.recurring.interval, price.recurring.interval_count))
            total += amount
        used = any(item.metered for item in items)
        if used and total == 0:
            return Terms(pricing=Pricing.USAGE, discounted=self.discounted)
        if len(rhythms) != 1 or abs(total) > LARGEST:
            return other
        currency, interval, count = rhythms.pop()
        return Terms(
            pricing=Pricing.FIXED_AND_USAGE if used else Pricing.FIXED,
            amount=total,
            currency=currency,
            interval=interval,
            interval_count=count,
            discounted=self.discounted,
        )
