"""New cards that a subscription is not charged to, since Stripe doesn't let a platform set them there.

The next payment of such a subscription is charged to the old card. Where that fails, the new one has its turn; where it is
set in the dashboard, or the subscription ends, nothing more is to be watched. Each function runs inside its caller's transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy.orm import Session

from services.billing.domain.changes import Change
from services.billing.domain.paying import Subscription
from services.billing.queries import outbox, platform_refusals
from services.billing.queries.platform_refusals import KeptMethod
from services.billing.stripe_events.drafts import dedupe_key
from services.billing.stripe_events.payloads import StripeEvent, decode_object, ref_id
from services.billing.stripe_events.payment_methods import DEFAULTS
from services.billing.stripe_events.subscription_payload import Subscription as SubscriptionPayload
from services.billing.stripe_events.translation import Status, Translation
from shared import events
from shared.contracts.accounts import OWN, Account, StripeId, our_event_id
from shared.outbox import Outgoing

CHANGES: Final[Mapping[str, bool]] = {
    "customer.subscription.updated": False,
    "customer.subscription.deleted": True,
}
"""The Stripe events that may end a watch; True: this one does in any case."""
RUN: Final = dt.timedelta(minutes=5)
"""Longer than a run takes that sees how subscriptions stand and then writes it down."""
READ: Final = (Status.TRANSLATED, Status.IGNORED)


def note_kept(
    session: Session,
    change: Change,
    kept: Sequence[tuple[Subscription, str]],
    *,
    livemode: bool,
    now: dt.datetime,
) -> None:
    """These subscriptions are not charged to the card of the change, each with its page in the dashboard: watch them, and tell
    the others. What was watched of this customer, and is not among them any more, is over."""
    still = {subscription.id for subscription, _ in kept}
    for one in platform_refusals.kept_of_customer(session, change.customer):
        if one.subscription.id not in still:
            _end(session, one, change.id, livemode=livemode, now=now)
    for subscription, page in kept:
        new = platform_refusals.note_refusal(
            session, change.account, subscription, now, payment_method=change.payment_method
        )
        if new:
            data = events.SubscriptionPaymentMethodKept(
                account=change.account,
                subscription_id=subscription.id,
                stripe_customer_id=subscription.stripe_customer_id,
                on_behalf_of=subscription.on_behalf_of,
                payment_method_id=change.payment_method,
                description=subscription.description,
                dashboard_url=page,
                livemode=livemode,
            )
            _tell(session, data, change.id, now, about=subscription.id)


def subscription_of(event: StripeEvent, said: Translation) -> str | None:
    """The subscription of which an event says something that counts where it is watched. Those of our own account say nothing: there is
    nothing that we may not change."""
    if event.account == OWN:
        return None
    if (changed := _changed(event, said)) is not None:
        return changed.id
    return next((name.id for name, _ in _failures(event, said)), None)


def note_arrivals(
    session: Session, arrived: Sequence[tuple[StripeEvent, Translation]], now: dt.datetime
) -> None:
    """What Stripe events that are translated for the first time, or again, say of subscriptions that are watched."""
    beside = [(event, said) for event, said in arrived if event.account != OWN]
    failed = {name: one for event, said in beside for name, one in _failures(event, said)}
    changed = {
        StripeId(event.account, subscription.id): (event, subscription)
        for event, said in beside
        if (subscription := _changed(event, said)) is not None
    }
    if not failed and not changed:
        return
    for one in platform_refusals.kept_methods(session, {*failed, *changed}):
        event, subscription = changed.get(one.subscription, (None, None))
        if event is not None and subscription is not None and _is_over(event, subscription, one):
            _end(session, one, event.id, livemode=bool(event.livemode), now=now)
        elif one.subscription in failed:
            _try_again(session, one, *failed[one.subscription], now)


def _failures(
    event: StripeEvent, said: Translation
) -> Iterator[tuple[StripeId, tuple[StripeEvent, events.InvoicePaymentFailed]]]:
    """The subscription whose payment failed, unless it was our own try."""
    for one in said.outgoing:
        data = one.event.data
        if (
            isinstance(data, events.InvoicePaymentFailed)
            and not data.own_retry
            and data.subscription_id
        ):
            yield StripeId(event.account, data.subscription_id), (event, data)


def _changed(event: StripeEvent, translation: Translation) -> SubscriptionPayload | None:
    """The subscription that has ended, or whose own default was changed."""
    ends = CHANGES.get(event.type)
    if ends is None or translation.status not in READ:
        return None
    content = event.content()
    if not ends and DEFAULTS.isdisjoint(content.previous_attributes or {}):
        return None
    return decode_object(content.object, SubscriptionPayload)


def _is_over(event: StripeEvent, subscription: SubscriptionPayload, kept: KeptMethod) -> bool:
    """Whether the subscription has ended, or the card has its turn by now: it is the subscription's own, or nothing is and the
    customer's counts. What Stripe tells late of a moment before it was last seen otherwise says nothing."""
    if not CHANGES[event.type] and event.occurred_at() < kept.seen_at - RUN:
        return False
    own = subscription.default_payment_method or subscription.default_source
    return CHANGES[event.type] or ref_id(own) in (None, kept.payment_method)


def _try_again(
    session: Session,
    kept: KeptMethod,
    event: StripeEvent,
    data: events.InvoicePaymentFailed,
    now: dt.datetime,
) -> None:
    """The old card was charged, and failed: say that this invoice is to be charged to the new one."""
    platform_refusals.still_kept(session, kept.subscription, event.occurred_at())
    told = events.PaymentMethodChanged(
        account=data.account,
        stripe_customer_id=data.stripe_customer_id,
        payment_method_id=kept.payment_method,
        subscription_id=data.subscription_id,
        invoice_id=data.invoice_id,
        on_behalf_of=data.on_behalf_of,
        livemode=data.livemode,
    )
    _tell(session, told, event.id, now, occurred_at=event.occurred_at(), about=data.invoice_id)


def _end(
    session: Session, kept: KeptMethod, because: str, *, livemode: bool, now: dt.datetime
) -> None:
    platform_refusals.forget_method(session, kept.subscription)
    data = events.SubscriptionPaymentMethodKept(
        account=kept.subscription.account,
        subscription_id=kept.subscription.id,
        stripe_customer_id=kept.stripe_customer_id,
        on_behalf_of=kept.on_behalf_of,
        payment_method_id=kept.payment_method,
        over=True,
        livemode=livemode,
    )
    _tell(session, data, because, now, about=f"{kept.subscription.id}/over")


def _tell(
    session: Session,
    data: events.SubscriptionPaymentMethodKept | events.PaymentMethodChanged,
    because: str,
    now: dt.datetime,
    *,
    occurred_at: dt.datetime | None = None,
    about: str,
) -> None:
    """Queue an event; `because` is the Stripe event that it follows from."""
    account = Account(data.account)
    outbox.OUTBOX.add(
        session,
        [
            Outgoing(
                events.Event(
                    id=our_event_id(account, because, f"{data.type}/{about}"),
                    occurred_at=occurred_at or now,
                    correlation_id=because,
                    data=data,
                ),
                dedupe_key(data, about, because),
            )
        ],
        now,
    )
