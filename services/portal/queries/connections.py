"""Ways to connect a Stripe account."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, ConnectionRow
from shared.statements import changed


def end_others(session: Session, business_pk: int, now: dt.datetime) -> None:
    """Let no link of a business be good any more. One by which somebody is at Stripe now is ended, too."""
    changed(
        session,
        update(ConnectionRow)
        .where(ConnectionRow.business_pk == business_pk, ConnectionRow.expires_at > now)
        .values(expires_at=now, state_digest=None),
    )


def by_link(
    session: Session, link_digest: str, *, lock: bool = False
) -> tuple[ConnectionRow, BusinessRow] | None:
    """The way that begins with a link, with its business."""
    statement = (
        select(ConnectionRow, BusinessRow)
        .join(BusinessRow, ConnectionRow.business_pk == BusinessRow.id)
        .where(ConnectionRow.link_digest == link_digest)
    )
    if lock:
        statement = statement.with_for_update(of=ConnectionRow)
    return session.execute(statement).tuples().one_or_none()


def by_state(session: Session, state_digest: str) -> tuple[ConnectionRow, BusinessRow] | None:
    """The way by which somebody was sent to Stripe with a state, locked for change, with its business."""
    return (
        session.execute(
            select(ConnectionRow, BusinessRow)
            .join(BusinessRow, ConnectionRow.business_pk == BusinessRow.id)
            .where(ConnectionRow.state_digest == state_digest)
            .with_for_update(of=ConnectionRow)
        )
        .tuples()
        .one_or_none()
    )


def business_of(session: Session, id: int) -> BusinessRow | None:
    """Whose way it is, locked for change; the way is not."""
    statement = (
        select(BusinessRow)
        .join(ConnectionRow, ConnectionRow.business_pk == BusinessRow.id)
        .where(ConnectionRow.id == id)
    )
    return session.scalar(statement.with_for_update(of=BusinessRow))


def by_id(session: Session, id: int) -> ConnectionRow | None:
    """A way, locked for change."""
    return session.get(ConnectionRow, id, with_for_update=True)


def businesses_on(session: Session, accounts: Collection[str]) -> list[BusinessRow]:
    """The businesses on these accounts."""
    return list(
        session.scalars(
            select(BusinessRow).where(BusinessRow.account.in_(accounts)).order_by(BusinessRow.id)
        )
    )
