"""`/api/v1/events`: what happened, for hosts that ask from time to time."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from services.portal.handlers import existing
from services.portal.handlers import host_events as listing
from services.portal.queries import host_events
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.clock import utc_now
from shared.contracts.host_api import EventPage, EventPageArguments


class ApiEvents(ApiEntrypoints):
    """Routes about events."""

    @route(
        "GET",
        "/events",
        "events:read",
        query=EventPageArguments,
        answer=EventPage,
        asks="_place_events",
    )
    def api_list_events(self, session: Session, call: Call) -> Reply:
        """List what happened since you last asked, in order. Give the answer's `next` as `since` of the next request: nothing is left out
        between two, and nothing comes twice. Events are thin: ask how things stand."""
        asked = call.business_id
        owner = None if asked is None else existing.business(session, asked).id
        return Reply(listing.listed(session, call.given, owner, call.now))

    def _place_events(self, session: Session, call: Call) -> Callable[[], object]:
        """Give what was committed since a place in the order."""
        if not host_events.any_unplaced(session):
            return lambda: None
        return lambda: self._write(lambda writing: host_events.place(writing, utc_now()))
