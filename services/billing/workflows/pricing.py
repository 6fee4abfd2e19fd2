"""What subscriptions cost, by Stripe's preview of the next invoice: asked in the background, for what is shown, and within
the budget of looks (docs/adr/0012-looking-again-within-a-budget.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from services.billing.domain import PriceLook, StripeRefused, StripeUnavailable
from services.billing.domain.budget import Budget
from services.billing.ports import PaymentGateway
from services.billing.workflows.invoice_reports import SideBySide


def subscription_prices(
    gateway: PaymentGateway,
    budget: Budget,
    subscription_ids: Sequence[str],
    *,
    side_by_side: SideBySide,
) -> dict[str, dict[str, Any]]:
    """The price of each subscription, by its id. Left out: those beyond the budget, and those that Stripe did not answer.

    Unlike looks before an email each is asked for by itself: nobody waits for them all.
    """
    wanted = sorted({one for one in subscription_ids if one})
    granted = [one for one in wanted if budget.take(1, spare=True)]
    found = side_by_side(lambda id: _look(gateway, id), granted) if granted else {}
    return {id: seen for id, seen in found.items() if seen is not None}


def _look(gateway: PaymentGateway, subscription_id: str) -> dict[str, Any] | None:
    try:
        seen = gateway.price_look(subscription_id)
    except (StripeUnavailable, StripeRefused):
        return None
    return {"upcoming": False} if seen is None else _told(seen)


def _told(seen: PriceLook) -> dict[str, Any]:
    coming = seen.next_invoice
    terms = asdict(seen.terms)
    del terms["next_invoice"]
    return {
        "upcoming": True,
        **terms,
        "collection_paused": seen.collection_paused,
        "collection_resumes_at": _iso(seen.collection_resumes_at),
        "trial_ends_at": _iso(seen.trial_ends_at),
        "next_invoice": {**asdict(coming), "until": _iso(coming.until)},
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat())
