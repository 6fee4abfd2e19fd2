"""Stripe's lists as `ObjectLists`: bodies of objects as Stripe sent them, which nothing but the translation reads."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from services.billing.adapters.stripe.gateway import PAGE, StripeGateway
from services.billing.domain.errors import ObjectGone
from services.billing.domain.list_sizes import ObjectPage
from services.billing.stripe_events.imports import Listed

FILTERS: Final[dict[Listed, dict[str, Any]]] = {
    Listed.CUSTOMERS: {},
    # Without a status Stripe lists all that are not canceled.
    Listed.SUBSCRIPTIONS: {},
    # Subscriptions that are over stand in no list of ours, and say whether an invoice is collected still.
    Listed.INVOICES: {
        "status": "open",
        "expand": ["data.customer", "data.parent.subscription_details.subscription"],
    },
}


class StripeLists:
    """`ObjectLists` on one account of Stripe's API."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    def page(
        self, what: str, after: str | None, *, before: dt.datetime | None = None
    ) -> ObjectPage:
        params: dict[str, Any] = {**FILTERS[Listed(what)], "limit": PAGE}
        if after is not None:
            params["starting_after"] = after
        if before is not None:
            params["created"] = {"lt": int(before.timestamp())}
        with self._gateway.errors(missing=ObjectGone):
            return self._gateway.page_of(what, params)
