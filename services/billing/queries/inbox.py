"""The inbox: Stripe's events as they came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from services.billing.domain.accounts import AccountState, Directory, Way
from services.billing.models import InboxEvent, StripeAccount, inbox_account_is
from services.billing.stripe_events.translation import Status
from shared.contracts.accounts import OWN, Account, StripeId, by_account
from shared.statements import Kept, is_among, table_of

MOST_WAITING: Final = 100
"""Accounts looked at for one that is served."""


def count_deliveries(session: Session, again: Mapping[StripeId, int], now: dt.datetime) -> None:
    """Note that these events were delivered so many times more.

    A row that somebody else is writing now is skipped: a count is not worth a wait, and never a deadlock.
    """
    free = [
        StripeId(Account(account), event_id)
        for account, event_id in session.execute(
            select(func.coalesce(InboxEvent.account, OWN), InboxEvent.id)
            .where(_among(again))
            .with_for_update(skip_locked=True)
        )
    ]
    for times in sorted({again[event] for event in free}):
        same = [one for one in free if again[one] == times]
        session.execute(
            update(InboxEvent)
            .where(_among(same))
            .values(deliveries=InboxEvent.deliveries + times, last_delivered_at=now)
            .execution_options(synchronize_session=False)
        )


def inbox_event(session: Session, event: StripeId, *, lock: bool = False) -> InboxEvent | None:
    """One stored Stripe event; locked on demand, for a change and against a second replay at the same time."""
    if lock:  # an entity whose key holds a NULL can't be changed
        session.execute(
            update(InboxEvent).where(_is(event), InboxEvent.account.is_(None)).values(account=OWN)
        )
    found = select(InboxEvent).where(_is(event))
    return session.scalar(found.with_for_update() if lock else found)


def _is(event: StripeId) -> ColumnElement[bool]:
    return and_(inbox_account_is(event.account), InboxEvent.id == event.id)


def _among(wanted: Iterable[StripeId]) -> ColumnElement[bool]:
    terms = (
        and_(inbox_account_is(account), InboxEvent.id.in_(ids))
        for account, ids in by_account(wanted).items()
    )
    return or_(false(), *terms)


def inbox_events(
    session: Session,
    *,
    status: str | None,
    type: str | None,
    before: dt.datetime | None,
    limit: int,
    before_id: str | None = None,
) -> Sequence[InboxEvent]:
    """Stored Stripe events, newest first. `before_id` goes with `before`: of events of that very moment those below it count too."""
    statement = select(InboxEvent).order_by(InboxEvent.received_at.desc(), InboxEvent.id.desc())
    if status is not None:
        statement = statement.where(InboxEvent.status == status)
    if type is not None:
        statement = statement.where(InboxEvent.type == type)
    if before is not None:
        earlier = InboxEvent.received_at < before
        if before_id is not None:
            same = and_(InboxEvent.received_at == before, InboxEvent.id < before_id)
            earlier = or_(earlier, same)
        statement = statement.where(earlier)
    return session.scalars(statement.limit(limit)).all()


def account_that_waits(session: Session, directory: Directory) -> Account | None:
    """An account that is served, and has events stored as `connected`: of several any one."""
    waits = exists().where(
        InboxEvent.status == Status.CONNECTED.value, StripeAccount.account == InboxEvent.account
    )
    candidates = list(
        session.scalars(
            select(StripeAccount.account)
            .where(StripeAccount.state != AccountState.DISCONNECTED.value, waits)
            .order_by(func.random())
            .limit(MOST_WAITING)
        )
    )
    own_keys = [
        one.account
        for one in directory
        if one.way is Way.OWN_KEY and one.state is not AccountState.DISCONNECTED
    ]
    if own_keys:
        rows = session.scalars(
            select(InboxEvent.account)
            .where(InboxEvent.status == Status.CONNECTED.value, InboxEvent.account.in_(own_keys))
            .distinct()
            .limit(MOST_WAITING)
        )
        candidates += [account for account in rows if account]
    served = map(Account, candidates)
    return next((one for one in served if directory.why_not_served(one) is None), None)


def lock_waiting(session: Session, account: Account, limit: int) -> Sequence[InboxEvent]:
    """Its oldest events that are stored as `connected`, locked; those that another process has are left to it."""
    return session.scalars(
        select(InboxEvent)
        .where(InboxEvent.status == Status.CONNECTED.value, InboxEvent.account == account)
        .order_by(InboxEvent.received_at, InboxEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def payloads_about(
    session: Session,
    account: Account,
    object_ids: Sequence[str],
    types: Sequence[str] | None = None,
) -> Sequence[str]:
    """The stored payloads of what Stripe told of these invoices (or other objects), of these types if any are named."""
    names = {"account": account, "ids": list(object_ids)}
    statement = _payloads(account == OWN, tuple(types) if types is not None else None)
    return statement.run(session, names).scalars().all()


@lru_cache
def _payloads(own: bool, types: tuple[str, ...] | None) -> Kept:
    """Made once: emails ask it of each batch of invoices."""
    inbox = table_of(InboxEvent)
    named = inbox.c.account == bindparam("account")
    translated = inbox.c.status == Status.TRANSLATED.value
    return Kept(
        select(inbox.c.payload).where(
            or_(named, inbox.c.account.is_(None)) if own else named,  # as `inbox_account_is`
            is_among(inbox.c.object_id, "ids"),
            inbox.c.payload != "",
            translated if types is None else inbox.c.type.in_(types),
        )
    )


def webhooks_arrived(session: Session, account: Account, since: dt.datetime) -> bool:
    """Whether Stripe has delivered anything new since a moment that says what happened on an account."""
    found = select(InboxEvent.id).where(
        inbox_account_is(account),
        InboxEvent.received_at > since,
        InboxEvent.deliveries > 0,
        InboxEvent.status.not_in((Status.THIN.value, Status.CONNECTED.value)),
    )
    return session.scalar(found.limit(1)) is not None


def thin_arrived(session: Session, account: Account, since: dt.datetime) -> bool:
    """Whether a thin event came since a moment: what it is about stands in Stripe's log."""
    found = select(InboxEvent.id).where(
        inbox_account_is(account),
        InboxEvent.received_at > since,
        InboxEvent.status == Status.THIN.value,
    )
    return session.scalar(found.limit(1)) is not None


