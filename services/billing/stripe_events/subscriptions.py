"""What the contract tells of a subscription, read from Stripe's, of both shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from services.billing.domain.paying import OWN_CANCELLING_PREFIX, OWN_POINTING_PREFIX
from services.billing.stripe_events.customers import metadata_evidence
from services.billing.stripe_events.drafts import EventDraft, dedupe_key
from services.billing.stripe_events.payloads import StripeEvent, decode_object, moment, ref_id
from services.billing.stripe_events.payment_methods import new_default, payment_method_changed
from services.billing.stripe_events.seen import BEGUN, SUBSCRIBED, paying_seen
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
    "collection_method",
    "pause_collection",
    "trial_end",
    "on_behalf_of",
    "schedule",
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
        on_behalf_of=ref_id(subscription.on_behalf_of) or "",
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
        collection_paused=subscription.collection_paused,
        collection_resumes_at=moment(pause.resumes_at) if pause else None,
        trial_ends_at=moment(subscription.trial_end),
        account=event.account,
        livemode=bool(event.livemode),
        requested=(event.idempotency_key or "").startswith(OWN_CANCELLING_PREFIX),
        end_changed=end_changed,
    )


def subscription_updated(event: StripeEvent) -> Iterator[EventDraft]:
    content = event.content()
    subscription = decode_object(content.object, Subscription)
    stripe_customer_id = ref_id(subscription.customer) or ""
    changes = content.previous_attributes or {}
    yield from _subscription_evidence(event, subscription, changes)
    yield from _subscription_changed(event, subscription, changes)
    if event.type == "customer.subscription.created" and subscription.status in BEGUN:
        yield from paying_seen(
            event,
            stripe_customer_id,
            SUBSCRIBED,
            subscription.id,
            on_behalf_of=ref_id(subscription.on_behalf_of) or "",
        )
    if (event.idempotency_key or "").startswith(OWN_POINTING_PREFIX):
        return
    method = new_default(changes, subscription.default_payment_method, subscription.default_source)
    yield from payment_method_changed(
        event,
        stripe_customer_id,
        method,
        subscription.id,
        on_behalf_of=ref_id(subscription.on_behalf_of) or "",
    )


def _subscription_evidence(
    event: StripeEvent, subscription: Subscription, changes: dict[str, msgspec.Raw]
) -> Iterator[EventDraft]:
    yield from metadata_evidence(
        event,
        subscription.id,
        ref_id(subscription.customer) or "",
        subscription.metadata,
        "subscription.metadata",
        changes,
        on_behalf_of=ref_id(subscription.on_behalf_of) or "",
    )


def _subscription_changed(
    event: StripeEvent, subscription: Subscription, changes: dict[str, msgspec.Raw]
) -> Iterator[EventDraft]:
    """What a customer can see of it. A change back and forth is news each time."""
    created = event.type == "customer.subscription.created"
    if not created and RELEVANT_SUBSCRIPTION_CHANGES.isdisjoint(changes):
        return
    end_changed = not PLANNED_ENDS.isdisjoint(changes)
    ends = bool(subscription.cancel_at_period_end or subscription.cancel_at)
    cls = (
        events.SubscriptionCancellationScheduled
        if ends and end_changed
        else events.SubscriptionUpdated
    )
    data = subscription_data(event, subscription, cls, end_changed=end_changed)
    yield EventDraft(data, dedupe_key(data, data.subscription_id, event.id))


def subscription_ended(event: StripeEvent) -> Iterator[EventDraft]:
    subscription = decode_object(event.content().object, Subscription)
    # An end withdraws nothing: the Stripe customer, its cards and its invoices are still the same person's.
    yield from _subscription_evidence(event, subscription, {})
    data = subscription_data(event, subscription, events.SubscriptionEnded)
    yield EventDraft(data, dedupe_key(data, data.subscription_id))
