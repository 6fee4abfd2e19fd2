"""What subscriptions cost, by Stripe's preview of the next invoice: asked in the background, for what is shown, and within
the budget of looks (docs/adr/0012-looking-again-within-a-budget.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.billing.domain.budget import Budget
from services.billing.domain.paying import PriceLook
from services.billing.ports import PaymentGateway
from services.billing.workflows.invoice_reports import SideBySide
from shared.contracts.rpc.billing import NextInvoice, NoNextInvoice, SubscriptionPrice
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable

Price = SubscriptionPrice | NoNextInvoice


def subscription_prices(
    gateway: PaymentGateway,
    budget: Budget,
    subscription_ids: Sequence[str],
    *,
    side_by_side: SideBySide,
) -> dict[str, Price]:
    """The price of each subscription, by its id. Left out: those beyond the budget, and those that Stripe did not answer.

    Unlike looks before an email each is asked for by itself: nobody waits for them all.
    """
    wanted = sorted({one for one in subscription_ids if one})
    granted = [one for one in wanted if budget.take(1, spare=True)]
    if not granted:
        return {}
    found: Mapping[str, Price | None] = side_by_side(lambda id: _look(gateway, id), granted)
    return {id: seen for id, seen in found.items() if seen is not None}


def _look(gateway: PaymentGateway, subscription_id: str) -> Price | None:
    try:
        seen = gateway.price_look(subscription_id)
    except (StripeUnavailable, StripeRefused):
        return None
    if seen is None or seen.collection_paused is None:
        return NoNextInvoice()  # of an invoice that is sent nobody knows when it will be paid
    return _told(seen)


def _told(seen: PriceLook) -> SubscriptionPrice:
    return SubscriptionPrice.of(
        seen.terms,
        upcoming=True,
        collection_paused=bool(seen.collection_paused),
        collection_resumes_at=seen.collection_resumes_at,
        trial_ends_at=seen.trial_ends_at,
        next_invoice=NextInvoice.of(seen.next_invoice),
    )
