"""Requests of the HTTP API that came with an `Idempotency-Key`."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from services.portal.models import IdempotentRequestRow as Row
from shared.statements import changed, insert_new, table_of


def insert(session: Session, digest: str, body_digest: str, now: dt.datetime) -> bool:
    """Note a request as under way; False: it is there already."""
    row = {"digest": digest, "body_digest": body_digest, "began_at": now}
    return bool(insert_new(session, table_of(Row), [row], conflict=["digest"], returning="digest"))


def locked(session: Session, digest: str) -> Row | None:
    """A request, locked for change."""
    return session.scalars(select(Row).where(Row.digest == digest).with_for_update()).one_or_none()


def finish(
    session: Session, digest: str, began_at: dt.datetime, status: int, answer: str | None
) -> bool:
    """Keep what a request that is under way since `began_at` is answered; False: it isn't any more."""
    under_way = (Row.digest == digest, Row.began_at == began_at, Row.status.is_(None))
    statement = update(Row).where(*under_way).values(status=status, answer=answer)
    return changed(session, statement) == 1


def drop(session: Session, digest: str, began_at: dt.datetime) -> None:
    """Forget a request that is under way since `began_at`."""
    under_way = (Row.digest == digest, Row.began_at == began_at, Row.status.is_(None))
    changed(session, delete(Row).where(*under_way))
