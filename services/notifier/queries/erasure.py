"""Forgetting a customer."""

from __future__ import annotations

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from services.notifier.models import (
    DeletedCustomer,
    IncidentRow,
    Notification,
    OutboxEvent,
    SendGridEvent,
)
from shared.statements import changed


def erase_customer(
    session: Session, stripe_customer_id: str | None, customer_id: str | None
) -> int:
    """Delete all that is kept of a customer; how many rows that were.

    The hash of an address that bounced or complained stays: without it that person could be written to again.
    """
    wanted = []
    if stripe_customer_id:
        wanted.append(Notification.stripe_customer_id == stripe_customer_id)
    if customer_id:
        wanted.append(Notification.customer_id == customer_id)
    mine = select(Notification.notification_id).where(or_(*wanted))
    gone = changed(session, delete(SendGridEvent).where(SendGridEvent.notification_id.in_(mine)))
    gone += changed(session, delete(Notification).where(or_(*wanted)))
    # What was said to the host application about this customer: a handful of rows, searched as text.
    for needle in filter(None, (stripe_customer_id, customer_id)):
        gone += changed(
            session,
            delete(OutboxEvent)
            .where(OutboxEvent.body.contains(needle, autoescape=True))
            .execution_options(synchronize_session=False),
        )
    if stripe_customer_id:
        for table in (IncidentRow, DeletedCustomer):
            gone += changed(
                session, delete(table).where(table.stripe_customer_id == stripe_customer_id)
            )
    return gone
