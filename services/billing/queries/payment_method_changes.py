"""Changes of card: which are open, which events told of them, and when somebody goes on. The caller commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session

from services.billing.domain.changes import OBSERVED, UNASKED, Change, Wish
from services.billing.models import PaymentMethodChange, PaymentMethodChangeEvent
from shared.contracts.accounts import OWN, Account, StripeId
from shared.statements import among_objects, is_object


def change(session: Session, change: StripeId) -> Change | None:
    """A change with the events that joined it."""
    row = session.scalar(_found(change))
    return None if row is None else _read(session, row)


def _found(change: StripeId) -> Select[tuple[PaymentMethodChange]]:
    return select(PaymentMethodChange).where(
        is_object(PaymentMethodChange.account, PaymentMethodChange.id, change)
    )


def change_told_by(session: Session, event: StripeId) -> Change | None:
    """The change that this event has joined."""
    change_id = session.scalar(
        select(PaymentMethodChangeEvent.change_id).where(
            is_object(PaymentMethodChangeEvent.account, PaymentMethodChangeEvent.event_id, event)
        )
    )
    return None if change_id is None else change(session, StripeId(event.account, change_id))


def latest_change(session: Session, customer: StripeId, payment_method: str) -> Change | None:
    """The newest change to this card."""
    row = session.scalar(
        select(PaymentMethodChange)
        .where(
            is_object(
                PaymentMethodChange.account, PaymentMethodChange.stripe_customer_id, customer
            ),
            PaymentMethodChange.payment_method_id == payment_method,
        )
        .order_by(PaymentMethodChange.opened_at.desc(), PaymentMethodChange.set_at.desc())
        .limit(1)
    )
    return None if row is None else _read(session, row)


def _read(session: Session, row: PaymentMethodChange) -> Change:
    told = session.execute(
        select(PaymentMethodChangeEvent.kind, PaymentMethodChangeEvent.scope)
        .where(
            PaymentMethodChangeEvent.account == row.account,
            PaymentMethodChangeEvent.change_id == row.id,
        )
        .distinct()
    )
    return Change(
        account=Account(row.account),
        id=row.id,
        stripe_customer_id=row.stripe_customer_id,
        payment_method=row.payment_method_id,
        told=frozenset((kind, scope) for kind, scope in told),
        set_at=row.set_at,
        tried_at=row.tried_at,
        closed_at=row.closed_at,
        observed=row.outcome == OBSERVED,
    )


def open_change(session: Session, wish: Wish, now: dt.datetime) -> Change:
    """A new change, which this event tells of first."""
    row = PaymentMethodChange(
        account=wish.account,
        id=wish.event_id,
        stripe_customer_id=wish.stripe_customer_id,
        payment_method_id=wish.payment_method,
        set_at=wish.set_at,
        opened_at=now,
        runs=0,
        due_at=now,
    )
    session.add(row)
    _tell(session, row, wish, now)
    return _read(session, row)


def join_change(session: Session, known: Change, wish: Wish, now: dt.datetime) -> Change:
    """Let an event join a change. One of a kind or a scope of its own opens it again: there may be more to do; not of one that was
    only observed. One by which nobody chose the card moves no choice: what was wished before a business's line stays before it."""
    row = session.scalars(_found(known.name)).one()
    if row.tried_at is None and wish.kind not in UNASKED:
        chosen_before = any(kind not in UNASKED for kind, _ in known.told)
        row.set_at = max(row.set_at, wish.set_at) if chosen_before else wish.set_at
    if (wish.kind, wish.scope) not in known.told and row.outcome != OBSERVED:
        row.closed_at = row.outcome = None
    _tell(session, row, wish, now)
    return _read(session, row)


def _tell(session: Session, row: PaymentMethodChange, wish: Wish, now: dt.datetime) -> None:
    session.add(
        PaymentMethodChangeEvent(
            account=row.account,
            event_id=wish.event_id,
            change_id=row.id,
            kind=wish.kind,
            scope=wish.scope,
            joined_at=now,
        )
    )
    session.flush()


def begin_run(
    session: Session, change: StripeId, now: dt.datetime, pauses: Sequence[dt.timedelta]
) -> None:
    """Somebody works on the change; if it is still open after the pause, somebody goes on."""
    row = session.scalars(_found(change)).one()
    row.due_at = now + pauses[min(row.runs, len(pauses) - 1)]
    row.runs += 1


