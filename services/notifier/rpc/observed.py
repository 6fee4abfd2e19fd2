"""The notifier's RPC methods around what was observed instead of sent; mixed into the service."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

import msgspec

from services.notifier.adapters.portal import PortalBusinesses
from services.notifier.handlers import observing as handlers
from services.notifier.rpc.entrypoints import NotifierEntrypoints
from services.notifier.workflows import observing
from shared.clock import utc_now
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.notifier import AcceptedNotification, ObservedNotifications
from shared.nameko_ext.rpc import audited_rpc, rpc

MOST_LISTED: Final = 500
MOST_ACCEPTED: Final = 500
NotificationIds = Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_ACCEPTED)]


class Observed(NotifierEntrypoints):
    """Looking at what was observed, and accepting it."""

    @rpc
    def observed(
        self,
        business_id: str | None = None,
        since: dt.datetime | None = None,
        limit: int = 100,
        starting_after: str | None = None,
    ) -> ObservedNotifications:
        """The emails that a business (by the host's id) and its customers would have got, had it been live, in the order in which they
        would have gone out; without `business_id` those of all, business by business. Those since a moment, if given, at most `limit` (1 to
        500), after one of them. What was accepted is not among them any more. NotFound: `starting_after`."""
        check_limit(limit, MOST_LISTED)
        with self.db.reading() as session:
            return handlers.observed(
                session,
                business_id=business_id,
                since=since,
                starting_after=starting_after,
                limit=limit,
            )

    @audited_rpc("notification_ids")
    def accept_observed(self, notification_ids: NotificationIds) -> list[AcceptedNotification]:
        """Let observed emails go out after all, at most 500, each once: what was accepted before is answered as it stands. Each is
        looked at again before it goes, as any email: what is paid meanwhile is suppressed. One with `unconfirmed_since` had been posted
        before its business observed, and SendGrid may have taken it: accepted, it is sent once more. Welcomes are not accepted, and answered as
        they stand: they have a rate, and `queue_welcomes` asks for their customers again.

        StillObserved, with nothing accepted, while a business of theirs observes. NotFound: one of the ids.
        """
        accepted = observing.accept(
            self.db,
            PortalBusinesses(self.portal),
            notification_ids,
            utc_now(),
            observes=self.observes,
        )
        self.wake()
        return accepted
