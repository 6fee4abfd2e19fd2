"""billing's RPC methods for those who operate it; mixed into the service."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from dataclasses import asdict
from typing import Final

from services.billing.handlers import dead_letters, erasure, inbox, timeline
from services.billing.queries import payment_tries
from services.billing.rpc.entrypoints import MOST_ROWS, BillingEntrypoints
from services.billing.rpc.errors import served, wire_errors
from services.billing.workflows import reconciling, republish
from services.billing.workflows.observed_charges import observed_charges
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, StripeId, account_shown
from shared.contracts.rpc.arguments import check_limit
from shared.contracts.rpc.base import Timeline
from shared.contracts.rpc.billing import (
    ClosedEvent,
    DeadLetterAction,
    DeadLetterNote,
    ErasureRound,
    InboxEvent,
    InboxEventDetails,
    InboxStatus,
    ObservedCharges,
    Reconciliation,
    RecoveryAttempt,
    ReplayedEvent,
    RepublishedPage,
)
from shared.contracts.rpc.errors import InvalidArgument
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.telemetry import get_logger

log = get_logger(__name__)

MARK_LENGTH: Final = 5
"""The least length of what an erasure looks for in bodies, that of the shortest id which a host may give (`cus_1`): a shorter text would stand
in others' too."""
MOST_REASON: Final = 500
MOST_WHO: Final = 100
ERASE_POSITION: Final = re.compile(r"inbox:.*|outbox:[0-9]{1,18}")


