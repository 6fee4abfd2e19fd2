"""Counts of failed charges, and of what became of them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select, true
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import DUNNING
from services.notifier.domain.vocabulary import Reason
from services.notifier.models import IncidentRow, Notification
from shared.contracts.accounts import Merchant

NOT_OURS: Final = (Reason.NOT_AUTOPAY.value, Reason.AT_CHECKOUT.value, Reason.OWN_RETRY.value)
"""Reasons that say: this was no failed autopay charge of its own."""
MOST_DURATIONS: Final = 100_000


def _of(table: type[IncidentRow | Notification], merchant: Merchant | None) -> ColumnElement[bool]:
    """Whose they are; all of them without `merchant`."""
    if merchant is None:
        return true()
    return and_(table.account == merchant.account, table.on_behalf_of == merchant.on_behalf_of)


def _failed_since(since: dt.datetime, merchant: Merchant | None) -> ColumnElement[bool]:
    """Incidents of autopay charges that failed since then."""
    told = (
        select(Notification.notification_id)
        .where(
            Notification.account == IncidentRow.account,
            Notification.invoice_id == IncidentRow.invoice_id,
            or_(Notification.reason.is_(None), Notification.reason.not_in(NOT_OURS)),
        )
        .exists()
    )
    return and_(IncidentRow.opened_at >= since, told, _of(IncidentRow, merchant))


def _mail(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(Notification.notification_id)
        .where(
            Notification.account == IncidentRow.account,
            Notification.invoice_id == IncidentRow.invoice_id,
            Notification.kind.in_([kind.value for kind in DUNNING]),
            *conditions,
        )
        .exists()
    )


_WAIVED: Final = and_(
    IncidentRow.status == "paid", IncidentRow.amount_paid <= 0, IncidentRow.amount_due <= 0
)
"""Let go: Stripe calls it paid, and no money came in (`contracts.invoices.settlement`)."""


def counts_by_currency(
    session: Session, since: dt.datetime, merchant: Merchant | None = None
) -> list[Any]:
    """(currency, status, waived, mailed, delivered, how many, due, paid, credited) of the failed autopay invoices; of one merchant
    alone where it is named, here and below."""
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
            # What a paid one still asked for was paid: `contracts.invoices.settlement`.
            case(
                (
                    and_(
                        IncidentRow.status == "paid",
                        IncidentRow.amount_paid < IncidentRow.amount_due,
                    ),
                    IncidentRow.amount_due,
                ),
                else_=IncidentRow.amount_paid,
            ).label("paid"),
            IncidentRow.amount_credited.label("credited"),
        )
        .where(_failed_since(since, merchant))
        .subquery()
    )
    keys = (rows.c.currency, rows.c.status, rows.c.waived, rows.c.mailed, rows.c.delivered)
    sums = (func.sum(rows.c.due), func.sum(rows.c.paid), func.sum(rows.c.credited))
    return list(session.execute(select(*keys, func.count(), *sums).group_by(*keys)))


def recovery_seconds(
    session: Session, since: dt.datetime, merchant: Merchant | None = None
) -> list[float]:
    """How long each recovered invoice took from its first failure to its payment (the newest 100,000)."""
    rows = session.execute(
        select(IncidentRow.opened_at, IncidentRow.closed_at)
        .where(
            _failed_since(since, merchant),
            IncidentRow.status == "paid",
            not_(_WAIVED),
            IncidentRow.closed_at.is_not(None),
        )
        .order_by(IncidentRow.opened_at.desc())
        .limit(MOST_DURATIONS)
    )
    return [max(0.0, (closed - opened).total_seconds()) for opened, closed in rows]


def by_day(session: Session, since: dt.datetime, merchant: Merchant | None = None) -> list[Any]:
    """(day of the first failure in UTC, status, waived, how many)."""
    day = func.date(IncidentRow.opened_at)
    return list(
        session.execute(
            select(day, IncidentRow.status, _WAIVED, func.count())
            .where(_failed_since(since, merchant))
            .group_by(day, IncidentRow.status, _WAIVED)
            .order_by(day)
        )
    )


def mails_by_status(
    session: Session, since: dt.datetime, merchant: Merchant | None = None
) -> list[Any]:
    """(kind, status, reason of a suppressed one, how many) of the notifications made since then."""
    reason = Notification.reason
    return list(
        session.execute(
            select(Notification.kind, Notification.status, reason, func.count())
            .where(Notification.created_at >= since, _of(Notification, merchant))
            .group_by(Notification.kind, Notification.status, reason)
        )
    )
