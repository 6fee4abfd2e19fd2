"""What customers did on the page, for looking back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.portal.domain.activity import PageActivity
from services.portal.models import ActivityRow
from shared.statements import add_to_rows, changed, table_of

AT_A_TIME: Final = 500
"""Looks that are written at once: others go on between two such statements."""


def note(session: Session, looks: Sequence[PageActivity]) -> None:
    """Add these to what is known, `AT_A_TIME` in one statement."""
    rows = [{name: getattr(look, name) for name in PageActivity.__slots__} for look in looks]
    for start in range(0, len(rows), AT_A_TIME):
        add_to_rows(
            session,
            table_of(ActivityRow),
            rows[start : start + AT_A_TIME],
            conflict=("customer_id", "what", "bucket"),
            changes="count = visits.count + excluded.count, last_at = excluded.last_at",
        )


def of_customer(
    session: Session, customer_id: str, since: dt.datetime | None, limit: int
) -> list[ActivityRow]:
    """The newest of what a customer did, oldest first."""
    statement = select(ActivityRow).where(ActivityRow.customer_id == customer_id)
    if since is not None:
        statement = statement.where(ActivityRow.last_at >= since)
    newest = session.scalars(statement.order_by(ActivityRow.last_at.desc()).limit(limit)).all()
    return list(reversed(newest))


def forget(session: Session, before: dt.datetime, limit: int) -> int:
    """Forget up to `limit` rows of before a moment; how many they were."""
    old = select(ActivityRow.id).where(ActivityRow.first_at < before).limit(limit)
    return changed(session, delete(ActivityRow).where(ActivityRow.id.in_(old)))
