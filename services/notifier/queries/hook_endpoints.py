"""Endpoints of hosts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from services.notifier.domain.hooks import DeliveryStatus
from services.notifier.models import HookAttempt, HookDelivery, HookEndpoint
from shared.statements import hold_lock

LOCK: Final = 0x686F6F6B
"""PostgreSQL's advisory lock under which endpoints are counted and made."""


def exist(session: Session) -> bool:
    """Whether any host wants webhooks at all; one that is switched off may have them replayed."""
    return session.scalar(select(HookEndpoint.endpoint_id).limit(1)) is not None


def by_id(
    session: Session, endpoint_id: str, business_id: str | None = None, *, lock: bool = False
) -> HookEndpoint | None:
    """The endpoint, if it is this business's; None: whose it is doesn't matter."""
    statement = select(HookEndpoint).where(HookEndpoint.endpoint_id == endpoint_id)
    if business_id is not None:
        statement = statement.where(HookEndpoint.business_id == business_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def page(
    session: Session, business_id: str | None, limit: int, after: HookEndpoint | None
) -> list[HookEndpoint]:
    """Endpoints in the order in which they were made."""
    oldest = (HookEndpoint.created_at, HookEndpoint.endpoint_id)
    statement = select(HookEndpoint)
    if business_id is not None:
        statement = statement.where(HookEndpoint.business_id == business_id)
    if after is not None:
        statement = statement.where(tuple_(*oldest) > (after.created_at, after.endpoint_id))
    return list(session.scalars(statement.order_by(*oldest).limit(limit)))


def count_of(session: Session, business_id: str | None) -> int:
    """How many a business has, or the installation itself; nobody makes another one before the transaction ends."""
    hold_lock(session, LOCK)
    whose = HookEndpoint.business_id.is_(None) if business_id is None else HookEndpoint.business_id == business_id  # fmt: skip
    return session.scalar(select(func.count()).select_from(HookEndpoint).where(whose)) or 0


def that_hear(session: Session, business_ids: Collection[str]) -> list[HookEndpoint]:
    """Endpoints that hear of these businesses now: theirs, and the installation's."""
    statement = select(HookEndpoint).where(
        HookEndpoint.enabled,
        or_(HookEndpoint.business_id.is_(None), HookEndpoint.business_id.in_(business_ids)),
    )
    return list(session.scalars(statement))


def that_are_off(session: Session) -> int:
    """How many were switched off because they don't work."""
    off = HookEndpoint.disabled_because.in_(("gone", "failing"))
    return session.scalar(select(func.count()).select_from(HookEndpoint).where(off)) or 0


def note_success(session: Session, endpoint_id: str) -> None:
    """It works. Nothing is written, and nobody waits, where that is known."""
    _begin_anew(session, endpoint_id)


def forget_failures(session: Session, endpoint_id: str) -> None:
    """Nothing is tried at this endpoint for a while, so what it answered before says nothing about it afterwards. It stays as it is where
    another delivery waits for its next try: then it is tried."""
    waits = exists().where(
        HookDelivery.endpoint_id == endpoint_id,
        HookDelivery.status == DeliveryStatus.PENDING.value,
        HookDelivery.attempts > 0,
    )
    _begin_anew(session, endpoint_id, ~waits)


def _begin_anew(session: Session, endpoint_id: str, *which: ColumnElement[bool]) -> None:
    session.execute(
        update(HookEndpoint)
        .where(HookEndpoint.endpoint_id == endpoint_id, HookEndpoint.failures > 0, *which)
        .values(failures=0, failing_since=None, paused_until=None)
        .execution_options(synchronize_session=False)
    )


def take_probe(session: Session, endpoint_id: str, now: dt.datetime, until: dt.datetime) -> bool:
    """Whether this transaction may try an endpoint that fails: one of all processes does, until then."""
    taken = session.scalars(
        update(HookEndpoint)
        .where(
            HookEndpoint.endpoint_id == endpoint_id,
            or_(HookEndpoint.paused_until.is_(None), HookEndpoint.paused_until <= now),
        )
        .values(paused_until=until)
        .returning(HookEndpoint.endpoint_id)
        .execution_options(synchronize_session=False)
    ).all()
    return bool(taken)


def remove(session: Session, endpoint_id: str) -> None:
    """Forget an endpoint with its deliveries and attempts: the endpoint last, since whoever records an attempt has the delivery first."""
    for table in (HookAttempt, HookDelivery, HookEndpoint):
        session.execute(
            delete(table)
            .where(table.endpoint_id == endpoint_id)
            .execution_options(synchronize_session=False)
        )
