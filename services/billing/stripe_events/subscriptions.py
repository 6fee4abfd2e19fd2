"""What the contract tells of a subscription, read from Stripe's, of both shapes."""

from __future__ import annotations

from typing import Final

from services.billing.domain.paying import OWN_CANCELLING_PREFIX
from services.billing.stripe_events.payloads import StripeEvent, moment, ref_id
from services.billing.stripe_events.subscription_payload import Subscription
from shared import events

PLANNED_ENDS: Final = frozenset({"cancel_at", "cancel_at_period_end"})
RELEVANT_SUBSCRIPTION_CHANGES: Final = PLANNED_ENDS | {
    "status",
    "items",
    "quantity",
    "plan",
    "current_period_end",
    "description",
    "discount",
    "discounts",
    "automatic_tax",
    "default_tax_rates",
    "pause_collection",
    "trial_end",
}


def subscription_data(
    event: StripeEvent,
    subscription: Subscription,
    cls: type[events.SubscriptionData],
    *,
    end_changed: bool = False,
) -> events.SubscriptionData:
    """What the contract tells of a subscription. Pure; raises Unreadable for a time that is none.

    `end_changed`: the event is about a change of its planned end.
    """
    terms, pause = subscription.terms, subscription.pause_collection
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
        pricing=terms.pricing,
        discounted=terms.discounted,
        amount=terms.amount,
        currency=terms.currency,
        interval=terms.interval,
        interval_count=terms.interval_count,
        collection_paused=pause is not None,
        collection_resumes_at=moment(pause.resumes_at) if pause else None,
        trial_ends_at=moment(subscription.trial_end),
        livemode=bool(event.livemode),
        requested=(event.idempotency_key or "").startswith(OWN_CANCELLING_PREFIX),
        end_changed=end_changed,
    )