def delivered_kinds(session: Session, since: dt.datetime) -> dict[str, int]:
    """How many events Stripe has delivered since a moment, by what they turned out to be: `thin`, `connected`, `own`. Not that an
    account let us in or out, which comes while it is not served yet, or no more."""
    apart = (Status.THIN.value, Status.CONNECTED.value)
    counted = session.execute(
        select(InboxEvent.status, func.count())
        .where(
            InboxEvent.received_at > since,
            InboxEvent.deliveries > 0,
            InboxEvent.type.not_like("account.application.%"),
        )
        .group_by(InboxEvent.status)
    ).all()
    kinds = dict.fromkeys((*apart, "own"), 0)
    for status, count in counted:
        kinds[status if status in apart else "own"] += count
    return kinds


def inbox_between(
    session: Session, types: Sequence[str], after: dt.datetime, until: dt.datetime, limit: int
) -> Sequence[InboxEvent]:
    """Stored events of these types in the order of their receipt: `limit`, and those received in the same moment as the
    last of them."""
    wanted = (
        InboxEvent.type.in_(types),
        InboxEvent.received_at > after,
        InboxEvent.received_at <= until,
    )
    last = session.scalar(
        select(InboxEvent.received_at)
        .where(*wanted)
        .order_by(InboxEvent.received_at)
        .offset(limit - 1)
        .limit(1)
    )
    return session.scalars(
        select(InboxEvent)
        .where(*wanted, InboxEvent.received_at <= (last or until))
        .order_by(InboxEvent.received_at, InboxEvent.id)
    ).all()


def type_of(session: Session, event: StripeId) -> str | None:
    """Stripe's type of a stored event."""
    return session.scalar(select(InboxEvent.type).where(_is(event)))
