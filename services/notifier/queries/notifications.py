"""Notifications: written down, found, and held back."""

from __future__ import annotations

import datetime as dt
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.notification_rules import Failure
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import Notification
from services.notifier.queries import incidents as incident_queries
from shared import tracing
from shared.contracts.accounts import Account, StripeCustomer, StripeId, stripe_customer, stripe_id
from shared.json_documents import Documents, as_text, json_list, json_object
from shared.statements import (
    Kept,
    among_named,
    among_objects,
    insert_new_rows,
    is_among,
    is_object,
    named_customers,
    named_objects,
    table_of,
    update_rows,
)


@dataclass(frozen=True)
class Lease:
    """Whose a notification is, and until when."""

    token: str
    until: dt.datetime


class NewNotification(msgspec.Struct, frozen=True, kw_only=True):
    """A notification to be written down: pending, or suppressed from the start when `reason` is given."""

    account: Account
    """Of its Stripe ids."""
    dedupe_key: str
    kind: Kind
    now: dt.datetime
    due_at: dt.datetime | None = None
    """When it may go out; None: now."""
    attempt_key: str | None = None
    reason: Reason | None = None
    invoice_id: str | None = None
    attempt: int = 0
    next_payment_attempt: dt.datetime | None = None
    stripe_customer_id: str | None = None
    on_behalf_of: str = ""
    customer_id: str | None = None
    correlation_id: str = ""
    occurred_at: dt.datetime | None = None
    context: dict[str, Any] | None = None
    traceparent: str = ""
    """The work that asked for it; empty: what is under way here."""
    lease: Lease | None = None
    """Whose it is from the start; None: whoever leases it first."""
    notification_id: str = msgspec.field(default_factory=lambda: f"ntf_{secrets.token_urlsafe(16)}")


_TABLE: Final = table_of(Notification)
_ATTEMPTS: Final = Kept(select(_TABLE.c.attempt_key).where(is_among(_TABLE.c.attempt_key, "keys")))


def add_notification(session: Session, new: NewNotification) -> bool:
    """Write a notification down; False when one with this key exists already."""
    return bool(add_notifications(session, [new]))


def add_notifications(session: Session, new: Iterable[NewNotification]) -> set[str]:
    """Write notifications down, in one statement; the keys of those that did not exist yet."""
    added = insert_new_rows(
        session,
        _TABLE,
        [_row(one) for one in new],
        conflict=("dedupe_key",),
        returning="dedupe_key",
    )
    return set(added)


def _row(new: NewNotification) -> dict[str, Any]:
    status, lease = Status.PENDING, new.lease
    if new.reason is not None:
        status = Status.SUPPRESSED
    elif lease is not None:
        status = Status.SENDING
    return {
        "notification_id": new.notification_id,
        "account": new.account,
        "dedupe_key": new.dedupe_key,
        "attempt_key": new.attempt_key,
        "kind": new.kind.value,
        "status": status.value,
        "reason": new.reason.value if new.reason else None,
        "invoice_id": new.invoice_id,
        "attempt": new.attempt,
        "next_payment_attempt": new.next_payment_attempt,
        "stripe_customer_id": new.stripe_customer_id,
        "on_behalf_of": new.on_behalf_of,
        "customer_id": new.customer_id,
        "correlation_id": new.correlation_id,
        "created_at": new.now,
        "due_at": lease.until if lease else new.due_at or new.now,
        "lease_token": lease.token if lease else None,
        "lease_until": lease.until if lease else None,
        "attempts": 0,
        "lookups": 0,
        "unconfirmed_posts": 0,
        "occurred_at": new.occurred_at,
        "finished_at": new.now if new.reason else None,
        "context": new.context,
        "traceparent": new.traceparent or tracing.here() or None,
    }


def by_key(session: Session, dedupe_key: str) -> Notification | None:
    """The notification with this key."""
    return session.scalar(select(Notification).where(Notification.dedupe_key == dedupe_key))


