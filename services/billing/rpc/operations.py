"""billing's RPC methods for those who operate it; mixed into the service."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final, Literal

from services.billing import domain
from services.billing.handlers import timeline as story
from services.billing.workflows import republish
from shared.nameko_ext.database import Database
from shared.nameko_ext.rpc import InvalidArgument, RpcError, rpc
from shared.outbox import Publisher

MARK_LENGTH: Final = 6
"""The least length of what an erasure looks for in bodies: a shorter text would stand in others' too."""
ERASE_POSITION: Final = re.compile(r"inbox:.*|outbox:[0-9]{1,18}")


class UnknownInboxEvent(RpcError):
    """No Stripe event of this id was ever stored."""


class NotRepublished(RpcError):
    """The broker did not take all events; those that it took do no harm when they come again. Try again."""


class Operations:
    """The story of an invoice, one event whole, dead letters, lost queues, and forgetting. The service that mixes it in has
    `database` and `publisher`."""

    database: Database
    publisher: Publisher

    @rpc
    def inbox_event(self, event_id: str, payload: bool = False) -> dict[str, Any]:
        """One stored Stripe event, and what was published of it; its body on demand (personal data).

        Errors: UnknownInboxEvent.
        """
        with self.database.reading() as session:
            try:
                return story.show_event(session, event_id, payload=payload)
            except domain.UnknownInboxEvent as error:
                raise UnknownInboxEvent(str(error)) from None

    @rpc
    def story(
        self,
        invoice_id: str | None = None,
        stripe_customer_id: str | None = None,
        event_id: str | None = None,
    ) -> dict[str, Any]:
        """What billing knows, as steps of a time line, with the ids met on the way: by one of the three ids."""
        if sum(one is not None for one in (invoice_id, stripe_customer_id, event_id)) != 1:
            raise InvalidArgument(
                "expected exactly one of invoice_id, stripe_customer_id, event_id"
            )
        with self.database.reading() as session:
            return story.story(
                session,
                invoice_id=invoice_id,
                stripe_customer_id=stripe_customer_id,
                event_id=event_id,
            )

    @rpc
    def note_dead_letter(
        self,
        queue: str,
        event_id: str,
        action: Literal["replayed", "discarded"],
        reason: str = "",
        attempts: int = 0,
    ) -> dict[str, Any]:
        """Keep what a person did with a dead letter, for the story of its event."""
        with self.database.transaction() as session:
            story.note_dead_letter(
                session,
                queue=queue,
                event_id=event_id,
                action=action,
                reason=reason,
                attempts=attempts,
                now=dt.datetime.now(dt.UTC),
            )
        return {"event_id": event_id}

    @rpc
    def republish(
        self,
        queue: str,
        since: dt.datetime,
        until: dt.datetime | None = None,
        after: int = 0,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Give a consumer once more what its queue `queue` was sent between two moments (at most 45 days back), for a queue that was
        deleted: it acts on what it had not seen. A page a call: `{"events", "next"}`, call again with `after=next` until
        that is null, and with the same `until`. `dry_run` counts all, and sends nothing. Errors: InvalidArgument, NotRepublished.
        """
        now = dt.datetime.now(dt.UTC)
        until = until or now
        if since.tzinfo is None or until.tzinfo is None:
            raise InvalidArgument("since and until: expected a time zone")
        try:
            republish.check_since(since, now)
            if dry_run:
                return {
                    "events": republish.count(self.database, queue, since, until),
                    "next": None,
                }
            page = republish.republish(
                self.database, self.publisher, queue, since, until, after=after
            )
        except domain.InvalidRequest as error:
            raise InvalidArgument(str(error)) from None
        except republish.NotRepublished as error:
            raise NotRepublished(str(error)) from None
        return {"events": page.events, "next": page.next}

    @rpc
    def erase_customer(
        self, stripe_customer_id: str, also: list[str] | None = None, after: str | None = None
    ) -> dict[str, Any]:
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
            return story.erase(
                session, stripe_customer_id=stripe_customer_id, also=also or [], after=after
            )
