"""The events that were acted upon."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from sqlalchemy.orm import Session

from services.portal.models import ProcessedEventRow
from shared.statements import insert_new_rows, table_of


def first_times(session: Session, event_ids: Iterable[str], now: dt.datetime) -> set[str]:
    """Note the events as processed; those that were not already. In one order, so that two batches with the same
    events never wait for each other in a circle."""
    rows = [{"event_id": one, "processed_at": now} for one in sorted(set(event_ids))]
    return set(
        insert_new_rows(
            session,
            table_of(ProcessedEventRow),
            rows,
            conflict=("event_id",),
            returning="event_id",
        )
    )