def by_id(session: Session, notification_id: str, *, lock: bool = False) -> Notification | None:
    """One notification, locked until the transaction ends if asked for."""
    statement = select(Notification).where(Notification.notification_id == notification_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return session.scalar(statement)


def attempts_told(session: Session, attempt_keys: Collection[str]) -> set[str]:
    """Those of these attempts about which an email exists."""
    if not attempt_keys:
        return set()
    found = _ATTEMPTS.run(session, {"keys": list(attempt_keys)}).scalars()
    return {key for key in found if key is not None}


def told_of(session: Session, invoices: Collection[StripeId]) -> dict[StripeId, list[Notification]]:
    """The emails by which the customers of these invoices were told of failures, or may have been, oldest first: by invoice."""
    if not invoices:
        return {}
    rows = session.scalars(
        select(Notification)
        .where(
            _about(invoices),
            Notification.kind.in_([kind.value for kind in DUNNING]),
            or_(Notification.sent_at.is_not(None), Notification.unconfirmed_since.is_not(None)),
        )
        .order_by(Notification.sent_at, Notification.notification_id)
    )
    told: dict[StripeId, list[Notification]] = defaultdict(list)
    for row in rows:
        if row.invoice is not None:
            told[row.invoice].append(row)
    return told


def _about(invoices: Collection[StripeId]) -> ColumnElement[bool]:
    return among_objects(_TABLE.c.account, _TABLE.c.invoice_id, invoices)


def failure_of(row: Notification | Row) -> Failure:
    """The failure that a notification is about, as far as it is known."""
    return Failure(
        attempt=row.attempt,
        charge_id=row.charge_id,
        next_payment_attempt=row.next_payment_attempt,
        payment_method_id=row.payment_method_id,
    )


def mails_under_way(session: Session, invoices: Collection[StripeId]) -> set[StripeId]:
    """Those of these invoices for whose money an email asks that waits to be sent."""
    if not invoices:
        return set()
    accounts, names = named_objects(invoices)
    found = _under_way(accounts).run(session, names)
    return {
        StripeId(Account(account), invoice_id)
        for account, invoice_id in found
        if invoice_id is not None
    }


@lru_cache
def _under_way(accounts: int) -> Kept:
    return Kept(
        select(_TABLE.c.account, _TABLE.c.invoice_id).where(
            among_named(_TABLE.c.account, _TABLE.c.invoice_id, accounts),
            _TABLE.c.kind.in_([kind.value for kind in DUNNING]),
            _TABLE.c.status.in_([status.value for status in ACTIVE]),
        )
    )


def suppress_waiting(
    session: Session,
    reason: Reason,
    now: dt.datetime,
    *,
    invoices: Sequence[StripeId] = (),
    customer: StripeId | None = None,
) -> Counter[StripeId | None]:
    """Suppress what waits to be sent: the emails that ask for money of `invoices`, or everything of the
    Stripe customer `customer`; how many of each invoice that were. A row that a sender holds is left to it: it looks
    again before it posts."""
    statement = update(Notification).where(Notification.status == Status.PENDING.value)
    if customer:
        statement = statement.where(
            is_object(Notification.account, Notification.stripe_customer_id, customer)
        )
    else:
        statement = statement.where(
            _about(invoices),
            Notification.kind.in_([kind.value for kind in DUNNING]),
        )
    found = session.execute(
        statement.values(
            status=Status.SUPPRESSED.value, reason=reason.value, finished_at=now
        ).returning(Notification.account, Notification.invoice_id)
    )
    return Counter(stripe_id(account, invoice_id) for account, invoice_id in found)


def look_at_once(
    session: Session, invoices: Collection[StripeId], now: dt.datetime, *reasons: Reason
) -> None:
    """Something new is known: what is held for one of these reasons is looked at again now."""
    session.execute(
        update(Notification)
        .where(
            _about(invoices),
            Notification.status == Status.PENDING.value,
            Notification.reason.in_([reason.value for reason in reasons]),
        )
        .values(due_at=now)
    )


class Row(msgspec.Struct):
    """What sending changes of a notification, and what it needs to know to do so; the columns' meaning: `Notification`."""

    notification_id: str
    account: str
    invoice_id: str | None
    stripe_customer_id: str | None
    on_behalf_of: str
    correlation_id: str
    dedupe_key: str
    attempt: int
    next_payment_attempt: dt.datetime | None
    created_at: dt.datetime
    occurred_at: dt.datetime | None
    kind: str
    status: str
    reason: str | None
    charge_id: str | None
    payment_method_id: str | None
    due_at: dt.datetime
    lease_until: dt.datetime | None
    lease_token: str | None
    attempts: int
    unconfirmed_since: dt.datetime | None
    unconfirmed_posts: int
    last_error: str | None
    provider_message_id: str | None
    sent_at: dt.datetime | None
    ready_at: dt.datetime | None
    finished_at: dt.datetime | None
    context: dict[str, Any] | None
    business_id: str | None
    stored: tuple[Any, ...] = ()
    """What of it `store_sent` writes, as the table is known to have it."""

    def __post_init__(self) -> None:
        self.stored = _written(self)

    @property
    def invoice(self) -> StripeId | None:
        """The whole name of its invoice."""
        return stripe_id(self.account, self.invoice_id)

    @property
    def stripe_customer(self) -> StripeCustomer | None:
        """The whole name of its Stripe customer."""
        return stripe_customer(self.account, self.stripe_customer_id, self.on_behalf_of)


_KNOWN: Final = tuple(name for name in Row.__struct_fields__ if name != "stored")
_KEPT: Final = _KNOWN[: _KNOWN.index("kind")]
_WRITTEN: Final = ("notification_id", *_KNOWN[len(_KEPT) :])
_written: Final = attrgetter(*_WRITTEN)


class _Locked(msgspec.Struct):
    incidents: list[Incident]
    rows: list[Row]


_decode: Final = msgspec.json.Decoder(_Locked).decode


def lock_to_send(
    session: Session,
    notification_ids: Iterable[str],
    invoices: Iterable[StripeId],
    customers: Iterable[StripeCustomer] = (),
) -> tuple[dict[StripeId, Incident], dict[str, Row]]:
    """First the incidents as of `incidents.lock_open_incidents`, by invoice, and then these notifications, by id: locked in one order until the
    transaction ends. What changes of the notifications has to be stored."""
    accounts, names = named_objects(invoices)
    merchants, customers_names = named_customers(customers)
    ids = {"ids": sorted(set(notification_ids))}
    (found,) = _locking(accounts, merchants).read(session, ids | names | customers_names)
    locked = _decode(found)
    return (
        {one.name: one for one in locked.incidents},
        {row.notification_id: row for row in locked.rows},
    )


@lru_cache
def _locking(accounts: int, merchants: int) -> Documents:
    incidents = incident_queries.locking_open(
        accounts, merchants, incident_queries.DOCUMENT.label("document")
    ).cte("locked_incidents")
    locked = select(func.count()).select_from(incidents).scalar_subquery()
    rows = (
        select(json_object(**{name: _TABLE.c[name] for name in _KNOWN}).label("document"))
        .where(is_among(_TABLE.c.notification_id, "ids"), locked >= 0)  # the incidents come first
        .order_by(_TABLE.c.notification_id)
        .with_for_update()
        .cte("locked_notifications")
    )
    told = json_object(
        incidents=json_list(select(incidents.c.document)), rows=json_list(select(rows.c.document))
    )
    return Documents(select(as_text(told)))


def store_sent(session: Session, rows: Iterable[Row]) -> None:
    """Write back those of these, which are locked, that have changed, all in one message to the database. What the transaction
    has done to others beside (`leases.release_gathered`) stays."""
    changed = [row for row in rows if row.stored != _written(row)]
    for row in changed:
        row.stored = _written(row)
    values = [dict(zip(_WRITTEN, row.stored, strict=True)) for row in changed]
    update_rows(session, _TABLE, values, ("notification_id",))


def lock_rows(session: Session, notification_ids: Iterable[str]) -> dict[str, Notification]:
    """These notifications, by id, locked in one order until the transaction ends."""
    rows = session.scalars(
        select(Notification)
        .where(Notification.notification_id.in_(sorted(set(notification_ids))))
        .order_by(Notification.notification_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.notification_id: row for row in rows}


def list_notifications(
    session: Session,
    account: Account,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    limit: int,
    status: str | None,
) -> list[Notification]:
    """Notifications, newest first; `account` is that of the ids, and without any those of all accounts are told."""
    statement = select(Notification)
    if status is not None:
        statement = statement.where(Notification.status == status)
    for column, wanted in (
        (Notification.invoice_id, invoice_id),
        (Notification.stripe_customer_id, stripe_customer_id),
    ):
        if wanted is not None:
            statement = statement.where(
                is_object(Notification.account, column, StripeId(account, wanted))
            )
    newest = (Notification.created_at.desc(), Notification.notification_id)
    return list(session.scalars(statement.order_by(*newest).limit(limit)))


def about_invoices(
    session: Session, account: Account, invoice_ids: Collection[str], limit: int
) -> list[Notification]:
    """Notifications about these invoices, newest first."""
    statement = select(Notification).where(
        among_objects(
            Notification.account,
            Notification.invoice_id,
            [StripeId(account, one) for one in invoice_ids],
        )
    )
    newest = (Notification.created_at.desc(), Notification.notification_id)
    return list(session.scalars(statement.order_by(*newest).limit(limit)))


def cancel(row: Notification, now: dt.datetime) -> bool:
    """Keep a waiting notification from being sent; False when it is too late."""
    if row.status != Status.PENDING or row.unconfirmed_since is not None:
        return False
    row.status, row.reason = Status.SUPPRESSED.value, Reason.CANCELLED.value
    row.finished_at = now
    return True
