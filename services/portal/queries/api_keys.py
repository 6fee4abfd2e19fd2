"""Keys of the HTTP API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update
from sqlalchemy.orm import Session

from services.portal.models import ApiKeyRow, BusinessRow
from shared.statements import changed


def _is_good(now: dt.datetime) -> ColumnElement[bool]:
    return and_(
        ApiKeyRow.revoked_at.is_(None),
        or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > now),
    )


def good(session: Session, digests: Collection[str], now: dt.datetime) -> Sequence[Row[Any]]:
    """The keys with these digests that are neither revoked nor expired, each with the host's id of its business."""
    return session.execute(
        select(
            ApiKeyRow.id,
            ApiKeyRow.key_id,
            ApiKeyRow.digest,
            ApiKeyRow.scopes,
            ApiKeyRow.business_pk,
            ApiKeyRow.last_used_at,
            BusinessRow.business_id,
        )
        .outerjoin(BusinessRow, ApiKeyRow.business_pk == BusinessRow.id)
        .where(ApiKeyRow.digest.in_(digests), _is_good(now))
    ).all()


def note_use(
    session: Session, keys: Collection[int], now: dt.datetime, every: dt.timedelta
) -> None:
    """Remember that these were used now, unless somebody has within `every`."""
    changed(
        session,
        update(ApiKeyRow)
        .where(
            ApiKeyRow.id.in_(keys),
            or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= now - every),
        )
        .values(last_used_at=now),
    )


def count_good(session: Session, business_pk: int | None, name: str, now: dt.datetime) -> int:
    """How many keys of one name and owner are good."""
    statement = select(func.count()).where(_of(business_pk), ApiKeyRow.name == name, _is_good(now))
    return session.scalar(statement) or 0


def _of(business_pk: int | None) -> ColumnElement[bool]:
    if business_pk is None:
        return ApiKeyRow.business_pk.is_(None)
    return ApiKeyRow.business_pk == business_pk


def listed(session: Session, business_pk: int | None) -> list[tuple[ApiKeyRow, str | None]]:
    """All keys, or those of one business, each with the host's id of its business; the oldest first."""
    statement = (
        select(ApiKeyRow, BusinessRow.business_id)
        .outerjoin(BusinessRow, ApiKeyRow.business_pk == BusinessRow.id)
        .order_by(ApiKeyRow.id)
    )
    if business_pk is not None:
        statement = statement.where(_of(business_pk))
    return [(row, business_id) for row, business_id in session.execute(statement).tuples()]


def by_id(session: Session, key_id: str) -> tuple[ApiKeyRow, str | None] | None:
    """One key, locked for change, with the host's id of its business."""
    row = session.scalars(
        select(ApiKeyRow).where(ApiKeyRow.key_id == key_id).with_for_update()
    ).one_or_none()
    if row is None:
        return None
    business = session.get(BusinessRow, row.business_pk) if row.business_pk else None
    return row, business.business_id if business else None
