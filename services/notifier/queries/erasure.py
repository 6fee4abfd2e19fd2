"""Forgetting a customer."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, false, or_, select
from sqlalchemy.orm import Session

from services.notifier.models import (
    DeletedCustomer,
    IncidentRow,
    Notification,
    OutboxEvent,
    SendGridEvent,
)
from services.notifier.queries import hook_events, welcomes
from shared.contracts.accounts import StripeCustomer, StripeId
from shared.mentions import mentioned
from shared.outbox import said_of
from shared.statements import changed, is_customer, is_object


def erase_customer(
    session: Session,
    stripe_customer: StripeId | None,
    customer_id: str | None,
    on_behalf_of: str | None = None,
) -> int:
    """Delete all that is kept of a customer; how many rows that were. With `on_behalf_of` the Stripe customer stays another business's:
    of what names it, only what is charged so goes.

    The hash of an address that bounced or complained stays: without it that person could be written to again.
    """
    wanted, theirs = [], stripe_customer
    if stripe_customer and on_behalf_of is not None:
        wanted.append(_of_merchant(Notification, stripe_customer, on_behalf_of))
        theirs = None
    elif stripe_customer:
        wanted.append(
            is_object(Notification.account, Notification.stripe_customer_id, stripe_customer)
        )
    if customer_id:
        wanted.append(Notification.customer_id == customer_id)
    mine = select(Notification.notification_id).where(or_(*wanted))
    gone = changed(session, delete(SendGridEvent).where(SendGridEvent.notification_id.in_(mine)))
    gone += changed(session, delete(Notification).where(or_(*wanted)))
    if theirs or customer_id:
        gone += hook_events.erase_customer(session, theirs, customer_id)
    gone += welcomes.erase_customer(session, customer_id)
    # What was said to the host application about this customer: a handful of rows, searched as text.
    said = []
    if theirs:
        named = mentioned(OutboxEvent.body, theirs.id)
        said.append(and_(said_of(OutboxEvent.body, theirs.account), named))
    if customer_id:
        said.append(mentioned(OutboxEvent.body, customer_id))
    gone += changed(
        session,
        delete(OutboxEvent).where(or_(false(), *said)).execution_options(synchronize_session=False),
    )
    if theirs:
        for table in (IncidentRow, DeletedCustomer):
            gone += changed(
                session,
                delete(table).where(is_object(table.account, table.stripe_customer_id, theirs)),
            )
    elif stripe_customer:
        mine_alone = _of_merchant(IncidentRow, stripe_customer, on_behalf_of or "")
        gone += changed(session, delete(IncidentRow).where(mine_alone))
    return gone


def _of_merchant(
    table: type[Notification | IncidentRow], stripe_customer: StripeId, on_behalf_of: str
) -> ColumnElement[bool]:
    customer = StripeCustomer(*stripe_customer, on_behalf_of)
    return is_customer(table.account, table.stripe_customer_id, table.on_behalf_of, customer)
