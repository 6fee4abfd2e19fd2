"""What people did with dead letters."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.orm import Session

from services.billing.models import DeadLetterAction


def note_dead_letter(
    session: Session,
    *,
    queue: str,
    event_id: str,
    action: str,
    reason: str,
    attempts: int,
    now: dt.datetime,
) -> None:
    """Keep what a person did with a dead letter."""
    session.add(
        DeadLetterAction(
            queue=queue[:255],
            event_id=event_id[:512],
            action=action,
            reason=reason[:500],
            attempts=attempts,
            at=now,
        )
    )
