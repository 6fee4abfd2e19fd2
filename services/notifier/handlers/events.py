"""What billing's events do here. Each function runs inside the transaction that its caller opened and commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import (
    Incident,
    InvoiceFacts,
    InvoiceStatus,
    Kind,
    Reason,
    Send,
    Told,
    attempt_key,
    business_recovered_key,
    decide,
    failure_key,
    merge,
    recovered_key,
    subscription_end_key,
    wants_recovered_email,
)
from shared import events
from shared.events import Event

DUPLICATE: Final = "duplicate: acted upon before"


class UnreadableEvent(ValueError):
    """The event is well formed but says something that this code can't mean (an unknown invoice status)."""


def handle(session: Session, event: Event, now: dt.datetime) -> str:
    """Act on one event, once; says what came of it.

    The event's id and its effect stand in the same transaction, so a message that comes again, after a crash
    at any point, finds either both or neither. Raises UnreadableEvent.
    """
    if not queries.claim_event(session, event.id, event.type, now):
        return DUPLICATE
    handler = ROUTES.get(type(event.data))
    outcome = handler(session, event, now) if handler else "not for the notifier"
    queries.note_outcome(session, event.id, outcome)
    return outcome


def payment_failed(session: Session, event: Event, now: dt.datetime) -> str:
    """A charge was declined: an email, or the reason for none."""
    return _failure(session, event, now, action_required=False)


def payment_action_required(session: Session, event: Event, now: dt.datetime) -> str:
    """The bank wants the customer to confirm: an email, or the reason for none."""
    return _failure(session, event, now, action_required=True)


def invoice_changed(session: Session, event: Event, now: dt.datetime) -> str:
    """The invoice stands differently: what waits for it is suppressed when it is closed, and someone who was
    told of the failure is told that it is paid."""
    incident = _remember(session, event, failed=False)
    reason = incident.closed_because
    if reason is None:
        if incident.next_payment_attempt is not None:
            queries.look_at_once(session, incident.invoice_id, Reason.WAITS_FOR_SCHEDULE, now)
        return f"incident {incident.status.value}"
    suppressed = queries.suppress_waiting(session, reason, now, invoice_ids=[incident.invoice_id])
    announced = announce_recovery(session, incident, event.correlation_id, now)
    return f"incident {incident.status.value}, {suppressed} suppressed" + (
        ", recovery announced" if announced else ""
    )


def customer_deleted(session: Session, event: Event, now: dt.datetime) -> str:
    """Nobody writes to a customer who is gone, not even for a failure that arrives later."""
    data = _expect(event, events.CustomerDeleted)
    queries.note_deleted_customer(session, data.stripe_customer_id, now)
    queries.lock_incidents_of(session, data.stripe_customer_id)
    suppressed = queries.suppress_waiting(
        session, Reason.CUSTOMER_DELETED, now, customer=data.stripe_customer_id
    )
    return f"{suppressed} suppressed"


def subscription_ends(session: Session, event: Event, now: dt.datetime) -> str:
    """A subscription will end, or has ended: the business hears of it once, unless the end was its own decision here.

    Emails that ask for money need nothing of this: each looks at the subscription again before it goes out.
    """
    data = _expect(event, events.SubscriptionData)
    ended = isinstance(data, events.SubscriptionEnded)
    ends_at = data.ends_at or (event.occurred_at if ended else None)
    context = {
        "description": data.description,
        "ends_at": ends_at.isoformat() if ends_at else None,
        "ended": ended,
        "amount": data.amount,
        "currency": data.currency,
    }
    new = queries.NewNotification(
        dedupe_key=subscription_end_key(data.subscription_id, ends_at),
        kind=Kind.SUBSCRIPTION_ENDING,
        reason=Reason.APPROVED_HERE if data.requested else None,
        now=now,
        stripe_customer_id=data.stripe_customer_id,
        correlation_id=event.correlation_id,
        occurred_at=event.occurred_at,
        context={name: value for name, value in context.items() if value is not None},
    )
    if queries.add_notification(session, new) is None:
        return "this end was told before"
    return "suppressed: approved here" if data.requested else f"{new.kind.value} is due"


