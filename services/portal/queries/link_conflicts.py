"""Conflicts on record: a Stripe customer that two are said to be."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from services.portal.models import CustomerRow, LinkConflictRow
from services.portal.queries.links import Component
from shared.statements import changed


def conflicts_of(session: Session, found: Component) -> dict[tuple[str, str], LinkConflictRow]:
    """The conflicts on record about these customers and Stripe customers: by Stripe customer and public id."""
    public_ids = [one.row.public_id for one in found.customers.values()]
    rows = session.scalars(
        select(LinkConflictRow).where(
            LinkConflictRow.account == found.merchant.account,
            LinkConflictRow.on_behalf_of == found.merchant.on_behalf_of,
            or_(
                LinkConflictRow.stripe_customer_id.in_(found.stripe_ids),
                LinkConflictRow.customer_id.in_(public_ids),
            ),
        )
    )
    return {(row.stripe_customer_id, row.customer_id): row for row in rows}


def close_of_business(session: Session, business_pk: int, now: dt.datetime) -> None:
    """The conflicts about a business's customers are none any more."""
    people = select(CustomerRow.public_id).where(CustomerRow.business_pk == business_pk)
    changed(
        session,
        update(LinkConflictRow)
        .where(LinkConflictRow.customer_id.in_(people), LinkConflictRow.resolved_at.is_(None))
        .values(resolved_at=now),
    )


def open_conflicts(session: Session, limit: int) -> list[LinkConflictRow]:
    """Conflicts that somebody has to look at, the newest first."""
    return list(
        session.scalars(
            select(LinkConflictRow)
            .where(LinkConflictRow.resolved_at.is_(None))
            .order_by(LinkConflictRow.seen_at.desc(), LinkConflictRow.id.desc())
            .limit(limit)
        )
    )
