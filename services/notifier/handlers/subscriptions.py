"""What events about subscriptions do: the business hears of an end that is planned, withdrawn or past, and how collecting what
is unpaid ended. Each function runs inside the transaction that its caller opened and commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.keys import collection_ended_key, is_manual_resend, kept_method_key
from services.notifier.domain.kinds import Kind
from services.notifier.domain.planned_ends import (
    PlanNotice,
    day_of,
    is_overtaken,
    plan_news,
    subscription_end_key,
    withdrawn_key,
)
from services.notifier.domain.vocabulary import ACTIVE, Reason
from services.notifier.queries import business_news, incidents, notifications
from services.notifier.queries.notifications import NewNotification, Row
from shared import events
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.invoices import SILENT_FOR, Ending, SubscriptionState, ending
from shared.contracts.prices import Terms, price, pricing_of
from shared.events import Event

AT_ONCE: Final = 100
"""Silent invoices that one round takes."""
AFTER: Final = dt.timedelta(seconds=2)
"""The business hears how collecting ended after the customer heard of the last failure, and after Stripe's other events of that
moment: then the email counts what was sent, and names all that ended."""
ENDED: Final = (Ending.SUBSCRIPTION_FAILED, Ending.SUBSCRIPTION_ENDED)


def changed(session: Session, event: Event[events.SubscriptionData], now: dt.datetime) -> str:
    """A subscription changed: perhaps it is unpaid now, perhaps its planned end was withdrawn."""
    data = event.data
    if data.status == "unpaid":
        _note_ends_of(session, event, data, now)
    if data.ends_at is not None or data.cancel_at_period_end:
        return "nothing new about its end"
    key = withdrawn_key(_subscription(data), event.occurred_at)
    notice = PlanNotice(at=event.occurred_at, ends_on=None)
    others = business_news.plans_told(session, _customer(data), data.subscription_id)
    reason = plan_news(notice, others)
    if reason is Reason.NO_END_WAS_TOLD and not data.end_changed:
        return "nothing new about its end"
    return _note_plan(session, event, data, Kind.CANCELLATION_WITHDRAWN, key, reason, now)


def ends(session: Session, event: Event[events.SubscriptionData], now: dt.datetime) -> str:
    """A subscription will end, or has ended: the business hears of it once, unless the end was its own decision here.

    An end with something unpaid is told with that, in one email. Emails that ask for money need nothing of this: each looks
    at the subscription again before it goes out.
    """
    data = event.data
    ended = isinstance(data, events.SubscriptionEnded)
    told_with_debt = ended and _note_ends_of(session, event, data, now)
    ends_at = data.ends_at or (event.occurred_at if ended else None)
    notice = PlanNotice(at=event.occurred_at, ends_on=day_of(ends_at), ended=ended)
    others = business_news.plans_told(session, _customer(data), data.subscription_id)
    reason = plan_news(notice, others)
    if told_with_debt:
        reason = reason or Reason.TOLD_WITH_DEBT
    elif data.requested:
        reason = reason or Reason.APPROVED_HERE
    key = subscription_end_key(_subscription(data), ends_at)
    if any(one.ends_on == notice.ends_on for one in others):
        key = subscription_end_key(_subscription(data), ends_at, event.occurred_at)
    return _note_plan(session, event, data, Kind.SUBSCRIPTION_ENDING, key, reason, now)


def method_kept(
    session: Session, event: Event[events.SubscriptionPaymentMethodKept], now: dt.datetime
) -> str:
    """Stripe lets only the business set a customer's new payment method for a subscription: the business is asked to."""
    data = event.data
    if data.over:
        return "nothing to ask the business for any more"
    key = kept_method_key(
        StripeId(Account(data.account), data.subscription_id), data.payment_method_id
    )
    context = {"description": data.description, "dashboard_url": data.dashboard_url}
    return _add(session, event, data, Kind.PAYMENT_METHOD_BY_HAND, key, None, context, now)


def _subscription(data: events.SubscriptionData) -> StripeId:
    return StripeId(Account(data.account), data.subscription_id)


def _customer(data: events.SubscriptionData) -> StripeCustomer:
    return StripeCustomer(Account(data.account), data.stripe_customer_id, data.on_behalf_of)


def _note_plan(
    session: Session,
    event: Event,
    data: events.SubscriptionData,
    kind: Kind,
    key: str,
    reason: Reason | None,
    now: dt.datetime,
) -> str:
    ended = isinstance(data, events.SubscriptionEnded)
    ends_at = data.ends_at or (event.occurred_at if ended else None)
    said = price(_terms(data))
    context = {
        "description": data.description,
        "ends_at": ends_at.isoformat() if ends_at else None,
        "ended": ended,
        "price": said and msgspec.to_builtins(said),
    }
    return _add(session, event, data, kind, key, reason, context, now)


