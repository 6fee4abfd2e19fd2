"""Requests that hosts may repeat: what was done for each is noted in the transaction that does it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifier.models import ProcessedEvent
from shared.contracts.host_api import REPEATED_WITHIN
from shared.statements import insert_new, table_of


def begin(session: Session, method: str, request_id: str, now: dt.datetime) -> str | None:
    """What came of this request within the time in which it may be repeated; None: it is new, and is noted as done (`finish`). One that
    comes at the same moment waits here for the end of the first."""
    name = _name(request_id)
    row = {"event_id": name, "type": method, "outcome": "", "processed_at": now}
    conflict = ["event_id"]
    if insert_new(session, table_of(ProcessedEvent), [row], conflict=conflict, returning="event_id"):  # fmt: skip
        return None
    statement = select(ProcessedEvent).where(ProcessedEvent.event_id == name).with_for_update()
    known = session.scalars(statement).one()
    if now - known.processed_at < REPEATED_WITHIN:
        return known.outcome
    known.processed_at = now
    return None


def finish(session: Session, request_id: str, outcome: str) -> None:
    """Keep what came of a request that has begun in this transaction."""
    session.get_one(ProcessedEvent, _name(request_id)).outcome = outcome


def _name(request_id: str) -> str:
    return f"request/{request_id}"
