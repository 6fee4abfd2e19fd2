"""What SendGrid's Event Webhook tells about messages that it took."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import (
    TO_BUSINESS,
    AddressHasher,
    Kind,
    Reason,
    Status,
    unreachable_key,
)
from services.notifier.handlers.delivery import mark_others_sent, mark_sent
from services.notifier.metrics import FEEDBACK
from services.notifier.models import Notification
from shared.database import count_on_commit
from shared.events import Event, NotificationUndeliverable
from shared.outbox import Outgoing

CONCERNS_US: Final = frozenset(
    {"processed", "delivered", "deferred", "bounce", "dropped", "spamreport"}
)
"""SendGrid's event names that change a notification; opens and clicks are not tracked and not read."""

_HARD_DROPS: Final = ("bounced address", "invalid", "invalid smtpapi header")
_COMPLAINT_DROPS: Final = ("spam reporting address",)


@dataclass(frozen=True, kw_only=True, repr=False)
class Feedback:
    """One event of the Event Webhook. `email` is the address it is about; it is hashed, never stored."""

    sg_event_id: str
    notification_id: str
    """Our custom argument; empty where SendGrid left it out, as it does when a mail server sends an email back hours later."""
    event: str
    occurred_at: dt.datetime
    email: str = ""
    message_id: str | None = None
    """SendGrid's name for the message, as it was told when it took it."""
    reason: str = ""
    bounce_type: str = ""
    """`bounce` (hard: there is no such mailbox) or `blocked` (soft: refused this time)."""


def handle(
    session: Session, batch: list[Feedback], now: dt.datetime, hasher: AddressHasher
) -> list[bool]:
    """Apply a batch of events inside the caller's transaction; of each whether it was new and about a notification of ours.

    Copies (normal: SendGrid promises at least once) and events about other senders' messages change nothing.
    """
    batch = _named(session, batch)
    known = queries.known_invoices(session, {item.notification_id for item in batch})
    ours = [item for item in batch if item.notification_id in known and item.event in CONCERNS_US]
    new_ids = queries.claim_sendgrid_events(
        session,
        [
            queries.NewSendGridEvent(
                sg_event_id=item.sg_event_id,
                notification_id=item.notification_id,
                event=item.event,
                occurred_at=item.occurred_at,
            )
            for item in ours
        ],
        now,
    )
    fresh = {item.sg_event_id: item for item in ours if item.sg_event_id in new_ids}.values()
    # Incidents are locked in one order, whatever order the batch has.
    for item in sorted(
        fresh, key=lambda item: (known[item.notification_id] or "", item.occurred_at)
    ):
        _apply(session, item, known[item.notification_id], now, hasher)
        count_on_commit(session, FEEDBACK.labels(item.event))
    outcomes = []
    for item in batch:
        outcomes.append(item.sg_event_id in new_ids)
        new_ids.discard(item.sg_event_id)  # a second copy in the same batch is not new
    return outcomes


def _named(session: Session, batch: list[Feedback]) -> list[Feedback]:
    """The events, of which those without our custom argument are about the notification that their message was sent for."""
    found = queries.sent_as(
        session, {item.message_id for item in batch if item.message_id and not item.notification_id}
    )
    return [
        item
        if item.notification_id
        else replace(item, notification_id=found.get(item.message_id or "", ""))
        for item in batch
    ]


def _apply(
    session: Session,
    item: Feedback,
    invoice_id: str | None,
    now: dt.datetime,
    hasher: AddressHasher,
) -> None:
    incident = queries.lock_known_incident(session, invoice_id)
    row = queries.by_id(session, item.notification_id, lock=True)
    if row is None:
        return
    # Every one of these events proves that SendGrid took the message: the answer that a time-out hid.
    mailed = mark_sent(session, row, incident, item.occurred_at, item.message_id)
    others = mark_others_sent(session, row, item.occurred_at)
    queries.store_incidents(session, [*others, mailed] if mailed is not None else others)
    if item.event == "delivered":
        row.delivered_at = row.delivered_at or item.occurred_at
        if row.status != Status.BOUNCED:
            row.status = Status.DELIVERED.value
    elif item.event == "deferred":
        row.last_error = _short(f"deferred: {item.reason}")
    elif item.event == "bounce":
        _bounced(row, f"bounced: {item.reason}")
        if item.bounce_type != "blocked":
            _stop_writing(session, item, Reason.ADDRESS_BOUNCED, now, row, hasher)
            _tell_the_host(session, row, "bounced", item.occurred_at, now)
    elif item.event == "dropped":
        _bounced(row, f"dropped by SendGrid: {item.reason}")
        _tell_the_host(session, row, "dropped", item.occurred_at, now)
        if item.reason.strip().lower() in _HARD_DROPS:
            _stop_writing(session, item, Reason.ADDRESS_BOUNCED, now, row, hasher)
        elif item.reason.strip().lower() in _COMPLAINT_DROPS:
            _stop_writing(session, item, Reason.ADDRESS_COMPLAINED, now, row, hasher)
    elif item.event == "spamreport":
        _stop_writing(session, item, Reason.ADDRESS_COMPLAINED, now, row, hasher)
        _tell_the_host(session, row, "spam_report", item.occurred_at, now)


def _bounced(row: Notification, why: str) -> None:
    row.status, row.reason = Status.BOUNCED.value, _short(why)


def _stop_writing(
    session: Session,
    item: Feedback,
    reason: Reason,
    now: dt.datetime,
    row: Notification,
    hasher: AddressHasher,
) -> None:
    """Nothing more goes to this address; of one that takes no mail the business hears, and can call."""
    if not item.email:
        return
    address = hasher(item.email)
    new = queries.suppress_address(session, address, reason, now, item.notification_id)
    if not new or reason is not Reason.ADDRESS_BOUNCED or Kind(row.kind) in TO_BUSINESS:
        return
    queries.add_notification(
        session,
        queries.NewNotification(
            dedupe_key=unreachable_key(address.plain),
            kind=Kind.CUSTOMER_UNREACHABLE,
            now=now,
            invoice_id=row.invoice_id,
            attempt=row.attempt,
            stripe_customer_id=row.stripe_customer_id,
            customer_id=row.customer_id,
            correlation_id=row.correlation_id,
        ),
    )


def _tell_the_host(
    session: Session, row: Notification, reason: str, at: dt.datetime, now: dt.datetime
) -> None:
    """Raise `notification.undeliverable`, once for an email and reason however often SendGrid says it."""
    data = NotificationUndeliverable(
        notification_id=row.notification_id,
        kind=row.kind,
        reason=reason,
        stripe_customer_id=row.stripe_customer_id,
        invoice_id=row.invoice_id,
        customer_id=row.customer_id,
    )
    key = f"{row.notification_id}/{reason}/{data.type}"
    event = Event(
        id=key,
        occurred_at=at,
        correlation_id=row.correlation_id or row.notification_id,
        data=data,
    )
    queries.OUTBOX.add(session, [Outgoing(event, key)], now)


def _short(text: str) -> str:
    """A mail server's own words, cut to a line. They can quote the address: that is taken out."""
    words = [word if "@" not in word else "…" for word in text.split()]
    return " ".join(words)[:300]
