"""What customers did on the page, for looking back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.portal.domain.activity import PageActivity
from services.portal.models import ActivityRow
from shared.statements import changed, table_of


def note(session: Session, looks: Sequence[PageActivity]) -> None:
    """Add these to what is known, in one statement."""
    if not looks:
        return
    rows = [{name: getattr(look, name) for name in PageActivity.__slots__} for look in looks]
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table_of(ActivityRow))
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["customer_id", "what", "bucket"],
            set_={
                "count": table_of(ActivityRow).c.count + statement.excluded.count,
                "last_at": statement.excluded.last_at,
            },
        ),
        rows,
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
