"""Ending a subscription that the business has agreed to end, with its current period."""

from __future__ import annotations

from services.billing.domain.accounts import Way
from services.billing.domain.errors import PlatformMayNot, StripeKeyRefused
from services.billing.domain.paying import OWN_CANCELLING_PREFIX, Subscription
from services.billing.domain.platform_limits import Maker, made_by, may_change
from services.billing.handlers.dashboard import subscription_page
from services.billing.handlers.observing import refuse_observed
from services.billing.ports import Businesses, PaymentGateway
from shared.contracts.accounts import StripeCustomer
from shared.contracts.rpc.billing import PlannedEnd
from shared.contracts.rpc.errors import StripeRefused, UnknownSubscription


def cancel_at_period_end(
    gateway: PaymentGateway,
    businesses: Businesses,
    *,
    stripe_customer_id: str,
    subscription_id: str,
    idempotency_key: str,
    on_behalf_of: str = "",
) -> tuple[PlannedEnd, Subscription]:
    """Plan the end, once; what came of it, and the subscription as it stands.

    A subscription that ends anyway, or has ended, is left as it is (`changed` is False), however old the request
    is; Stripe remembers idempotency keys for a day only. One that Stripe doesn't let a platform end is left as it is too, and
    `dashboard_url` says where the business does it. Raises UnknownSubscription, also when it is another
    customer's, or charged on another's behalf than `on_behalf_of`, if it is given; BusinessObserves and PortalUnavailable, after which
    nothing was changed; StripeUnavailable, after which trying again with the same key is safe; StripeRefused.
    """
    # In an address of Stripe's, an empty id asks for a list.
    found = gateway.subscription(subscription_id) if subscription_id else None
    if (
        found is None
        or found.stripe_customer_id != stripe_customer_id
        or (on_behalf_of or found.on_behalf_of) != found.on_behalf_of
    ):
        raise UnknownSubscription(f"{subscription_id} of {stripe_customer_id}")
    changed, by_hand = not found.over and found.ends_at is None, None
    if changed:
        refuse_observed(
            businesses, StripeCustomer(gateway.account, stripe_customer_id, found.on_behalf_of)
        )
        try:
            found = _plan_end(gateway, found, idempotency_key)
        except PlatformMayNot:
            changed, by_hand = False, subscription_page(gateway, subscription_id)
    end = PlannedEnd(
        subscription_id=found.id,
        status=found.status,
        ends_at=found.ends_at,
        changed=changed,
        dashboard_url=by_hand,
    )
    return end, found


def _plan_end(gateway: PaymentGateway, found: Subscription, idempotency_key: str) -> Subscription:
    """Have it end with its period. Raises PlatformMayNot where Stripe doesn't let us, whatever status it says that with."""
    if not may_change(found, gateway.way, gateway.application):
        raise PlatformMayNot(f"{found.id} was made by {found.application}")
    try:
        return gateway.cancel_at_period_end(found.id, f"{OWN_CANCELLING_PREFIX}{idempotency_key}")
    except (PlatformMayNot, StripeKeyRefused):
        raise
    except StripeRefused as error:
        ours = made_by(found, gateway.application) is Maker.OURS
        if gateway.way is not Way.CONNECTED or ours:
            raise
        raise PlatformMayNot(str(error)) from error
