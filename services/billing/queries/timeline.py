"""What is kept of an invoice, a customer or an event, for its time line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.billing.models import DeadLetterAction, InboxEvent, inbox_account_is
from shared.contracts.accounts import Account, StripeId, our_event_id

CARD_EVENTS = (
    "customer.updated",
    "customer.source.updated",
    "customer.subscription.updated",
    "payment_method.automatically_updated",
)
"""Types that may tell of a new card."""


def inbox_about(
    session: Session,
    account: Account,
    *,
    object_id: str | None,
    stripe_customer_id: str | None,
    limit: int,
) -> list[InboxEvent]:
    """The newest stored events about an invoice or a Stripe customer, oldest first."""
    wanted = [
        column == value
        for column, value in (
            (InboxEvent.object_id, object_id),
            (InboxEvent.stripe_customer_id, stripe_customer_id),
        )
        if value is not None
    ]
    if not wanted:
        return []
    rows = session.scalars(
        select(InboxEvent)
        .where(inbox_account_is(account), or_(*wanted))
        .order_by(InboxEvent.received_at.desc(), InboxEvent.id)
        .limit(limit)
    ).all()
    return list(reversed(rows))


def cards_changed(
    session: Session, customer: StripeId, since: dt.datetime, limit: int
) -> list[InboxEvent]:
    """The customer's events since then that may tell of a new card, oldest first."""
    return list(
        session.scalars(
            select(InboxEvent)
            .where(
                inbox_account_is(customer.account),
                InboxEvent.stripe_customer_id == customer.id,
                InboxEvent.received_at >= since,
                InboxEvent.type.in_(CARD_EVENTS),
                InboxEvent.status == "translated",
            )
            .order_by(InboxEvent.received_at)
            .limit(limit)
        )
    )


def dead_letter_actions(
    session: Session, stripe_events: Sequence[StripeId]
) -> list[DeadLetterAction]:
    """What people did with dead letters that came of these Stripe events, of whatever type: one that this version does
    not know is a likely dead letter. There are few rows, so that no index is needed."""
    if not stripe_events:
        return []
    ours = (
        DeadLetterAction.event_id.startswith(our_event_id(*one, ""), autoescape=True)
        for one in stripe_events
    )
    return list(
        session.scalars(select(DeadLetterAction).where(or_(*ours)).order_by(DeadLetterAction.id))
    )
