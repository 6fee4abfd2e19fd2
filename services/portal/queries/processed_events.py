"""The events that were acted upon."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.portal.models import ProcessedEventRow
from shared.statements import insert_new_rows, table_of


def first_times(session: Session, event_ids: Sequence[str], now: dt.datetime) -> list[bool]:
    """Note the events as processed; of each, whether it was not already, and is no second copy in this batch. In one order, so that
    two batches with the same events never wait for each other in a circle."""
    rows = [{"event_id": one, "processed_at": now} for one in sorted(set(event_ids))]
    fresh = set(
        insert_new_rows(
            session,
            table_of(ProcessedEventRow),
            rows,
            conflict=("event_id",),
            returning="event_id",
        )
    )
    outcomes = []
    for one in event_ids:
        outcomes.append(one in fresh)
        fresh.discard(one)
    return outcomes
