"""Changes of card: which are open, which events told of them, and when somebody goes on. The caller commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from services.billing.domain.changes import Change, Wish
from services.billing.models import PaymentMethodChange, PaymentMethodChangeEvent


def change(session: Session, change_id: str) -> Change | None:
    """A change with the events that joined it."""
    row = session.get(PaymentMethodChange, change_id)
    return None if row is None else _read(session, row)


def change_told_by(session: Session, event_id: str) -> Change | None:
    """The change that this event has joined."""
    row = session.get(PaymentMethodChangeEvent, event_id)
    return None if row is None else change(session, row.change_id)


def latest_change(session: Session, stripe_customer_id: str, payment_method: str) -> Change | None:
    """The newest change to this card."""
    row = session.scalar(
        select(PaymentMethodChange)
        .where(
            PaymentMethodChange.stripe_customer_id == stripe_customer_id,
            PaymentMethodChange.payment_method_id == payment_method,
        )
        .order_by(PaymentMethodChange.opened_at.desc(), PaymentMethodChange.set_at.desc())
        .limit(1)
    )
    return None if row is None else _read(session, row)


def _read(session: Session, row: PaymentMethodChange) -> Change:
    told = session.execute(
        select(PaymentMethodChangeEvent.kind, PaymentMethodChangeEvent.scope)
        .where(PaymentMethodChangeEvent.change_id == row.id)
        .distinct()
    )
    return Change(
        id=row.id,
        stripe_customer_id=row.stripe_customer_id,
        payment_method=row.payment_method_id,
        told=frozenset((kind, scope) for kind, scope in told),
        set_at=row.set_at,
        tried_at=row.tried_at,
        closed_at=row.closed_at,
    )


def open_change(session: Session, wish: Wish, now: dt.datetime) -> Change:
    """A new change, which this event tells of first."""
    row = PaymentMethodChange(
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
    """Let an event join a change. One of a kind or a scope of its own opens it again: there may be more to do."""
    row = session.get_one(PaymentMethodChange, known.id)
    if row.tried_at is None:
        row.set_at = max(row.set_at, wish.set_at)
    if (wish.kind, wish.scope) not in known.told:
        row.closed_at = row.outcome = None
    _tell(session, row, wish, now)
    return _read(session, row)


def _tell(session: Session, row: PaymentMethodChange, wish: Wish, now: dt.datetime) -> None:
    session.add(
        PaymentMethodChangeEvent(
            event_id=wish.event_id,
            change_id=row.id,
            kind=wish.kind,
            scope=wish.scope,
            joined_at=now,
        )
    )
    session.flush()


def begin_run(
    session: Session, change_id: str, now: dt.datetime, pauses: Sequence[dt.timedelta]
) -> None:
    """Somebody works on the change; if it is still open after the pause, somebody goes on."""
    row = session.get_one(PaymentMethodChange, change_id)
    row.due_at = now + pauses[min(row.runs, len(pauses) - 1)]
    row.runs += 1


def postpone(session: Session, change_id: str, until: dt.datetime) -> None:
    """Nothing is to be done about the change before then."""
    session.get_one(PaymentMethodChange, change_id).due_at = until


def wake(session: Session, customers: Collection[str], now: dt.datetime) -> None:
    """Somebody goes on at once with the open changes of these Stripe customers."""
    session.execute(
        update(PaymentMethodChange)
        .where(
            PaymentMethodChange.stripe_customer_id.in_(customers),
            PaymentMethodChange.closed_at.is_(None),
            PaymentMethodChange.due_at > now,
        )
        .values(due_at=now)
    )


def close_change(session: Session, change_id: str, outcome: str, now: dt.datetime) -> None:
    """The change has run to its end."""
    row = session.get_one(PaymentMethodChange, change_id)
    row.tried_at = row.tried_at or now
    row.closed_at, row.outcome = now, outcome


def due_changes(session: Session, now: dt.datetime, limit: int) -> Sequence[str]:
    """Open changes that somebody has to go on with, those that have waited longest first."""
    return session.scalars(
        select(PaymentMethodChange.id)
        .where(PaymentMethodChange.closed_at.is_(None), PaymentMethodChange.due_at <= now)
        .order_by(PaymentMethodChange.due_at)
        .limit(limit)
    ).all()


def changes_about(
    session: Session, *, stripe_customer_id: str | None, change_ids: Sequence[str], limit: int
) -> Sequence[PaymentMethodChange]:
    """These changes, and the newest ones of the customer."""
    wanted: ColumnElement[bool] = PaymentMethodChange.id.in_(change_ids)
    if stripe_customer_id is not None:
        wanted = or_(wanted, PaymentMethodChange.stripe_customer_id == stripe_customer_id)
    return session.scalars(
        select(PaymentMethodChange)
        .where(wanted)
        .order_by(PaymentMethodChange.opened_at.desc())
        .limit(limit)
    ).all()


def told_by(session: Session, change_ids: Sequence[str]) -> dict[str, list[str]]:
    """Stripe's ids of the events that joined each change, in the order in which they came."""
    told: dict[str, list[str]] = {change_id: [] for change_id in change_ids}
    rows = session.scalars(
        select(PaymentMethodChangeEvent)
        .where(PaymentMethodChangeEvent.change_id.in_(change_ids))
        .order_by(PaymentMethodChangeEvent.joined_at, PaymentMethodChangeEvent.event_id)
    )
    for row in rows:
        told[row.change_id].append(row.event_id)
    return told
