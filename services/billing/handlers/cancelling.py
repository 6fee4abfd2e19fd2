"""Ending a subscription that the business has agreed to end, with the period that the customer has paid for."""

from __future__ import annotations

from services.billing.domain.paying import OWN_CANCELLING_PREFIX
from services.billing.ports import PaymentGateway
from shared.contracts.rpc.billing import PlannedEnd
from shared.contracts.rpc.errors import UnknownSubscription


def cancel_at_period_end(
    gateway: PaymentGateway,
    *,
    stripe_customer_id: str,
    subscription_id: str,
    idempotency_key: str,
    on_behalf_of: str = "",
) -> PlannedEnd:
    """Plan the end, once.

    A subscription that ends anyway, or has ended, is left as it is (`changed` is False), however old the request
    is; Stripe remembers idempotency keys for a day only. Raises UnknownSubscription, also when it is another
    customer's, or charged on another's behalf; StripeUnavailable, after which trying again with the same key is safe; StripeRefused.
    """
    # In an address of Stripe's, an empty id asks for a list.
    found = gateway.subscription(subscription_id) if subscription_id else None
    wanted = (stripe_customer_id, on_behalf_of)
    if found is None or (found.stripe_customer_id, found.on_behalf_of) != wanted:
        raise UnknownSubscription(f"{subscription_id} of {stripe_customer_id}")
    changed = not found.over and found.ends_at is None
    if changed:
        found = gateway.cancel_at_period_end(
            subscription_id, f"{OWN_CANCELLING_PREFIX}{idempotency_key}"
        )
    return PlannedEnd(
        subscription_id=found.id, status=found.status, ends_at=found.ends_at, changed=changed
    )
