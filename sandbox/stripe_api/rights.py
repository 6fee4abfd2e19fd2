"""What a restricted key may do: the right that a request needs, and Stripe's refusal.

https://docs.stripe.com/keys/restricted-api-keys
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandbox.stripe_api.errors import StripeError

RESOURCES: Final[dict[str, str]] = {
    "account": "accounts_kyc_basic",
    "accounts": "accounts_kyc_basic",
    "billing": "billing_meter",
    "billing_portal": "customer_portal",
    "charges": "charge",
    "checkout": "checkout_session",
    "core": "event",
    "coupons": "coupon",
    "credit_notes": "credit_note",
    "customers": "customer",
    "disputes": "dispute",
    "events": "event",
    "invoice_payments": "invoice",
    "invoiceitems": "invoice",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "payment_methods": "payment_method",
    "prices": "plan",
    "products": "product",
    "promotion_codes": "promotion_code",
    "refunds": "charge",
    "setup_intents": "setup_intent",
    "subscription_items": "subscription",
    "subscriptions": "subscription",
    "test_helpers": "billing_clock",
    "webhook_endpoints": "webhook",
}
"""By the first word of a path, what a right for it is called: `rak_<name>_read`, `rak_<name>_write`.

Seen in Stripe's own errors: those of accounts, customers, the customer portal, charges, plans (for prices as well), products,
subscriptions and webhooks. The others are called by the same rule (not verified)."""


def needed(method: str, path: str) -> str:
    """The right that a request needs."""
    word = path.strip("/").split("/")[1]
    return f"rak_{RESOURCES.get(word, word)}_{'read' if method == 'GET' else 'write'}"


@dataclass(frozen=True)
class Rights:
    """What a restricted key may do on an account. `key` is masked."""

    key: str
    account: str
    granted: frozenset[str]

    def must_allow(self, method: str, path: str) -> None:
        """Raises Stripe's 403 if the key may not do it. Who may write may read."""
        right = needed(method, path)
        if right in self.granted or right.removesuffix("_read") + "_write" in self.granted:
            return
        raise StripeError(
            f"The provided key '{self.key}' does not have the required permissions for this endpoint on account "
            f"'{self.account}'. Having the '{right}' permission would allow this request to continue.",
            status=403,
            code="more_permissions_required",
            keep=False,
        )
