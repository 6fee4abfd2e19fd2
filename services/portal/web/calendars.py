"""An appointment as an iCalendar file, for the customer's own calendar (RFC 5545)."""

from __future__ import annotations

import datetime as dt

from services.portal.domain.snapshot import TAKEN_TO_LAST, Snapshot
from shared.text import without_turns

LAST_MOMENT = dt.datetime.max.replace(tzinfo=dt.UTC)


def appointment_file(snapshot: Snapshot, ref: int, now: dt.datetime) -> bytes | None:
    """The file of one of the customer's appointments, or None when they have no such one.

    It carries no link: calendars are shared.
    """
    found = next((each for each in snapshot.appointments if each.ref == ref), None)
    if found is None:
        return None
    # 4 MB that a portal has once somebody wants such a file, and 28 ms of that one's time.
    from icalendar import Calendar, Event

    event = Event()
    event.add("uid", f"{ref}.{snapshot.business.business_id}@appointments.portico")
    event.add("dtstamp", now)
    # In minutes: an entry with a sequence that is not greater is old news to some calendars, wherever the visit was moved.
    event.add("sequence", int(now.timestamp()) // 60)
    event.add("dtstart", found.starts_at)
    length = min(TAKEN_TO_LAST, LAST_MOMENT - found.starts_at)
    event.add("dtend", found.ends_at or found.starts_at + length)
    event.add("summary", without_turns(f"{found.title} · {snapshot.business.name}"))
    if found.location:
        event.add("location", without_turns(found.location))
    event.add("status", "CANCELLED" if found.status == "cancelled" else "CONFIRMED")
    calendar = Calendar()
    calendar.add("prodid", "-//Portico//Appointments//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add_component(event)
    made: bytes = calendar.to_ical()
    return made
