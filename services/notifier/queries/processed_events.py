"""The events of the other services that were acted upon."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from services.notifier.models import ProcessedEvent
from shared.events import Event
from shared.statements import insert_new_rows, table_of, update_rows


def claim_events(session: Session, events: Iterable[Event], now: dt.datetime) -> set[str]:
    """The ids of those events that no transaction has seen before. A concurrent one waits here for the first to end,
    and never in a circle: ids are written in one order."""
    types = {event.id: event.type for event in events}
    rows = [
        {"event_id": event_id, "type": type_, "outcome": "", "processed_at": now}
        for event_id, type_ in sorted(types.items())
    ]
    return set(
        insert_new_rows(
            session,
            table_of(ProcessedEvent),
            rows,
            conflict=("event_id",),
            returning="event_id",
        )
    )


def note_outcomes(session: Session, outcomes: Mapping[str, str]) -> None:
    """Record what came of events, by their ids, for "what happened to this invoice?"."""
    rows = [{"event_id": event_id, "outcome": outcome} for event_id, outcome in outcomes.items()]
    update_rows(session, table_of(ProcessedEvent), rows, ("event_id",))
