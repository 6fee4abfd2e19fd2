"""The notifier's loop that releases welcomes, and its RPC methods around them; mixed into the service."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from services.notifier.adapters.portal import PortalBusinesses
from services.notifier.domain.kinds import Kind
from services.notifier.domain.welcomes import HIGHEST_RATE, LOWEST_RATE, MOST_AT_ONCE
from services.notifier.handlers import welcomes as handlers
from services.notifier.queries import welcome_emails
from services.notifier.queries.leases import Leased
from services.notifier.rpc.entrypoints import NotifierEntrypoints
from services.notifier.workflows import sending
from services.notifier.workflows import welcomes as welcoming
from shared.clock import utc_now
from shared.contracts.rpc.welcomes import (
    QueuedWelcomes,
    StoppedWelcomes,
    WelcomeRecipient,
    WelcomeRun,
)
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.telemetry import get_logger

log = get_logger(__name__)

PART: Final = 4
"""Welcomes have one sender in so many, and those only while nothing else is due."""
BusinessId = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Recipients = Annotated[list[WelcomeRecipient], msgspec.Meta(max_length=MOST_AT_ONCE)]
PerHour = Annotated[int, msgspec.Meta(ge=LOWEST_RATE, le=HIGHEST_RATE)]


class WelcomesOfProcess:
    """How many welcomes this process sends at the moment, and whether there are any to send."""

    def __init__(self, senders: int) -> None:
        self._most = max(1, senders // PART)
        self._under_way = 0
        self._more = False
        self.there = False
        """Whether any is released and not sent, as of the last look: where none is, none is looked for."""

    def room(self, free: int) -> int:
        """How many more may be sent, where so many senders are free."""
        return max(0, min(free, self._most - self._under_way)) if self.there else 0

    def took(self, number: int, room: int) -> None:
        """So many were leased, of as many as there was room for."""
        self._under_way += number
        self._more = number == room

    def gave_back(self) -> bool:
        """One has ended; whether more are known to wait."""
        self._under_way -= 1
        return self._more


class Welcomes(NotifierEntrypoints):
    """Welcoming a business's customers."""

    welcomes_here = OfProcess(lambda settings: WelcomesOfProcess(settings.senders))
    wake_welcomes = Waker("release_welcomes")

    @loop(poll=2.0)
    def release_welcomes(self) -> bool:
        """Release what the rates of all businesses allow by now, and find out whether any welcome waits to be sent."""
        released = welcoming.release_round(self._welcome_desk())
        with self.db.reading() as session:
            self.welcomes_here.there = welcome_emails.any_under_way(session)
        if released.mails:
            log.info("welcomes released", mails=released.mails)
        if self.welcomes_here.there:
            self.wake()
        return released.more

    def send_welcomes(self, desk: sending.SendContext, free: int) -> None:
        """Give senders that are free, and that nothing else needs, a welcome that is due."""
        room = self.welcomes_here.room(free)
        if not room:
            return
        with self.places.held(room):
            leased = sending.lease_welcomes(desk, room)
        self.welcomes_here.took(len(leased), room)
        for one in leased:
            self.places.take(one)

    def note_welcome_sent(self, leased: Leased) -> None:
        """A sender has done with this one: the next may go."""
        if leased.kind is Kind.WELCOME and self.welcomes_here.gave_back():
            self.wake()

    def _welcome_desk(self) -> welcoming.WelcomeContext:
        return welcoming.WelcomeContext(
            db=self.db,
            businesses=PortalBusinesses(self.portal),
            hasher=self.hasher,
            now=utc_now,
            observes=self.observes,
        )

    @audited_rpc("business_id", "recipients", "per_hour", "dry_run")
    def queue_welcomes(
        self,
        business_id: BusinessId,
        recipients: Recipients,
        per_hour: PerHour,
        dry_run: bool = False,
    ) -> QueuedWelcomes:
        """Have customers of a business (by the host's id) told of their page by email, at most 1,000 a call, each customer once, ever. They
        are put into a queue, which is worked off at `per_hour` (1 to 100,000 mails): by day, as the business's quiet hours say, while it is
        live. The rate is that of the last call, for all who wait. Safe to repeat. A `dry_run` says what would come of it, also for a
        business that observes, and asks for nothing.

        StillObserved, with nobody asked for, while the business observes. NotFound: there is no such business.
        """
        desk = self._welcome_desk()
        if dry_run:
            with self.db.reading() as session:
                return QueuedWelcomes(outcomes=handlers.plan(session, recipients, desk.hasher))
        outcomes = welcoming.queue(desk, business_id, recipients, per_hour)
        self.wake_welcomes()
        return QueuedWelcomes(outcomes=outcomes)

    @audited_rpc("business_id")
    def stop_welcomes(self, business_id: BusinessId) -> StoppedWelcomes:
        """Take those of a business's customers who wait to be welcomed off the queue, and back what was released and has not been begun,
        also what waits for its customer's morning. What a sender has in hand, or SendGrid may have taken, still goes: `sending`. Asked for
        again, they go into the queue again, and whoever was welcomed does not."""
        with self.db.transaction() as session:
            return handlers.stop(session, business_id, utc_now())

    @rpc
    def welcomes(self, business_id: BusinessId) -> WelcomeRun:
        """How the welcoming of a business's customers stands; all zero where nobody was ever asked for."""
        with self.db.reading() as session:
            return handlers.look(session, business_id, utc_now())
