"""Forgetting a customer."""

from __future__ import annotations

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from services.notifier.models import (
    DeletedCustomer,
    IncidentRow,
    Notification,
    OutboxEvent,
    SendGridEvent,
)
from services.notifier.queries import hook_events
from shared.contracts.accounts import StripeId
from shared.mentions import mentioned
from shared.outbox import said_of
from shared.statements import changed, is_object


def erase_customer(
    session: Session, stripe_customer: StripeId | None, customer_id: str | None
) -> int:
    """Delete all that is kept of a customer; how many rows that were.

    The hash of an address that bounced or complained stays: without it that person could be written to again.
    """
    wanted = []
    if stripe_customer:
        wanted.append(
            is_object(Notification.account, Notification.stripe_customer_id, stripe_customer)
        )
    if customer_id:
        wanted.append(Notification.customer_id == customer_id)
    mine = select(Notification.notification_id).where(or_(*wanted))
    gone = changed(session, delete(SendGridEvent).where(SendGridEvent.notification_id.in_(mine)))
    gone += changed(session, delete(Notification).where(or_(*wanted)))
    gone += hook_events.erase_customer(session, stripe_customer, customer_id)
    # What was said to the host application about this customer: a handful of rows, searched as text.
    said = []
    if stripe_customer:
        named = mentioned(OutboxEvent.body, stripe_customer.id)
        said.append(and_(said_of(OutboxEvent.body, stripe_customer.account), named))
    if customer_id:
        said.append(mentioned(OutboxEvent.body, customer_id))
    gone += changed(
        session,
        delete(OutboxEvent).where(or_(*said)).execution_options(synchronize_session=False),
    )
    if stripe_customer:
        for table in (IncidentRow, DeletedCustomer):
            gone += changed(
                session,
                delete(table).where(
                    is_object(table.account, table.stripe_customer_id, stripe_customer)
                ),
            )
    return gone