def _add(
    session: Session,
    event: Event,
    data: events.SubscriptionData | events.SubscriptionPaymentMethodKept,
    kind: Kind,
    key: str,
    reason: Reason | None,
    context: Mapping[str, Any],
    now: dt.datetime,
) -> str:
    """Write an email to the business down, with what is known of its context; what became of it. With a `reason` it is not sent."""
    new = NewNotification(
        account=Account(data.account),
        dedupe_key=key,
        kind=kind,
        reason=reason,
        now=now,
        stripe_customer_id=data.stripe_customer_id,
        on_behalf_of=data.on_behalf_of,
        correlation_id=event.correlation_id,
        occurred_at=event.occurred_at,
        context={name: value for name, value in context.items() if value is not None},
    )
    if not notifications.add_notification(session, new):
        return "this was told before"
    return f"suppressed: {reason.value}" if reason else f"{kind.value} is due"


def _terms(data: events.SubscriptionData) -> Terms:
    return Terms(
        pricing=pricing_of(data.pricing),
        amount=data.amount,
        currency=data.currency,
        interval=data.interval,
        interval_count=data.interval_count,
        discounted=data.discounted,
    )


def no_news(session: Session, row: Row) -> Reason | None:
    """Why an email about the end of a subscription must not go out now: plans change back and forth, and emails wait."""
    plan = business_news.plan_of(session, row)
    if plan is None or row.stripe_customer is None:
        return None
    notice = PlanNotice(
        at=row.occurred_at or row.created_at,
        ends_on=plan[1],
        ended=(row.context or {}).get("ended") is True,
    )
    others = business_news.plans_told(
        session, row.stripe_customer, plan[0], besides=row.notification_id
    )
    if is_manual_resend(row.dedupe_key):
        # Whoever wants it knows that it was told, and not that it isn't so any more.
        return Reason.PLAN_CHANGED_AGAIN if is_overtaken(notice, others) else None
    return plan_news(notice, others)


def _note_ends_of(
    session: Session, event: Event, data: events.SubscriptionData, now: dt.datetime
) -> bool:
    """Have the business told how collecting the subscription's unpaid invoices ended. True: that email tells of the end of the
    subscription too."""
    ended = isinstance(data, events.SubscriptionEnded)
    state = SubscriptionState(
        "canceled" if ended else data.status, data.end_reason, data.ends_at if ended else None
    )
    # Stripe withdraws their dates with the subscription, in events of their own.
    unpaid = [
        one
        for one in incidents.lock_unpaid_of_subscription(
            session, _customer(data), data.subscription_id
        )
        if ending(
            one.with_changes(next_payment_attempt=None), state, now=now, waited=one.waited(now)
        )
        is not None
    ]
    if not unpaid:
        return False
    note_ends(session, [(one, event) for one in unpaid], now)
    rows = [notifications.by_key(session, collection_ended_key(one.name)) for one in unpaid]
    return any(
        row is not None
        and (row.status in ACTIVE or (row.context or {}).get(business_news.ENDING) in ENDED)
        for row in rows
    )


def note_ends(
    session: Session, found: Iterable[tuple[Incident, Event | None]], now: dt.datetime
) -> int:
    """Write down that the business is to hear how collecting these invoices ended, once each; how many are new. Whether it
    has ended for good is looked at before that goes out. What is noted already, and waits, tells of the event that ends it now: it may be
    on the other side of the business's line than what it was noted for. The incidents are locked."""
    found = list(found)
    new = [(incident, event) for incident, event in found if not incident.end_noted]
    notifications.add_notifications(
        session,
        [
            NewNotification(
                account=incident.account,
                dedupe_key=collection_ended_key(incident.name),
                kind=Kind.COLLECTION_ENDED,
                now=now,
                due_at=now + AFTER,
                invoice_id=incident.invoice_id,
                attempt=incident.attempt_count,
                stripe_customer_id=incident.stripe_customer_id,
                on_behalf_of=incident.on_behalf_of,
                correlation_id=event.correlation_id if event else "",
                # Without an event nothing is new but the silence since.
                occurred_at=event.occurred_at if event else incident.failure_heard_at or now,
                traceparent=event.traceparent if event else "",
            )
            for incident, event in new
        ],
    )
    incidents.store_incidents(
        session, [incident.with_changes(end_noted=True) for incident, _ in new]
    )
    known = {incident.name: event for incident, event in found if incident.end_noted}
    if known:
        notifications.look_at_once(session, known, now, Reason.WAITS_FOR_END)
        business_news.note_ended(
            session,
            {
                collection_ended_key(name): event.occurred_at
                for name, event in known.items()
                if event is not None
            },
            now,
        )
    return len(new)


def note_silent(session: Session, now: dt.datetime) -> bool:
    """The same for invoices of which nothing was heard for long, though they are unpaid. True: there may be more."""
    silent = incidents.lock_silent(session, now - SILENT_FOR, AT_ONCE)
    note_ends(session, [(one, None) for one in silent], now)
    return len(silent) == AT_ONCE
