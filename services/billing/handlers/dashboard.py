"""Where the business finds things in its Stripe dashboard. Whoever opens an address has to sign in there."""

from __future__ import annotations

from urllib.parse import quote

from services.billing.ports import PaymentGateway


def invoice_page(gateway: PaymentGateway, invoice_id: str) -> str:
    """All of this invoice."""
    return f"{gateway.dashboard_url}/invoices/{quote(invoice_id, safe='')}"


def subscription_page(gateway: PaymentGateway, subscription_id: str) -> str:
    """All of this subscription: there it is cancelled, and there its payment method is changed."""
    return f"{gateway.dashboard_url}/subscriptions/{quote(subscription_id, safe='')}"
