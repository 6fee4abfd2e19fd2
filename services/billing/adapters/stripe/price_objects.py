"""Stripe's previews of invoices, read into prices."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.billing.adapters.stripe.attributes import moment_of
from services.billing.domain.paying import PriceLook
from services.billing.stripe_events import payloads
from services.billing.stripe_events.payloads import attribute
from services.billing.stripe_events.subscription_payload import Subscription as SubscriptionPayload
from shared.contracts.prices import Lasts, NextInvoice, Terms
from shared.contracts.rpc.errors import StripeUnavailable

PREVIEW_EXPANDS: Final = [
    "parent.subscription_details.subscription",
    "total_discount_amounts.discount.source.coupon",
]
"""What Stripe is to put into a preview: how the subscription stands, and how long each discount lasts."""


def to_price_look(invoice: Any) -> PriceLook:
    """A preview with `PREVIEW_EXPANDS` in it. The subscription is read as the one of an event is, so that both say the same.

    Raises StripeUnavailable when there is no subscription in it that can be read.
    """
    found = attribute(invoice, "parent", "subscription_details", "subscription")
    if found is None or isinstance(found, str):
        raise StripeUnavailable("a preview without its subscription")
    # The library turns decimal strings into Decimals; `str` gives back what Stripe sent.
    body = json.dumps(found.to_dict(), default=str).encode()
    try:
        subscription = payloads.decode_object(msgspec.Raw(body), SubscriptionPayload)
        pause = subscription.pause_collection
        return PriceLook(
            terms=dataclasses.replace(subscription.terms, currency=attribute(invoice, "currency")),
            collection_paused=subscription.collection_paused,
            collection_resumes_at=payloads.moment(pause.resumes_at) if pause else None,
            trial_ends_at=payloads.moment(subscription.trial_end),
            next_invoice=_next_invoice(invoice, subscription),
        )
    except payloads.Unreadable as error:
        raise StripeUnavailable(f"a preview whose subscription can't be read: {error}") from None


def _next_invoice(invoice: Any, subscription: SubscriptionPayload) -> NextInvoice:
    discounts = [
        attribute(one, "discount")
        for one in attribute(invoice, "total_discount_amounts") or ()
        if attribute(one, "amount")
    ]
    lasts, until = _lasts(discounts)
    return NextInvoice(
        amount=attribute(invoice, "amount_due") or 0,
        recurring=_recurring(invoice, subscription, discounts),
        discount=lasts,
        until=until,
    )


def _lasts(discounts: Sequence[Any]) -> tuple[Lasts | None, dt.datetime | None]:
    """How long the discounts of an invoice last, where they end together."""
    if not discounts:
        return None, None
    ends = {
        (attribute(one, "source", "coupon", "duration"), attribute(one, "end")) for one in discounts
    }
    duration, end = ends.pop()
    if ends or duration not in set(Lasts):
        return Lasts.MIXED, None
    return Lasts(duration), moment_of(end) if duration == Lasts.REPEATING else None


def _recurring(
    invoice: Any, subscription: SubscriptionPayload, discounts: Sequence[Any]
) -> int | None:
    """What the fixed items come to on the invoice, discounts taken off: None unless just that is what comes each time.

    An amount off is shared out among all lines, so beside other lines the fixed ones don't show what is theirs.
    """
    lines = attribute(invoice, "lines")
    terms: Terms = subscription.terms
    fixed_items = {one.id for one in subscription.items.data if not one.metered}
    fixed: list[Any] = []
    others: list[Any] = []
    for line in attribute(lines, "data") or ():
        details = attribute(line, "parent", "subscription_item_details")
        regular = not attribute(details, "proration") and attribute(details, "subscription_item")
        (fixed if regular in fixed_items else others).append(line)
    by_amount = any(attribute(one, "source", "coupon", "percent_off") is None for one in discounts)
    partial = bool(attribute(lines, "has_more")) or (bool(others) and by_amount)
    amount = sum(int(line.amount) for line in fixed)
    if partial or terms.amount is None or amount != terms.amount:
        return None
    taken_off = sum(
        attribute(one, "amount") or 0
        for line in fixed
        for one in attribute(line, "discount_amounts") or ()
    )
    return terms.amount - taken_off