def announce_recovery(
    session: Session, incident: Incident, correlation_id: str, now: dt.datetime
) -> bool:
    """Write down the "it is paid" emails, to customer and business, when the customer was told of the failure. The
    incident is locked.

    Called by whoever sees the second of the two facts: the payment's event, or the sender whose email was on
    its way when the payment arrived.
    """
    if not wants_recovered_email(incident) or queries.customer_deleted(
        session, incident.stripe_customer_id
    ):
        return False
    news = {
        Kind.PAYMENT_RECOVERED: recovered_key(incident.invoice_id),
        Kind.CUSTOMER_RECOVERED: business_recovered_key(incident.invoice_id),
    }
    added = [
        queries.add_notification(
            session,
            queries.NewNotification(
                dedupe_key=key,
                kind=kind,
                now=now,
                invoice_id=incident.invoice_id,
                attempt=incident.last_attempt,
                stripe_customer_id=incident.stripe_customer_id,
                correlation_id=correlation_id,
            ),
        )
        for kind, key in news.items()
    ]
    return any(added)


Handler = Callable[[Session, Event, dt.datetime], str]

ROUTES: Final[dict[type[events.Data], Handler]] = {
    # The reason this service exists: an autopay charge failed, and the customer can mend it.
    events.InvoicePaymentFailed: payment_failed,
    # May come with payment_failed, before, after or without it: one email for the two.
    events.InvoicePaymentActionRequired: payment_action_required,
    # Ends the incident: nothing more is asked for, and whoever was asked hears the good news.
    events.InvoicePaid: invoice_changed,
    # The business took the invoice back: asking for it would be wrong.
    events.InvoiceVoided: invoice_changed,
    # The business gave up on it: so do we.
    events.InvoiceMarkedUncollectible: invoice_changed,
    # Brings the date of the next try, which payment_failed may not know yet, and part payments.
    events.InvoiceUpdated: invoice_changed,
    # The Stripe customer is gone, and with it the page that an email would lead to.
    events.CustomerDeleted: customer_deleted,
    # Stripe's page or the dashboard planned an end: the business should not find out from its bank.
    events.SubscriptionCancellationScheduled: subscription_ends,
    # Ended at once, or after the last retry: the same news, told once.
    events.SubscriptionEnded: subscription_ends,
}


def _failure(session: Session, event: Event, now: dt.datetime, *, action_required: bool) -> str:
    facts = _facts(_expect(event, events.InvoiceData))
    incident = _remember(session, event, failed=not facts.own_retry)
    key = attempt_key(facts.invoice_id, facts.attempt)
    told = Told(
        this_attempt=queries.attempt_is_told(session, key),
        under_way=queries.mail_under_way(session, facts.invoice_id),
        customer_deleted=queries.customer_deleted(session, facts.stripe_customer_id),
    )
    decision = decide(facts, incident, told, action_required=action_required)
    send = isinstance(decision, Send)
    reason = None if isinstance(decision, Send) else decision.reason
    if isinstance(decision, Send):
        kind = decision.kind
    else:
        kind = Kind.PAYMENT_ACTION_REQUIRED if action_required else Kind.PAYMENT_FAILED
    new = queries.NewNotification(
        dedupe_key=failure_key(facts, action_required=action_required),
        attempt_key=key if send else None,
        kind=kind,
        reason=reason,
        now=now,
        invoice_id=facts.invoice_id,
        attempt=facts.attempt,
        stripe_customer_id=facts.stripe_customer_id,
        correlation_id=event.correlation_id,
        occurred_at=event.occurred_at,
    )
    if queries.add_notification(session, new) is None:
        return "this failure has a notification already"
    return f"suppressed: {reason.value}" if reason else f"{kind.value} is due"


def _remember(session: Session, event: Event, *, failed: bool) -> Incident:
    facts = _facts(_expect(event, events.InvoiceData))
    known = queries.lock_incident(session, facts.invoice_id, facts.stripe_customer_id)
    incident = merge(known, facts, event.occurred_at, failed=failed)
    queries.store_incident(session, incident)
    return incident


def _facts(data: events.InvoiceData) -> InvoiceFacts:
    try:
        status = InvoiceStatus(data.status)
    except ValueError:
        raise UnreadableEvent(f"unknown invoice status {data.status[:40]!r}") from None
    return InvoiceFacts(
        invoice_id=data.invoice_id,
        stripe_customer_id=data.stripe_customer_id,
        status=status,
        currency=data.currency,
        amount_due=data.amount_due,
        amount_remaining=data.amount_remaining,
        amount_paid=data.amount_paid,
        attempt=data.attempt_count,
        collection_method=data.collection_method,
        billing_reason=data.billing_reason,
        number=data.number,
        subscription_id=data.subscription_id,
        next_payment_attempt=data.next_payment_attempt,
        own_retry=data.own_retry,
    )


def _expect(event: Event, kind: type[Any]) -> Any:
    if not isinstance(event.data, kind):
        raise TypeError(f"{event.type} was routed to a handler of {kind.__name__}")
    return event.data
