"""What others can ask the notifier: lists, a resend, a fresh link, an email about a request."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import Kind, fresh_link_key, request_key, resend_key
from services.notifier.models import Notification


class UnknownNotification(LookupError):
    """There is no such notification."""


@dataclass(frozen=True)
class Asked:
    """The notification that answers a wish, and whether the wish made it."""

    notification: dict[str, Any]
    created: bool


def view(row: Notification) -> dict[str, Any]:
    """A notification as others may see it: JSON types, UTC ISO-8601, no address and no link (none is stored)."""
    return {
        "notification_id": row.notification_id,
        "kind": row.kind,
        "status": row.status,
        "reason": row.reason,
        "invoice_id": row.invoice_id,
        "attempt": row.attempt,
        "stripe_customer_id": row.stripe_customer_id,
        "customer_id": row.customer_id,
        "correlation_id": row.correlation_id,
        "attempts": row.attempts,
        "lookups": row.lookups,
        "last_error": row.last_error,
        "provider_message_id": row.provider_message_id,
        "created_at": _iso(row.created_at),
        "due_at": _iso(row.due_at),
        "unconfirmed_since": _iso(row.unconfirmed_since),
        "sent_at": _iso(row.sent_at),
        "delivered_at": _iso(row.delivered_at),
    }


def notifications(
    session: Session, *, invoice_id: str | None, stripe_customer_id: str | None, limit: int
) -> list[dict[str, Any]]:
    """Notifications, newest first, at most `limit` (1 to 500)."""
    rows = queries.list_notifications(
        session,
        invoice_id=invoice_id,
        stripe_customer_id=stripe_customer_id,
        limit=max(1, min(limit, 500)),
    )
    return [view(row) for row in rows]


def resend(session: Session, notification_id: str, now: dt.datetime) -> Asked:
    """Write the same notification down once more; it is looked at again like any other before it goes out.

    While one resend waits, asking again gives that one: a double click sends one email. Raises
    UnknownNotification.
    """
    original = queries.by_id(session, notification_id, lock=True)
    if original is None:
        raise UnknownNotification("there is no such notification")
    count, waiting = queries.count_resends(session, notification_id)
    if waiting is not None:
        return Asked(view(waiting), created=False)
    return _ask(session, _once_more(original, count + 1, now))


@dataclass(frozen=True)
class Bulk:
    """The notifications that `resend_failed` made (or would make), and whether there are more to ask for."""

    notifications: list[dict[str, Any]]
    more: bool
    failed_before: dt.datetime
    """To be given to the calls that ask for more, so that what fails again meanwhile is not asked for in a circle."""

    def view(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "notifications": self.notifications,
            "more": self.more,
            "failed_before": _iso(self.failed_before),
        }


def resend_failed(
    session: Session,
    now: dt.datetime,
    *,
    failed_since: dt.datetime | None,
    invoice_id: str | None,
    limit: int,
    failed_before: dt.datetime | None = None,
    dry_run: bool = False,
) -> Bulk:
    """Write down once more what certainly never went out (a key that was rotated wrongly, an outage of more than a day).

    What was sent again already, and what the customer may have after all, is left out; so calling it twice sends
    nothing twice. Each is looked at again before it goes out. A `dry_run` only names the failed ones.
    """
    found = queries.failed_notifications(
        session, since=failed_since, before=failed_before, invoice_id=invoice_id, limit=limit + 1
    )
    before = failed_before or now
    more = len(found) > limit
    if dry_run:
        return Bulk([view(row) for row in found[:limit]], more, before)
    made = [_ask(session, _once_more(row, 1, now)).notification for row in found[:limit]]
    return Bulk(made, more, before)


def _once_more(original: Notification, number: int, now: dt.datetime) -> queries.NewNotification:
    return queries.NewNotification(
        dedupe_key=resend_key(original.notification_id, number),
        kind=Kind(original.kind),
        now=now,
        invoice_id=original.invoice_id,
        attempt=original.attempt,
        stripe_customer_id=original.stripe_customer_id,
        customer_id=original.customer_id,
        correlation_id=original.correlation_id,
        occurred_at=original.occurred_at,
        context=original.context,
    )


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever asks for an email has to say. Fields that are not known here are ignored, as in events."""

    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[\w.:-]+$")]
    """The request's id with whoever asks: one email a request and kind."""
    description: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    """What it is about, in words: the subscription's name, and its price where that may be said."""
    ends_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None
    """When the subscription ends, or ended."""
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    """The customer's own words to the business, or the business's to the customer."""


def send_requested(
    session: Session, kind: Kind, customer_id: str, context: RequestContext, now: dt.datetime
) -> Asked:
    """Write down an email that another service asks for, once a request and kind."""
    key = request_key(kind, context.request_id)
    new = queries.NewNotification(
        dedupe_key=key,
        kind=kind,
        now=now,
        customer_id=customer_id,
        correlation_id=key,
        context={
            name: value for name, value in msgspec.to_builtins(context).items() if value is not None
        },
    )
    return _ask(session, new)


def send_fresh_link(session: Session, customer_id: str, now: dt.datetime) -> Asked:
    """Write down an email with the customer's current link, at most one per customer and hour."""
    new = queries.NewNotification(
        dedupe_key=fresh_link_key(customer_id, now),
        kind=Kind.FRESH_LINK,
        now=now,
        customer_id=customer_id,
        correlation_id=fresh_link_key(customer_id, now),
    )
    return _ask(session, new)


def _ask(session: Session, new: queries.NewNotification) -> Asked:
    created = queries.add_notification(session, new)
    row = queries.by_key(session, new.dedupe_key)
    if row is None:
        raise LookupError("a notification that was just written is gone")
    return Asked(view(row), created)


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
