"""Statements that look back, count, or forget."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, and_, case, delete, func, not_, or_, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import DUNNING
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.models import (
    DeletedCustomer,
    IncidentRow,
    Notification,
    OutboxEvent,
    ProcessedEvent,
    SendGridEvent,
)
from shared.events import EVENTS

NOT_OURS: Final = (Reason.NOT_AUTOPAY.value, Reason.AT_CHECKOUT.value, Reason.OWN_RETRY.value)
"""Reasons that say: this was no failed autopay charge of its own."""
MOST_DURATIONS: Final = 100_000


def notifications_about(
    session: Session,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    customer_id: str | None,
    stripe_event_id: str | None,
    limit: int,
) -> list[Notification]:
    """The newest notifications about any of these, oldest first."""
    wanted = [
        column == value
        for column, value in (
            (Notification.invoice_id, invoice_id),
            (Notification.stripe_customer_id, stripe_customer_id),
            (Notification.customer_id, customer_id),
            (Notification.correlation_id, stripe_event_id),
        )
        if value is not None
    ]
    rows = session.scalars(
        select(Notification)
        .where(or_(*wanted))
        .order_by(Notification.created_at.desc(), Notification.notification_id)
        .limit(limit)
    ).all()
    return list(reversed(rows))


def incidents_about(
    session: Session, *, invoice_ids: Sequence[str], stripe_customer_id: str | None
) -> list[IncidentRow]:
    """The stories of these invoices, or of a customer's, newest 100."""
    wanted: ColumnElement[bool] = IncidentRow.invoice_id.in_(invoice_ids)
    if stripe_customer_id is not None:
        wanted = or_(wanted, IncidentRow.stripe_customer_id == stripe_customer_id)
    return list(
        session.scalars(
            select(IncidentRow).where(wanted).order_by(IncidentRow.opened_at.desc()).limit(100)
        )
    )


def processed_of(session: Session, stripe_event_ids: Sequence[str]) -> list[ProcessedEvent]:
    """What came of the events that these Stripe events became."""
    types = sorted({cls.type for cls in EVENTS.values()})
    ids = [f"{one}/{type_}" for one in stripe_event_ids for type_ in types]
    return list(session.scalars(select(ProcessedEvent).where(ProcessedEvent.event_id.in_(ids))))


def feedback_of(session: Session, notification_ids: Sequence[str]) -> list[SendGridEvent]:
    """What SendGrid reported of these notifications."""
    return list(
        session.scalars(
            select(SendGridEvent).where(SendGridEvent.notification_id.in_(notification_ids))
        )
    )


# --- counting -------------------------------------------------------------------------------------------------


def _failed_since(since: dt.datetime) -> ColumnElement[bool]:
    """Incidents of autopay charges that failed since then."""
    told = (
        select(Notification.notification_id)
        .where(
            Notification.invoice_id == IncidentRow.invoice_id,
            or_(Notification.reason.is_(None), Notification.reason.not_in(NOT_OURS)),
        )
        .exists()
    )
    return and_(IncidentRow.opened_at >= since, told)


def _mail(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(Notification.notification_id)
        .where(
            Notification.invoice_id == IncidentRow.invoice_id,
            Notification.kind.in_([kind.value for kind in DUNNING]),
            *conditions,
        )
        .exists()
    )


_WAIVED: Final = and_(
    IncidentRow.status == "paid", IncidentRow.amount_paid == 0, IncidentRow.amount_credited > 0
)
"""Let go by a credit note: Stripe calls it paid, and no money came in."""


def counts_by_currency(session: Session, since: dt.datetime) -> list[Any]:
    """(currency, status, waived, mailed, delivered, how many, due, paid, credited) of the failed autopay invoices."""
    mailed = _mail(Notification.sent_at.is_not(None)).label("mailed")
    delivered = _mail(Notification.delivered_at.is_not(None)).label("delivered")
    rows = (
        select(
            IncidentRow.currency,
            IncidentRow.status,
            _WAIVED.label("waived"),
            mailed,
            delivered,
            IncidentRow.amount_due.label("due"),
            # What is settled and names no amounts (an earlier release's) was paid: `contracts.invoices.settlement`.
            case(
                (
                    and_(IncidentRow.status == "paid", IncidentRow.amount_paid == 0, not_(_WAIVED)),
                    IncidentRow.amount_due,
                ),
                else_=IncidentRow.amount_paid,
            ).label("paid"),
            IncidentRow.amount_credited.label("credited"),
        )
        .where(_failed_since(since))
        .subquery()
    )
    keys = (rows.c.currency, rows.c.status, rows.c.waived, rows.c.mailed, rows.c.delivered)
    sums = (func.sum(rows.c.due), func.sum(rows.c.paid), func.sum(rows.c.credited))
    return list(session.execute(select(*keys, func.count(), *sums).group_by(*keys)))


def recovery_seconds(session: Session, since: dt.datetime) -> list[float]:
    """How long each recovered invoice took from its first failure to its payment (the newest 100,000)."""
    rows = session.execute(
        select(IncidentRow.opened_at, IncidentRow.closed_at)
        .where(
            _failed_since(since),
            IncidentRow.status == "paid",
            not_(_WAIVED),
            IncidentRow.closed_at.is_not(None),
        )
        .order_by(IncidentRow.opened_at.desc())
        .limit(MOST_DURATIONS)
    )
    return [max(0.0, (closed - opened).total_seconds()) for opened, closed in rows]


def by_day(session: Session, since: dt.datetime) -> list[Any]:
    """(day of the first failure in UTC, status, waived, how many)."""
    day = func.date(IncidentRow.opened_at)
    return list(
        session.execute(
            select(day, IncidentRow.status, _WAIVED, func.count())
            .where(_failed_since(since))
            .group_by(day, IncidentRow.status, _WAIVED)
            .order_by(day)
        )
    )


def mails_by_status(session: Session, since: dt.datetime) -> list[Any]:
    """(kind, status, reason of a suppressed one, how many) of the notifications made since then."""
    reason = Notification.reason
    return list(
        session.execute(
            select(Notification.kind, Notification.status, reason, func.count())
            .where(Notification.created_at >= since)
            .group_by(Notification.kind, Notification.status, reason)
        )
    )


# --- forgetting -----------------------------------------------------------------------------------------------


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
    gone = _changed(session, delete(SendGridEvent).where(SendGridEvent.notification_id.in_(mine)))
    gone += _changed(session, delete(Notification).where(or_(*wanted)))
    # What was said to the host application about this customer: a handful of rows, searched as text.
    for needle in filter(None, (stripe_customer_id, customer_id)):
        gone += _changed(
            session,
            delete(OutboxEvent)
            .where(OutboxEvent.body.contains(needle, autoescape=True))
            .execution_options(synchronize_session=False),
        )
    if stripe_customer_id:
        for table in (IncidentRow, DeletedCustomer):
            gone += _changed(
                session, delete(table).where(table.stripe_customer_id == stripe_customer_id)
            )
    return gone


def cancel(row: Notification) -> bool:
    """Keep a waiting notification from being sent; False when it is too late."""
    if row.status != Status.PENDING or row.unconfirmed_since is not None:
        return False
    row.status, row.reason = Status.SUPPRESSED.value, Reason.CANCELLED.value
    return True


def _changed(session: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