def postpone(session: Session, change: StripeId, until: dt.datetime) -> None:
    """Nothing is to be done about the change before then; of one that was erased meanwhile, nothing ever."""
    _update(session, change, due_at=until)


def wake(session: Session, customers: Collection[StripeId], now: dt.datetime) -> None:
    """Somebody goes on at once with the open changes of these Stripe customers."""
    session.execute(
        update(PaymentMethodChange)
        .where(
            among_objects(
                PaymentMethodChange.account, PaymentMethodChange.stripe_customer_id, customers
            ),
            PaymentMethodChange.closed_at.is_(None),
            PaymentMethodChange.due_at > now,
        )
        .values(due_at=now)
    )


def wake_accounts(session: Session, accounts: Collection[Account], now: dt.datetime) -> None:
    """Somebody goes on at once with the open changes on these accounts."""
    session.execute(
        update(PaymentMethodChange)
        .where(
            PaymentMethodChange.account.in_(accounts),
            PaymentMethodChange.closed_at.is_(None),
            PaymentMethodChange.due_at > now,
        )
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )


def close_change(session: Session, change: StripeId, outcome: str, now: dt.datetime) -> None:
    """The change has run to its end, unless it was erased meanwhile."""
    tried_at = func.coalesce(PaymentMethodChange.tried_at, now)
    _update(session, change, tried_at=tried_at, closed_at=now, outcome=outcome)


def _update(session: Session, change: StripeId, **values: Any) -> None:
    this = is_object(PaymentMethodChange.account, PaymentMethodChange.id, change)
    session.execute(update(PaymentMethodChange).where(this).values(**values))


def accounts_due(
    session: Session, now: dt.datetime, beside: Collection[str], limit: int
) -> list[Account]:
    """Accounts with open changes that somebody has to go on with, without those in `beside`: the own one, which has a place of its own,
    then who has waited longest."""
    found = session.scalars(
        select(PaymentMethodChange.account)
        .where(
            PaymentMethodChange.closed_at.is_(None),
            PaymentMethodChange.due_at <= now,
            PaymentMethodChange.account.not_in(beside),
        )
        .group_by(PaymentMethodChange.account)
        .order_by(PaymentMethodChange.account != OWN, func.min(PaymentMethodChange.due_at))
        .limit(limit)
    )
    return [Account(account) for account in found]


def due_changes(session: Session, account: Account, now: dt.datetime, limit: int) -> list[StripeId]:
    """Open changes of an account that somebody has to go on with, those that have waited longest first."""
    found = session.scalars(
        select(PaymentMethodChange.id)
        .where(
            PaymentMethodChange.account == account,
            PaymentMethodChange.closed_at.is_(None),
            PaymentMethodChange.due_at <= now,
        )
        .order_by(PaymentMethodChange.due_at)
        .limit(limit)
    )
    return [StripeId(account, change_id) for change_id in found]


def changes_about(
    session: Session,
    account: Account,
    *,
    stripe_customer_id: str | None,
    change_ids: Sequence[str],
    limit: int,
) -> Sequence[PaymentMethodChange]:
    """These changes, and the newest ones of the customer."""
    wanted: ColumnElement[bool] = PaymentMethodChange.id.in_(change_ids)
    if stripe_customer_id is not None:
        wanted = or_(wanted, PaymentMethodChange.stripe_customer_id == stripe_customer_id)
    return session.scalars(
        select(PaymentMethodChange)
        .where(PaymentMethodChange.account == account, wanted)
        .order_by(PaymentMethodChange.opened_at.desc())
        .limit(limit)
    ).all()


def told_by(session: Session, account: Account, change_ids: Sequence[str]) -> dict[str, list[str]]:
    """Stripe's ids of the events that joined each change, in the order in which they came."""
    told: dict[str, list[str]] = {change_id: [] for change_id in change_ids}
    rows = session.scalars(
        select(PaymentMethodChangeEvent)
        .where(
            PaymentMethodChangeEvent.account == account,
            PaymentMethodChangeEvent.change_id.in_(change_ids),
        )
        .order_by(PaymentMethodChangeEvent.joined_at, PaymentMethodChangeEvent.event_id)
    )
    for row in rows:
        told[row.change_id].append(row.event_id)
    return told
