"""Notifications in a sender's hands: which are due, whose turn it is, what is told in one email, and what waits."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.keys import is_manual_resend
from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import LEASE
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import Notification
from services.notifier.queries.incidents import read_incidents
from services.notifier.queries.notifications import Lease, NewNotification, Row, by_id
from shared.contracts.accounts import (
    OWN,
    Account,
    StripeCustomer,
    StripeId,
    look_up,
    stripe_customer,
    stripe_id,
)
from shared.postgresql import WITH_NEXT
from shared.statements import Kept, is_among, table_of

MOST_OF_OTHERS: Final = 1000
"""Among so many that are due longest of accounts without their share turns are given. An account that has more than these gets its share by
the first look, and makes room for the next ones by that: the second one passes over it."""
GATHERS: Final = "gathers"
"""In a notification's context: others are told in it."""


def gather(
    session: Session, leased: Leased, now: dt.datetime, line: dt.datetime | None = None
) -> None:
    """Give this email, which is leased, the customer's others that wait to be told together: also those that another
    sender holds and has not begun. They are told in it, and leave the schedule. What happened before the business's `line` stays:
    it is not to be told, unless a person has accepted it since."""
    live: ColumnElement[bool] = true()
    if line is not None:
        live = or_(
            Notification.accepted_at >= line,
            and_(
                Notification.created_at >= line,
                func.coalesce(Notification.occurred_at, Notification.created_at) >= line,
            ),
        )
    session.execute(
        update(Notification)
        .where(
            Notification.account == leased.account,
            Notification.stripe_customer_id == leased.stripe_customer_id,
            Notification.on_behalf_of == leased.on_behalf_of,
            Notification.notification_id != leased.notification_id,
            Notification.status.in_([status.value for status in ACTIVE]),
            Notification.reason == Reason.WAITS_FOR_OTHERS.value,
            Notification.unconfirmed_since.is_(None),
            live,
        )
        .values(
            told_in=leased.notification_id,
            status=Status.SUPPRESSED.value,
            reason=Reason.TOLD_TOGETHER.value,
            lease_token=None,
            finished_at=now,
        )
        .execution_options(synchronize_session=False)
    )


def told_in(
    session: Session, notification_ids: Collection[str], *, lock: bool = True
) -> list[Notification]:
    """The notifications that are told in these ones' emails; locked in one order until the transaction ends."""
    statement = (
        select(Notification)
        .where(Notification.told_in.in_(notification_ids))
        .order_by(Notification.notification_id)
    )
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return list(session.scalars(statement))


def release_gathered(session: Session, notification_id: str, now: dt.datetime) -> None:
    """This email will not go out: what was to be told in it is due again, by itself."""
    session.execute(
        update(Notification)
        .where(Notification.told_in == notification_id, Notification.sent_at.is_(None))
        .values(
            told_in=None,
            status=Status.PENDING.value,
            reason=Reason.WAITS_FOR_OTHERS.value,
            due_at=now,
            finished_at=None,
        )
        .execution_options(synchronize_session=False)
    )


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    """A notification that this sender, and nobody else, may work on until its lease ends."""

    notification_id: str
    lease_token: str
    kind: Kind
    account: Account = OWN
    """Of its Stripe ids."""
    invoice_id: str | None
    stripe_customer_id: str | None
    on_behalf_of: str = ""
    customer_id: str | None
    correlation_id: str
    traceparent: str
    incident: Incident | None
    heard_at: dt.datetime
    occurred_at: dt.datetime
    by_hand: bool = False
    """A person wants it out now."""
    accepted_at: dt.datetime | None = None
    """When a person said that it is to go out, though it was observed."""
    lookups: int = 0
    """Times that the portal did not know the customer."""
    gathers: bool = False
    """It has waited for other failures of its customer, and tells of them too."""
    context: dict[str, Any] = msgspec.field(default_factory=dict)

    def span_facts(self) -> dict[str, str]:
        """What the span of one try to send it tells."""
        return {"kind": self.kind.value, "notification_id": self.notification_id}

    @property
    def wanted_at(self) -> dt.datetime | None:
        """When a person last said that this very email is to go out; None: nobody has."""
        return self.accepted_at or (self.heard_at if self.by_hand else None)

    @property
    def invoice(self) -> StripeId | None:
        """The whole name of its invoice."""
        return stripe_id(self.account, self.invoice_id)

    @property
    def stripe_customer(self) -> StripeCustomer | None:
        """The whole name of its Stripe customer."""
        return stripe_customer(self.account, self.stripe_customer_id, self.on_behalf_of)

    def holds(self, row: Notification | Row) -> bool:
        """Whether the row is still this sender's: not lost to another one, and not finished."""
        return row.lease_token == self.lease_token and row.status == Status.SENDING


