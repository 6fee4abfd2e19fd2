"""What others can ask the notifier: lists, a resend, a fresh link, an email about a request."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from services.notifier.domain.keys import fresh_link_key, request_key, resend_key
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import ACTIVE
from services.notifier.handlers import welcomes
from services.notifier.models import Notification
from services.notifier.queries import notifications as notification_queries
from services.notifier.queries import resends
from services.notifier.queries.notifications import NewNotification
from shared.contracts.accounts import OWN, Account, StripeId
from shared.contracts.rpc import notifier as contract
from shared.contracts.rpc.errors import NotFound

MOST_OF_INVOICES: Final = 2000


class UnknownNotification(NotFound):
    """There is no such notification."""


def notifications(
    session: Session,
    account: Account,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    limit: int,
    status: str | None = None,
) -> list[contract.Notification]:
    """Notifications, newest first, at most `limit` (1 to 500)."""
    rows = notification_queries.list_notifications(
        session,
        account,
        invoice_id=invoice_id,
        stripe_customer_id=stripe_customer_id,
        limit=max(1, min(limit, 500)),
        status=status,
    )
    return [contract.Notification.of(row) for row in rows]


def of_invoices(
    session: Session, account: Account, invoice_ids: list[str]
) -> list[contract.Notification]:
    """Notifications about these invoices, newest first."""
    return [
        contract.Notification.of(row)
        for row in notification_queries.about_invoices(
            session, account, invoice_ids, limit=MOST_OF_INVOICES
        )
    ]


def resend(
    session: Session, notification_id: str, now: dt.datetime
) -> contract.RequestedNotification:
    """Write the same notification down once more; it is looked at again like any other before it goes out. A welcome that certainly reached
    nobody is itself made due: a customer has one.

    While one resend waits, asking again gives that one: a double click sends one email. Raises
    UnknownNotification.
    """
    original = notification_queries.by_id(session, notification_id, lock=True)
    if original is None:
        raise UnknownNotification("notification_id: there is no such notification")
    if original.kind == Kind.WELCOME and not _has_gone(original):
        waits = original.status in ACTIVE
        if not waits:
            welcomes.send_again(session, original, now)
        return contract.RequestedNotification.of(original, created=not waits)
    count, waiting = resends.count_resends(session, notification_id)
    if waiting is not None:
        return contract.RequestedNotification.of(waiting, created=False)
    return _ask(session, _once_more(original, count + 1, now))


def resend_failed(
    session: Session,
    now: dt.datetime,
    *,
    failed_since: dt.datetime | None,
    invoice: StripeId | None,
    limit: int,
    failed_before: dt.datetime | None = None,
    dry_run: bool = False,
) -> contract.ResentNotifications:
    """Write down once more what certainly never went out (a key that was rotated wrongly, an outage of more than a day).

    What was sent again already, what the customer may have after all, and welcomes are left out; so calling it twice sends
    nothing twice. Each is looked at again before it goes out. A `dry_run` only names the failed ones.
    """
    found = resends.failed_notifications(
        session, since=failed_since, before=failed_before, invoice=invoice, limit=limit + 1
    )
    before = failed_before or now
    more = len(found) > limit
    failed = found[:limit]
    rows = failed if dry_run else [_add(session, _once_more(row, 1, now))[0] for row in failed]
    return contract.ResentNotifications(
        notifications=[contract.Notification.of(row) for row in rows],
        more=more,
        failed_before=before,
    )


def _has_gone(row: Notification) -> bool:
    """Whether it went out, or may have."""
    return row.sent_at is not None or row.unconfirmed_since is not None


def _once_more(original: Notification, number: int, now: dt.datetime) -> NewNotification:
    return NewNotification(
        account=Account(original.account),
        dedupe_key=resend_key(original.notification_id, number),
        kind=Kind(original.kind),
        now=now,
        invoice_id=original.invoice_id,
        attempt=original.attempt,
        stripe_customer_id=original.stripe_customer_id,
        on_behalf_of=original.on_behalf_of,
        customer_id=original.customer_id,
        correlation_id=original.correlation_id,
        occurred_at=original.occurred_at,
        context=original.context,
    )


def send_requested(
    session: Session,
    kind: Kind,
    customer_id: str,
    context: contract.RequestContext,
    now: dt.datetime,
) -> contract.RequestedNotification:
    """Write down an email that another service asks for, once a request and kind."""
    key = request_key(kind, context.request_id)
    new = NewNotification(
        account=OWN,
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


def send_fresh_link(
    session: Session, customer_id: str, now: dt.datetime
) -> contract.RequestedNotification:
    """Write down an email with the customer's current link, at most one per customer and hour."""
    new = NewNotification(
        account=OWN,
        dedupe_key=fresh_link_key(customer_id, now),
        kind=Kind.FRESH_LINK,
        now=now,
        customer_id=customer_id,
        correlation_id=fresh_link_key(customer_id, now),
    )
    return _ask(session, new)


def _ask(session: Session, new: NewNotification) -> contract.RequestedNotification:
    row, created = _add(session, new)
    return contract.RequestedNotification.of(row, created=created)


def _add(session: Session, new: NewNotification) -> tuple[Notification, bool]:
    """The row, and whether it is new."""
    created = notification_queries.add_notification(session, new)
    row = notification_queries.by_key(session, new.dedupe_key)
    if row is None:
        raise LookupError("a notification that was just written is gone")
    return row, created
