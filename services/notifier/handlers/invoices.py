"""What events about invoices do: for many at once, in the transaction that the caller opened and commits.

An event finds its invoice's incident locked, and is the only one of its invoice in a step, so what is decided for it is
what would be decided for it alone.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
    wants_recovered_email,
)
from shared import events
from shared.events import Event


class UnreadableEvent(ValueError):
    """The event is well formed but says something that this code can't mean (an unknown invoice status)."""


@dataclass(frozen=True)
class Heard:
    """An event about an invoice, and the invoice's story with the event in it."""

    event: Event
    facts: InvoiceFacts
    incident: Incident

    @classmethod
    def merged(cls, event: Event, facts: InvoiceFacts, known: Incident) -> Heard:
        """The event and the story as it was known before."""
        failed = isinstance(event.data, FAILURES) and not facts.own_retry
        return cls(event, facts, merge(known, facts, event.occurred_at, failed=failed))

    @property
    def action_required(self) -> bool:
        """Whether the bank wants the customer to confirm."""
        return isinstance(self.event.data, events.InvoicePaymentActionRequired)

    @property
    def attempt_key(self) -> str:
        return attempt_key(self.facts.invoice_id, self.facts.attempt)


FAILURES = (events.InvoicePaymentFailed, events.InvoicePaymentActionRequired)

Step = Callable[[Session, Sequence[Heard], dt.datetime], dict[str, str]]
"""What is done about events, at most one of each invoice; what came of each, by the event's id."""


def failed(session: Session, heard: Sequence[Heard], now: dt.datetime) -> dict[str, str]:
    """Charges were declined, or the bank wants the customer to confirm: an email each, or the reason for none."""
    told = queries.attempts_told(session, {one.attempt_key for one in heard})
    under_way = queries.mails_under_way(session, {one.facts.invoice_id for one in heard})
    deleted = queries.deleted_customers(session, {one.facts.stripe_customer_id for one in heard})
    rows = {
        one.event.id: _notification(
            one,
            Told(
                this_attempt=one.attempt_key in told,
                under_way=one.facts.invoice_id in under_way,
                customer_deleted=one.facts.stripe_customer_id in deleted,
            ),
            now,
        )
        for one in heard
    }
    added = queries.add_notifications(session, rows.values())
    return {event_id: _what_came(row, row.dedupe_key in added) for event_id, row in rows.items()}


def _notification(one: Heard, told: Told, now: dt.datetime) -> queries.NewNotification:
    decision = decide(one.facts, one.incident, told, action_required=one.action_required)
    if isinstance(decision, Send):
        kind, reason = decision.kind, None
    else:
        kind = Kind.PAYMENT_ACTION_REQUIRED if one.action_required else Kind.PAYMENT_FAILED
        reason = decision.reason
    return queries.NewNotification(
        dedupe_key=failure_key(one.facts, action_required=one.action_required),
        attempt_key=one.attempt_key if reason is None else None,
        kind=kind,
        reason=reason,
        now=now,
        invoice_id=one.facts.invoice_id,
        attempt=one.facts.attempt,
        stripe_customer_id=one.facts.stripe_customer_id,
        correlation_id=one.event.correlation_id,
        occurred_at=one.event.occurred_at,
        traceparent=one.event.traceparent,
    )


def _what_came(row: queries.NewNotification, added: bool) -> str:
    if not added:
        return "this failure has a notification already"
    return f"suppressed: {row.reason.value}" if row.reason else f"{row.kind.value} is due"


def changed(session: Session, heard: Sequence[Heard], now: dt.datetime) -> dict[str, str]:
    """Invoices stand differently: what waits for a closed one is suppressed, and someone who was told of the failure
    is told that it is paid."""
    closed: dict[Reason, list[str]] = defaultdict(list)
    for one in heard:
        if one.incident.closed_because is not None:
            closed[one.incident.closed_because].append(one.facts.invoice_id)
    dated = [
        one.facts.invoice_id
        for one in heard
        if one.incident.closed_because is None and one.incident.next_payment_attempt is not None
    ]
    if dated:
        queries.look_at_once(session, dated, Reason.WAITS_FOR_SCHEDULE, now)
    suppressed = {
        invoice_id: count
        for reason in sorted(closed)
        for invoice_id, count in queries.suppress_waiting(
            session, reason, now, invoice_ids=closed[reason]
        ).items()
    }
    outcomes = {}
    for one in heard:
        outcome = f"incident {one.incident.status.value}"
        if one.incident.closed_because is not None:
            outcome += f", {suppressed.get(one.facts.invoice_id, 0)} suppressed"
            if announce_recovery(
                session, one.incident, one.event.correlation_id, now, one.event.traceparent
            ):
                outcome += ", recovery announced"
        outcomes[one.event.id] = outcome
    return outcomes


def announce_recovery(
    session: Session,
    incident: Incident,
    correlation_id: str,
    now: dt.datetime,
    traceparent: str = "",
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
                traceparent=traceparent,
            ),
        )
        for kind, key in news.items()
    ]
    return any(added)


def facts_of(event: Event) -> InvoiceFacts:
    """What an event says about its invoice. Raises UnreadableEvent."""
    data: Any = event.data
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
