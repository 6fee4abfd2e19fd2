"""What events about invoices do: for many at once, in the transaction that the caller opened and commits.

An event finds its invoice's incident locked, and is the only one of its invoice in a step, so what is decided for it is
what would be decided for it alone.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.keys import (
    attempt_key,
    business_recovered_key,
    failure_key,
    recovered_key,
)
from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import (
    STOPPED_BECAUSE,
    PriorNotices,
    Send,
    decide,
    wants_recovered_email,
)
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers.subscriptions import note_ends
from services.notifier.queries import notifications, suppressions, waiting
from services.notifier.queries.leases import FreshLeases
from services.notifier.queries.notifications import NewNotification
from shared import events
from shared.contracts.accounts import StripeId
from shared.contracts.invoices import FINALITY, ending, owed
from shared.contracts.observations import Observation, observe
from shared.events import Event


class UnreadableEvent(ValueError):
    """The event is well formed but says something that this code can't mean (an unknown invoice status)."""


@dataclass(frozen=True)
class IncidentUpdate:
    """An event about an invoice, and the invoice's story with the event in it."""

    event: Event
    seen: Observation
    incident: Incident
    is_first: bool = False
    """The incident begins with it: nothing was written down about its invoice before."""
    ends_it: bool = False
    """Collecting ends with it: not by silence, and not by what was heard before."""

    @property
    def invoice(self) -> StripeId:
        return self.incident.name

    @property
    def attempt_key(self) -> str:
        return attempt_key(self.invoice, self.seen.attempt_count)


def has_ended(incident: Incident, now: dt.datetime) -> bool:
    """Whether collecting its invoice has ended by what was heard of it, whatever the silence since."""
    return ending(incident, None, now=now, waited=dt.timedelta(0)) is not None


def read(event: Event[events.InvoiceData]) -> Observation:
    """What an event says about its invoice. Raises UnreadableEvent."""
    data = event.data
    if data.status not in FINALITY:
        raise UnreadableEvent(f"unknown invoice status {data.status[:40]!r}")
    return observe(data, event.occurred_at)


Step = Callable[[Session, Sequence[IncidentUpdate], dt.datetime], dict[str, str]]
"""What is done about events, at most one of each invoice; what came of each, by the event's id."""


def failed(
    session: Session,
    heard: Sequence[IncidentUpdate],
    now: dt.datetime,
    fresh: FreshLeases | None = None,
) -> dict[str, str]:
    """Charges were declined, or the bank wants the customer to confirm: a row each, with the reason where no email follows.
    Whether the customer was told of this very charge is looked at before it goes out. `fresh` leases the first of them at once.
    """
    known = [one for one in heard if not one.is_first]
    attempts = notifications.attempts_told(session, {one.attempt_key for one in known})
    under_way = notifications.mails_under_way(session, {one.invoice for one in known})
    deleted = suppressions.deleted_customers(session, {one.incident.customer.name for one in heard})
    seen = {one.event.id: one.seen for one in heard}
    rows = {
        one.event.id: _notification(
            one,
            PriorNotices(
                this_attempt=one.attempt_key in attempts,
                under_way=one.invoice in under_way,
                customer_deleted=one.incident.customer.name in deleted,
            ),
            now,
            first=one.attempt_key not in attempts,
        )
        for one in heard
    }
    if fresh is not None:
        rows |= fresh.lease(rows)
    added = notifications.add_notifications(session, rows.values())
    # The key of the attempt may be another event's: this one gets a row of its own.
    again = {
        event_id: msgspec.structs.replace(
            row,
            dedupe_key=failure_key(
                StripeId(row.account, row.invoice_id or ""), seen[event_id], event_id
            ),
            attempt_key=None,
            lease=None,
        )
        for event_id, row in rows.items()
        if row.dedupe_key not in added
    }
    notifications.add_notifications(session, again.values())
    if fresh is not None:
        incidents = {one.event.id: one.incident for one in heard}
        fresh.note(
            (row, incidents[event_id]) for event_id, row in (rows | again).items() if not row.reason
        )
    return {event_id: _what_came(row) for event_id, row in (rows | again).items()}


