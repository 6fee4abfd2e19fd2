"""Notifications sent again by hand."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session, aliased

from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import Notification
from shared.contracts.accounts import StripeId
from shared.statements import is_object


def count_resends(session: Session, notification_id: str) -> tuple[int, Notification | None]:
    """How often this notification was sent again by hand, and the resend that still waits, if any."""
    prefix = f"resend/{notification_id}/"
    rows = session.scalars(
        select(Notification).where(Notification.dedupe_key.startswith(prefix, autoescape=True))
    ).all()
    waiting = next((row for row in rows if row.status in ACTIVE), None)
    return len(rows), waiting


def failed_notifications(
    session: Session,
    *,
    since: dt.datetime | None,
    before: dt.datetime | None,
    invoice: StripeId | None,
    limit: int,
) -> list[Notification]:
    """Notifications that certainly never went out, and were not asked for again since, oldest first.

    `since` and `before` are about when they failed.

    One whose delivery is unconfirmed (`UNCONFIRMED_TWICE`) is left to a person's own decision: the customer may have it. Welcomes are
    left out: they go at their business's rate, by day, when they are asked for again (`handlers/welcomes.py`).
    """
    again = aliased(Notification)
    asked_again = (
        select(again.notification_id)
        .where(
            again.dedupe_key.startswith(
                literal("resend/") + Notification.notification_id + literal("/")
            )
        )
        .exists()
    )
    failed_at = func.coalesce(Notification.finished_at, Notification.created_at)
    statement = select(Notification).where(
        Notification.status == Status.FAILED.value,
        Notification.reason != Reason.UNCONFIRMED_TWICE.value,
        Notification.kind != Kind.WELCOME.value,
        ~asked_again,
    )
    if since is not None:
        statement = statement.where(failed_at >= since)
    if before is not None:
        statement = statement.where(failed_at <= before)
    if invoice is not None:
        statement = statement.where(
            is_object(Notification.account, Notification.invoice_id, invoice)
        )
    oldest = (Notification.created_at, Notification.notification_id)
    return list(
        session.scalars(statement.order_by(*oldest).limit(limit).with_for_update(of=Notification))
    )
