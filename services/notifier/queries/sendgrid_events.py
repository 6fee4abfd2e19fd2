"""SendGrid's events that were acted upon, and the notifications that they are about."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifier.models import Notification, SendGridEvent
from shared.contracts.accounts import StripeId, stripe_id
from shared.statements import insert_new, table_of


@dataclass(frozen=True, kw_only=True)
class NewSendGridEvent:
    """What is kept of one event of the Event Webhook."""

    sg_event_id: str
    notification_id: str
    event: str
    occurred_at: dt.datetime


def claim_sendgrid_events(
    session: Session, events: Sequence[NewSendGridEvent], now: dt.datetime
) -> set[str]:
    """The ids of those events that were not acted upon before."""
    unique = {event.sg_event_id: event for event in events}
    rows = [asdict(event) | {"received_at": now} for _, event in sorted(unique.items())]
    return set(
        insert_new(
            session,
            table_of(SendGridEvent),
            rows,
            conflict=["sg_event_id"],
            returning="sg_event_id",
        )
    )


def known_invoices(session: Session, notification_ids: Iterable[str]) -> dict[str, StripeId | None]:
    """The invoice of each notification that exists."""
    rows = session.execute(
        select(Notification.notification_id, Notification.account, Notification.invoice_id).where(
            Notification.notification_id.in_(list(notification_ids))
        )
    )
    return {row.notification_id: stripe_id(row.account, row.invoice_id) for row in rows}


def sent_as(session: Session, message_ids: Collection[str]) -> dict[str, str]:
    """The notification that was sent as each of these messages of SendGrid's. Of a name that two have, neither: it tells
    nothing."""
    if not message_ids:
        return {}
    rows = session.execute(
        select(Notification.provider_message_id, Notification.notification_id).where(
            Notification.provider_message_id.in_(sorted(message_ids))
        )
    ).all()
    times = Counter(row.provider_message_id for row in rows)
    return {
        row.provider_message_id: row.notification_id
        for row in rows
        if times[row.provider_message_id] == 1
    }