class FreshLeases:
    """Leases of notifications that are written down just now. They are a sender's from the start, which costs no transaction
    of its own: nobody else can contend for what nobody has seen."""

    def __init__(self, most: int, now: dt.datetime) -> None:
        """`most` is how many this process can send at once."""
        self._most = most
        self._lease = Lease(new_token(), now + LEASE)
        self.taken: list[Leased] = []
        """What is this process's once the transaction is committed."""
        self.others_due = False
        """Something is, or may be, due besides."""

    def lease(self, rows: Mapping[str, NewNotification]) -> dict[str, NewNotification]:
        """Those of these, by their keys, that are leased with their writing down: the first that will be sent."""
        wanted = [key for key, row in rows.items() if row.reason is None]
        return {key: replace(rows[key], lease=self._lease) for key in wanted[: self._most]}

    def note(self, added: Iterable[tuple[NewNotification, Incident]]) -> None:
        """These were written down, and are to be sent."""
        for row, incident in added:
            if row.lease is None:
                self.others_due = True
                continue
            self.taken.append(
                Leased(
                    notification_id=row.notification_id,
                    lease_token=row.lease.token,
                    kind=row.kind,
                    account=row.account,
                    invoice_id=row.invoice_id,
                    stripe_customer_id=row.stripe_customer_id,
                    on_behalf_of=row.on_behalf_of,
                    customer_id=row.customer_id,
                    correlation_id=row.correlation_id,
                    traceparent=row.traceparent,
                    incident=incident,
                    heard_at=row.now,
                    occurred_at=row.occurred_at or row.now,
                    context=row.context or {},
                )
            )


@dataclass(frozen=True)
class Beside:
    """What may be leased: nothing of these accounts, and of any other one no more than `each`."""

    accounts: frozenset[str]
    each: int


def new_token() -> str:
    """The name of a lease: of all that one transaction takes."""
    return secrets.token_urlsafe(12)


_TABLE: Final = table_of(Notification)
_LEASED: Final = (
    _TABLE.c.notification_id,
    _TABLE.c.kind,
    _TABLE.c.account,
    _TABLE.c.invoice_id,
    _TABLE.c.stripe_customer_id,
    _TABLE.c.on_behalf_of,
    _TABLE.c.customer_id,
    _TABLE.c.correlation_id,
    _TABLE.c.traceparent,
    _TABLE.c.created_at,
    _TABLE.c.occurred_at,
    _TABLE.c.dedupe_key,
    _TABLE.c.lookups,
    _TABLE.c.reason,
    _TABLE.c.context,
    _TABLE.c.accepted_at,
)


