"""What billing's events do here. Each function runs inside the transaction that its caller opened and commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import Kind, Reason, merge, subscription_end_key
from services.notifier.handlers import invoices
from services.notifier.handlers.invoices import Heard
from shared import events
from shared.contracts.prices import Terms, price, pricing_of
from shared.events import Event

DUPLICATE: Final = "duplicate: acted upon before"


def handle(session: Session, event: Event, now: dt.datetime) -> str:
    """Act on one event, once; says what came of it.

    The event's id and its effect stand in the same transaction, so a message that comes again, after a crash
    at any point, finds either both or neither. Raises UnreadableEvent.
    """
    if is_about_invoice(event):
        return handle_invoices(session, [event], now)[0]
    if not queries.claim_events(session, [event], now):
        return DUPLICATE
    handler = ROUTES.get(type(event.data))
    outcome = handler(session, event, now) if handler else "not for the notifier"
    queries.note_outcomes(session, {event.id: outcome})
    return outcome


def is_about_invoice(event: Event) -> bool:
    """Whether many events of this kind can be acted upon together (`handle_invoices`)."""
    return type(event.data) in STEPS


def handle_invoices(session: Session, batch: Sequence[Event], now: dt.datetime) -> list[str]:
    """The same for events about invoices that came together: what came of each, in a handful of statements in all.

    All incidents are locked first, in one order. Events about one invoice are acted upon one after another as they
    came, each finding what the one before it has left. Raises UnreadableEvent when one of them can't be read.
    """
    fresh = queries.claim_events(session, batch, now)
    first_copies: dict[str, Event] = {}
    for event in batch:
        first_copies.setdefault(event.id, event)
    waiting = [
        (event, *invoices.read(event)) for event in first_copies.values() if event.id in fresh
    ]
    incidents = queries.lock_incidents_made(
        session, {data.invoice_id: data.stripe_customer_id for _, data, _ in waiting}
    )
    outcomes: dict[str, str] = {}
    while waiting:
        turn = {data.invoice_id: event.id for event, data, _ in reversed(waiting)}
        heard = [
            Heard(event, seen, merge(incidents[data.invoice_id], seen))
            for event, data, seen in waiting
            if turn[data.invoice_id] == event.id
        ]
        waiting = [one for one in waiting if turn[one[1].invoice_id] != one[0].id]
        incidents |= {one.invoice_id: one.incident for one in heard}
        queries.store_incidents(session, [one.incident for one in heard])
        for step in (invoices.failed, invoices.changed):
            mine = [one for one in heard if STEPS[type(one.event.data)] is step]
            outcomes |= step(session, mine, now) if mine else {}
    queries.note_outcomes(session, outcomes)
    return [outcomes.pop(event.id, DUPLICATE) for event in batch]


def customer_deleted(session: Session, event: Event, now: dt.datetime) -> str:
    """Nobody writes to a customer who is gone, not even for a failure that arrives later."""
    data = _expect(event, events.CustomerDeleted)
    queries.note_deleted_customer(session, data.stripe_customer_id, now)
    queries.lock_incidents_of(session, data.stripe_customer_id)
    suppressed = queries.suppress_waiting(
        session, Reason.CUSTOMER_DELETED, now, customer=data.stripe_customer_id
    )
    return f"{suppressed.total()} suppressed"


def subscription_ends(session: Session, event: Event, now: dt.datetime) -> str:
    """A subscription will end, or has ended: the business hears of it once, unless the end was its own decision here.

    Emails that ask for money need nothing of this: each looks at the subscription again before it goes out.
    """
    data = _expect(event, events.SubscriptionData)
    ended = isinstance(data, events.SubscriptionEnded)
    ends_at = data.ends_at or (event.occurred_at if ended else None)
    said = price(_terms(data))
    context = {
        "description": data.description,
        "ends_at": ends_at.isoformat() if ends_at else None,
        "ended": ended,
        "price": said and msgspec.to_builtins(said),
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
    if not queries.add_notification(session, new):
        return "this end was told before"
    return "suppressed: approved here" if data.requested else f"{new.kind.value} is due"


def _terms(data: events.SubscriptionData) -> Terms:
    return Terms(
        pricing=pricing_of(data.pricing),
        amount=data.amount,
        currency=data.currency,
        interval=data.interval,
        interval_count=data.interval_count,
        discounted=data.discounted,
    )


Handler = Callable[[Session, Event, dt.datetime], str]

STEPS: Final[dict[type[events.Data], invoices.Step]] = {
    # The reason this service exists: an autopay charge failed, and the customer can mend it.
    events.InvoicePaymentFailed: invoices.failed,
    # May come with payment_failed, before, after or without it: one email for the two.
    events.InvoicePaymentActionRequired: invoices.failed,
    # Ends the incident: nothing more is asked for, and whoever was asked hears the good news.
    events.InvoicePaid: invoices.changed,
    # The business took the invoice back: asking for it would be wrong.
    events.InvoiceVoided: invoices.changed,
    # The business gave up on it: so do we.
    events.InvoiceMarkedUncollectible: invoices.changed,
    # Brings the date of the next try, which payment_failed may not know yet, and part payments.
    events.InvoiceUpdated: invoices.changed,
}
"""What is done about an invoice at each event, for many at once, and why."""

ROUTES: Final[dict[type[events.Data], Handler]] = {
    # The Stripe customer is gone, and with it the page that an email would lead to.
    events.CustomerDeleted: customer_deleted,
    # Stripe's page or the dashboard planned an end: the business should not find out from its bank.
    events.SubscriptionCancellationScheduled: subscription_ends,
    # Ended at once, or after the last retry: the same news, told once.
    events.SubscriptionEnded: subscription_ends,
}


def _expect(event: Event, kind: type[Any]) -> Any:
    if not isinstance(event.data, kind):
        raise TypeError(f"{event.type} was routed to a handler of {kind.__name__}")
    return event.data