class Operations(BillingEntrypoints):
    """The inbox and what was missed, tries to pay with a new card, the story of an invoice, dead letters, lost queues, and
    forgetting."""

    @rpc
    def inbox_events(
        self,
        status: InboxStatus | None = None,
        type: str | None = None,
        before: dt.datetime | None = None,
        limit: int = 50,
        before_id: str | None = None,
    ) -> list[InboxEvent]:
        """Stored Stripe events, newest first, without payloads. `before` (by `received_at`) turns the page; `before_id` with it,
        where several came at one moment. `limit` is 1 to 500."""
        check_limit(limit, MOST_ROWS)
        with self.database.reading() as session:
            return inbox.inbox_events(
                session, status=status, type=type, before=before, limit=limit, before_id=before_id
            )

    @audited_rpc("event_id", "account")
    def replay(self, event_id: str, account: str = OWN) -> ReplayedEvent:
        """Translate a stored event again and queue what was not said yet."""
        with wire_errors(), self.database.transaction() as session:
            result = inbox.replay(
                session,
                StripeId(Account(account), event_id),
                directory=self.accounts.directory,
                now=utc_now(),
            )
        self.wake_relay()
        return result

    @audited_rpc("since", "account")
    def reconcile(self, since: str, account: str = OWN) -> Reconciliation:
        """Catch up on what Stripe's webhooks should have told since `90m`, `12h`, `3d` or a moment: through the same inbox, so
        that nothing is said twice. May take minutes.
        """
        with wire_errors():
            report = reconciling.reconcile(
                self.database,
                self.gateways.at(served(account, self.accounts.directory)),
                reconciling.parse_since(since, utc_now()),
                holder=secrets.token_hex(8),
                clock=utc_now,
            )
        self.wake_relay()
        log.info("reconciled", since=since, **asdict(report), **account_shown(account))
        return Reconciliation(**asdict(report))

    @rpc
    def recoveries(
        self,
        stripe_customer_id: str | None = None,
        invoice_id: str | None = None,
        limit: int = 50,
        account: str = OWN,
    ) -> list[RecoveryAttempt]:
        """What became of our own tries to pay with a new card, newest first. `limit` is 1 to 500."""
        check_limit(limit, MOST_ROWS)
        with self.database.reading() as session:
            return payment_tries.recoveries(
                session,
                Account(account),
                stripe_customer_id=stripe_customer_id,
                invoice_id=invoice_id,
                limit=limit,
            )

    @rpc
    def observed_charges(
        self, since: dt.datetime, limit: int = 100, starting_after: str | None = None
    ) -> ObservedCharges:
        """What would have been charged to new payment methods since a moment, had the business not observed: of all accounts, oldest
        first. `limit` is 1 to 500; go on with `starting_after`, the answer's `next`. It is never charged: who wants one of them paid has
        it collected.
        """
        check_limit(limit, MOST_ROWS)
        with self.database.reading() as session:
            return observed_charges(
                session,
                since,
                limit=limit,
                starting_after=starting_after,
                livemode=self.settings.livemode,
            )

    @rpc
    def inbox_event(
        self, event_id: str, payload: bool = False, account: str = OWN
    ) -> InboxEventDetails:
        """One stored Stripe event, and what was published of it; its body on demand (personal data)."""
        with self.database.reading() as session:
            return inbox.show_event(session, StripeId(Account(account), event_id), payload=payload)

    @audited_rpc("event_id", "account")
    def close_event(
        self, event_id: str, reason: str, by: str = "", account: str = OWN
    ) -> ClosedEvent:
        """Close a quarantined event for a person who has looked at it: nothing waits for it any more, and it is forgotten 90 days
        later. Closed already: the first reason stays. NotQuarantined: there was nothing to look at. `replay` opens it again.
        `reason` is 1 to 500 characters, `by` (who, for the record) at most 100.
        """
        reason = " ".join(reason.split())
        if not 1 <= len(reason) <= MOST_REASON:
            raise InvalidArgument(f"reason: expected 1 to {MOST_REASON} characters")
        if len(by) > MOST_WHO:
            raise InvalidArgument(f"by: expected at most {MOST_WHO} characters")
        with wire_errors(), self.database.transaction() as session:
            closed, fresh = inbox.close_event(
                session, StripeId(Account(account), event_id), reason=reason, by=by, now=utc_now()
            )
        if fresh:
            log.info(
                "event closed",
                event_id=event_id,
                type=closed.type,
                reason=reason,
                by=by,
                **account_shown(account),
            )
        return closed

    @rpc
    def story(
        self,
        invoice_id: str | None = None,
        stripe_customer_id: str | None = None,
        event_id: str | None = None,
        account: str = OWN,
    ) -> Timeline:
        """What billing knows, as steps of a time line, with the ids met on the way: by one of the three ids."""
        if sum(one is not None for one in (invoice_id, stripe_customer_id, event_id)) != 1:
            raise InvalidArgument(
                "expected exactly one of invoice_id, stripe_customer_id, event_id"
            )
        with self.database.reading() as session:
            return timeline.story(
                session,
                Account(account),
                invoice_id=invoice_id,
                stripe_customer_id=stripe_customer_id,
                event_id=event_id,
                now=utc_now(),
            )

    @audited_rpc("action", "queue", "event_id")
    def note_dead_letter(
        self,
        queue: str,
        event_id: str,
        action: DeadLetterAction,
        reason: str = "",
        attempts: int = 0,
    ) -> DeadLetterNote:
        """Keep what a person did with a dead letter, for the story of its event."""
        with self.database.transaction() as session:
            dead_letters.note_dead_letter(
                session,
                queue=queue,
                event_id=event_id,
                action=action,
                reason=reason,
                attempts=attempts,
                now=utc_now(),
            )
        return DeadLetterNote(event_id=event_id)

    @audited_rpc("queue", "dry_run")
    def republish(
        self,
        queue: str,
        since: dt.datetime,
        until: dt.datetime | None = None,
        after: int = 0,
        dry_run: bool = False,
    ) -> RepublishedPage:
        """Give a consumer once more what its queue `queue` was sent between two moments (at most 45 days back), for a queue that was
        deleted: it acts on what it had not seen. A page a call: call again with `after=next` until
        that is null, and with the same `until`. `dry_run` counts all, and sends nothing.
        """
        now = utc_now()
        until = until or now
        with wire_errors():
            republish.check_since(since, now)
            if dry_run:
                return RepublishedPage(events=republish.count(self.database, queue, since, until))
            return republish.republish(
                self.database, self.publisher, queue, since, until, after=after
            )

    @audited_rpc("stripe_customer_id", "account")
    def erase_customer(
        self,
        stripe_customer_id: str,
        also: list[str] | None = None,
        after: str | None = None,
        account: str = OWN,
    ) -> ErasureRound:
        """One round of forgetting a customer; call again with the answer's `next` until it is null.

        Bodies of Stripe's events that name the customer (or one of `also`) are emptied, our own events about it
        deleted. `next` is where the following round begins.
        """
        marks = [stripe_customer_id, *(also or [])]
        if any(len(mark) < MARK_LENGTH for mark in marks):
            raise InvalidArgument(f"expected marks of {MARK_LENGTH} characters or more")
        if after is not None and not ERASE_POSITION.fullmatch(after):
            raise InvalidArgument("after: expected the `next` of an answer")
        with self.database.transaction() as session:
            return erasure.erase(
                session,
                StripeId(Account(account), stripe_customer_id),
                also=also or [],
                after=after,
            )
