"""What the contract tells of a subscription, read from Stripe's, of both shapes."""

from __future__ import annotations

from typing import Final

from services.billing import payloads
from services.billing.domain import OWN_CANCELLING_PREFIX
from services.billing.payloads import StripeEvent, moment, ref_id
from shared import events

PLANNED_ENDS: Final = frozenset({"cancel_at", "cancel_at_period_end"})
RELEVANT_SUBSCRIPTION_CHANGES: Final = PLANNED_ENDS | {
    "status",
    "items",
    "quantity",
    "plan",
    "current_period_end",
    "description",
}


def subscription_data(
    event: StripeEvent,
    subscription: payloads.Subscription,
    cls: type[events.SubscriptionData],
    *,
    end_changed: bool = False,
) -> events.SubscriptionData:
    """What the contract tells of a subscription. Pure; raises Unreadable for a time that is none.

    `end_changed`: the event is about a change of its planned end.
    """
    price = subscription.recurring_price
    period_end = moment(subscription.period_end)
    ends_at = moment(subscription.ended_at or subscription.cancel_at)
    if ends_at is None and subscription.cancel_at_period_end:
        ends_at = period_end
    details = subscription.cancellation_details
    return cls(
        subscription_id=subscription.id,
        stripe_customer_id=ref_id(subscription.customer) or "",
        status=subscription.status,
        cancel_at_period_end=subscription.cancel_at_period_end,
        ends_at=ends_at,
        end_reason=details.reason if details else None,
        current_period_end=period_end,
        description=subscription.name,
        amount=price[0] if price else None,
        currency=price[1] if price else None,
        interval=price[2].interval if price else None,
        interval_count=price[2].interval_count if price else 1,
        livemode=bool(event.livemode),
        requested=(event.idempotency_key or "").startswith(OWN_CANCELLING_PREFIX),
        end_changed=end_changed,
    )
