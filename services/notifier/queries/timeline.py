"""What is kept of an invoice, a customer or an event, for its time line."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from services.notifier.models import IncidentRow, Notification, ProcessedEvent, SendGridEvent
from shared.contracts.accounts import Account, StripeId, our_event_id
from shared.events import EVENTS
from shared.statements import is_object


def notifications_about(
    session: Session,
    account: Account,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    customer_id: str | None,
    stripe_event_id: str | None,
    limit: int,
) -> list[Notification]:
    """The newest notifications about any of these, oldest first."""
    at_stripe = (
        (Notification.invoice_id, invoice_id),
        (Notification.stripe_customer_id, stripe_customer_id),
        (Notification.correlation_id, stripe_event_id),
    )
    wanted = [
        is_object(Notification.account, column, StripeId(account, value))
        for column, value in at_stripe
        if value is not None
    ]
    if customer_id is not None:
        wanted.append(Notification.customer_id == customer_id)
    rows = session.scalars(
        select(Notification)
        .where(or_(*wanted))
        .order_by(Notification.created_at.desc(), Notification.notification_id)
        .limit(limit)
    ).all()
    return list(reversed(rows))


def told_elsewhere(session: Session, mails: Sequence[Notification]) -> list[Notification]:
    """The emails, not among these, in which some of these are told."""
    known = {row.notification_id for row in mails}
    wanted = sorted({row.told_in for row in mails if row.told_in} - known)
    if not wanted:
        return []
    return list(
        session.scalars(select(Notification).where(Notification.notification_id.in_(wanted)))
    )


def incidents_about(
    session: Session,
    account: Account,
    *,
    invoice_ids: Sequence[str],
    stripe_customer_id: str | None,
) -> list[IncidentRow]:
    """The stories of these invoices, or of a customer's, newest 100."""
    wanted: ColumnElement[bool] = IncidentRow.invoice_id.in_(invoice_ids)
    if stripe_customer_id is not None:
        wanted = or_(wanted, IncidentRow.stripe_customer_id == stripe_customer_id)
    return list(
        session.scalars(
            select(IncidentRow)
            .where(IncidentRow.account == account, wanted)
            .order_by(IncidentRow.opened_at.desc())
            .limit(100)
        )
    )


def processed_of(
    session: Session, account: Account, stripe_event_ids: Sequence[str]
) -> list[ProcessedEvent]:
    """What came of the events that these Stripe events became."""
    types = sorted({cls.type for cls in EVENTS.values()})
    ids = [our_event_id(account, one, type_) for one in stripe_event_ids for type_ in types]
    return list(session.scalars(select(ProcessedEvent).where(ProcessedEvent.event_id.in_(ids))))


def feedback_of(session: Session, notification_ids: Sequence[str]) -> list[SendGridEvent]:
    """What SendGrid reported of these notifications."""
    return list(
        session.scalars(
            select(SendGridEvent).where(SendGridEvent.notification_id.in_(notification_ids))
        )
    )