def _notification(
    one: IncidentUpdate, told: PriorNotices, now: dt.datetime, *, first: bool
) -> NewNotification:
    decision = decide(one.seen, one.incident, told)
    if isinstance(decision, Send):
        kind, reason = decision.kind, None
    else:
        kind = Kind.PAYMENT_ACTION_REQUIRED if one.seen.action_required else Kind.PAYMENT_FAILED
        reason = decision.reason
    return NewNotification(
        account=one.invoice.account,
        dedupe_key=failure_key(one.invoice, one.seen),
        attempt_key=one.attempt_key if reason is None and first else None,
        kind=kind,
        reason=reason,
        now=now,
        invoice_id=one.invoice.id,
        attempt=one.seen.attempt_count,
        next_payment_attempt=one.seen.next_payment_attempt,
        stripe_customer_id=one.incident.stripe_customer_id,
        on_behalf_of=one.incident.on_behalf_of,
        correlation_id=one.event.correlation_id,
        occurred_at=one.event.occurred_at,
        traceparent=one.event.traceparent,
    )


def _what_came(row: NewNotification) -> str:
    return f"suppressed: {row.reason.value}" if row.reason else f"{row.kind.value} is due"


def changed(session: Session, heard: Sequence[IncidentUpdate], now: dt.datetime) -> dict[str, str]:
    """Invoices stand differently: what waits for a closed one is suppressed, and someone who was told of the failure
    is told that it is paid. What nobody was told while collecting had stopped is due when it goes on."""
    closed: dict[Reason, list[StripeId]] = defaultdict(list)
    for one in heard:
        if one.incident.closed_because is not None:
            closed[one.incident.closed_because].append(one.invoice)
    dated = [
        one.invoice
        for one in heard
        if one.incident.closed_because is None and one.incident.next_payment_attempt is not None
    ]
    if dated:
        notifications.look_at_once(session, dated, now, Reason.WAITS_FOR_SCHEDULE)
    # Somebody may have switched collecting on again: what was not told because it had stopped is told now.
    collected = [
        one.invoice for one in heard if one.seen.auto_advance is True and owed(one.incident)
    ]
    if collected:
        waiting.untold_failures_due(session, collected, STOPPED_BECAUSE.values(), now)
    note_ends(
        session,
        [
            (one.incident, one.event if one.ends_it or not one.incident.end_noted else None)
            for one in heard
            if _may_have_ended(one.incident, now)
        ],
        now,
    )
    suppressed = {
        invoice: count
        for reason in sorted(closed)
        for invoice, count in notifications.suppress_waiting(
            session, reason, now, invoices=closed[reason]
        ).items()
    }
    outcomes = {}
    for one in heard:
        outcome = f"incident {one.incident.status}"
        if one.incident.closed_because is not None:
            outcome += f", {suppressed.get(one.invoice, 0)} suppressed"
            if announce_recovery(
                session, one.incident, one.event.correlation_id, now, one.event.traceparent
            ):
                outcome += ", recovery announced"
        outcomes[one.event.id] = outcome
    return outcomes


def _may_have_ended(incident: Incident, now: dt.datetime) -> bool:
    """Whether the business is to hear how collecting ended, or waits to hear it and there is news."""
    ended = ending(incident, None, now=now, waited=incident.waited(now)) is not None
    return ended or incident.end_noted


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
    if not wants_recovered_email(incident) or suppressions.customer_deleted(
        session, incident.customer.name
    ):
        return False
    news = {
        Kind.PAYMENT_RECOVERED: recovered_key(incident.name),
        Kind.CUSTOMER_RECOVERED: business_recovered_key(incident.name),
    }
    added = [
        notifications.add_notification(
            session,
            NewNotification(
                account=incident.account,
                dedupe_key=key,
                kind=kind,
                now=now,
                invoice_id=incident.invoice_id,
                attempt=incident.attempt_count,
                stripe_customer_id=incident.stripe_customer_id,
                on_behalf_of=incident.on_behalf_of,
                correlation_id=correlation_id,
                traceparent=traceparent,
            ),
        )
        for kind, key in news.items()
    ]
    return any(added)