_IS_DUE: Final = (
    _TABLE.c.status.in_([status.value for status in ACTIVE]),
    _TABLE.c.due_at <= bindparam("now"),
)
_OLDEST: Final = (_TABLE.c.due_at, _TABLE.c.notification_id)
_ALL_DUE: Final = (
    select(*_LEASED)
    .where(*_IS_DUE)
    .order_by(*_OLDEST)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_IS_WELCOME: Final = _TABLE.c.kind == Kind.WELCOME.value
_EMAILS_DUE: Final = _ALL_DUE.where(~_IS_WELCOME)
_DUE: Final = Kept(_EMAILS_DUE)
_WELCOMES_DUE: Final = Kept(_ALL_DUE.where(_IS_WELCOME))
_OLDEST_OF_OTHERS: Final = (
    select(_TABLE.c.notification_id, _TABLE.c.account, _TABLE.c.due_at)
    .where(*_IS_DUE, ~_IS_WELCOME, ~is_among(_TABLE.c.account, "accounts"))
    .order_by(*_OLDEST)
    .limit(MOST_OF_OTHERS)
    .subquery()
)
_OTHERS: Final = select(
    _OLDEST_OF_OTHERS.c.notification_id,
    func.row_number()
    .over(
        partition_by=_OLDEST_OF_OTHERS.c.account,
        order_by=(_OLDEST_OF_OTHERS.c.due_at, _OLDEST_OF_OTHERS.c.notification_id),
    )
    .label("turn"),
).subquery()
_DUE_OF_OTHERS: Final = Kept(
    _EMAILS_DUE.where(
        _TABLE.c.notification_id.in_(
            select(_OTHERS.c.notification_id).where(
                _OTHERS.c.turn <= bindparam("each", type_=Integer)
            )
        )
    )
)
_TAKING: Final = Kept(
    update(_TABLE)
    .where(is_among(_TABLE.c.notification_id, "ids"))
    .values(
        status=Status.SENDING.value,
        lease_token=bindparam("token"),
        lease_until=bindparam("until"),
        due_at=bindparam("until"),
    ),
    WITH_NEXT,
)


def lease_due(
    session: Session,
    now: dt.datetime,
    limit: int,
    beside: Beside | None = None,
) -> list[Leased]:
    """Take up to `limit` due notifications, oldest first; with `beside` those that it allows, which passes over all
    that is due of its accounts. Several senders at
    once get different ones. Welcomes are none of them: see `lease_welcomes`.

    The end of a lease is written as the row's next `due_at`: a sender that dies gives its rows back by dying.
    """
    wanted: dict[str, Any] = {"now": now, "most": limit}
    if beside is None:
        rows = _DUE.run(session, wanted).all()
    else:
        wanted |= {"accounts": sorted(beside.accounts), "each": beside.each}
        rows = _DUE_OF_OTHERS.run(session, wanted).all()
    return _take(session, rows, now)


def lease_welcomes(session: Session, now: dt.datetime, limit: int) -> list[Leased]:
    """The same of welcomes alone: they come in thousands, and stand in front of nothing."""
    found = _WELCOMES_DUE.run(session, {"now": now, "most": limit})
    return _take(session, found.all(), now)


def _take(session: Session, rows: Sequence[Any], now: dt.datetime) -> list[Leased]:
    if not rows:
        return []
    lease = Lease(new_token(), now + LEASE)
    _TAKING.run(
        session,
        {
            "ids": [row.notification_id for row in rows],
            "token": lease.token,
            "until": lease.until,
        },
    )
    invoices = [stripe_id(row.account, row.invoice_id) for row in rows]
    incidents = read_incidents(session, [one for one in invoices if one is not None])
    return [
        Leased(
            notification_id=row.notification_id,
            lease_token=lease.token,
            kind=Kind(row.kind),
            account=Account(row.account),
            invoice_id=row.invoice_id,
            stripe_customer_id=row.stripe_customer_id,
            on_behalf_of=row.on_behalf_of,
            customer_id=row.customer_id,
            correlation_id=row.correlation_id,
            traceparent=row.traceparent or "",
            incident=look_up(incidents, invoice),
            heard_at=row.created_at,
            occurred_at=row.occurred_at or row.created_at,
            by_hand=is_manual_resend(row.dedupe_key),
            accepted_at=row.accepted_at,
            lookups=row.lookups,
            gathers=row.reason == Reason.WAITS_FOR_OTHERS
            or (row.context or {}).get(GATHERS) is True,
            context=row.context or {},
        )
        for row, invoice in zip(rows, invoices, strict=True)
    ]


def lock_leased(session: Session, leased: Leased) -> Notification | None:
    """The leased row, locked; None when the lease was lost to another sender or the row is finished."""
    row = by_id(session, leased.notification_id, lock=True)
    return row if row is not None and leased.holds(row) else None


@dataclass(frozen=True)
class Backlog:
    """How much waits, and for how long the oldest due one has waited, in seconds."""

    pending: int
    oldest_due_seconds: float


def backlog(session: Session, now: dt.datetime) -> Backlog:
    """What waits to be sent. Only what is due and held by nobody counts as late; so does what was tried in vain and comes again: it has been
    due since it was first ready, however far off its next try is."""
    waits = Notification.status.in_([status.value for status in ACTIVE])
    ready = func.coalesce(Notification.ready_at, Notification.created_at)
    in_vain = and_(Notification.attempts > 0, Notification.unconfirmed_since.is_(None))
    due = case((in_vain, ready), else_=Notification.due_at)
    pending, oldest = session.execute(
        select(func.count(), func.min(due).filter(due <= now)).where(waits)
    ).one()
    return Backlog(pending, (now - oldest).total_seconds() if oldest else 0.0)
