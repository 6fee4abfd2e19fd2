"""Every statement about changes of card: which are open, what was tried, whose turn it is. The caller commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, delete, or_, select, update
from sqlalchemy.orm import Session

from services.billing.domain.changes import A_MONTH, ONCE_IN, Change, Try, Wish
from services.billing.domain.paying import Payment, PayOutcome, pay_key
from services.billing.models import (
    InboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    Recovery,
    RecoveryLease,
    RecoveryRun,
)
from shared.database import insert_new

# --- one customer at a time ----------------------------------------------------------------------------------


def take_lease(
    session: Session, stripe_customer_id: str, holder: str, now: dt.datetime, until: dt.datetime
) -> bool:
    """Take the customer for `holder`, or keep it; False while somebody else has it.

    The row stays locked until the caller commits: what is written with it is written by the holder alone.
    """
    table = cast(Table, RecoveryLease.__table__)
    row = {"stripe_customer_id": stripe_customer_id, "holder": holder, "until": until}
    if insert_new(
        session, table, [row], conflict=["stripe_customer_id"], returning="stripe_customer_id"
    ):
        return True
    taken = session.execute(
        update(RecoveryLease)
        .where(
            RecoveryLease.stripe_customer_id == stripe_customer_id,
            or_(RecoveryLease.holder == holder, RecoveryLease.until <= now),
        )
        .values(holder=holder, until=until)
        .returning(RecoveryLease.holder)
    ).all()
    return bool(taken)


def release_lease(session: Session, stripe_customer_id: str, holder: str) -> None:
    """Give the customer back, if it is still ours."""
    session.execute(
        delete(RecoveryLease).where(
            RecoveryLease.stripe_customer_id == stripe_customer_id, RecoveryLease.holder == holder
        )
    )


# --- changes -------------------------------------------------------------------------------------------------


def type_of(session: Session, stripe_event_id: str) -> str | None:
    """Stripe's type of a stored event."""
    return session.scalar(select(InboxEvent.type).where(InboxEvent.id == stripe_event_id))


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


# --- the hour's limit ----------------------------------------------------------------------------------------


def recent_runs(
    session: Session, stripe_customer_id: str, payment_method: str, now: dt.datetime
) -> dict[str, dt.datetime]:
    """When a bank was last asked about this card, within the last hour, by scope."""
    found = session.execute(
        select(RecoveryRun.scope, RecoveryRun.finished_at).where(
            RecoveryRun.stripe_customer_id == stripe_customer_id,
            RecoveryRun.payment_method_id == payment_method,
            RecoveryRun.finished_at > now - ONCE_IN,
        )
    )
    return {row.scope: row.finished_at for row in found}


def note_run(session: Session, change: Change, scope: str, now: dt.datetime) -> None:
    """Remember that a bank is asked about this card now. Replicas of the release before go by it, too."""
    session.merge(
        RecoveryRun(
            stripe_customer_id=change.stripe_customer_id,
            payment_method_id=change.payment_method,
            scope=scope,
            finished_at=now,
        )
    )


# --- tries ---------------------------------------------------------------------------------------------------


def start_try(
    session: Session,
    change: Change,
    *,
    invoice_id: str,
    attempt: int,
    since: dt.datetime,
    payment: Payment,
    now: dt.datetime,
) -> Try:
    """Write down that an invoice is about to be paid with the change's card, or why it is not."""
    tried = select(PaymentTry.number).where(
        PaymentTry.change_id == change.id, PaymentTry.invoice_id == invoice_id
    )
    row = PaymentTry(
        change_id=change.id,
        invoice_id=invoice_id,
        number=max(session.scalars(tried), default=0) + 1,
        stripe_customer_id=change.stripe_customer_id,
        payment_method_id=change.payment_method,
        attempt=attempt,
        since=since,
        started_at=now,
        sent_at=now,
        key_spent=False,
        outcome=payment.outcome.value,
        detail=payment.detail,
        at=now,
    )
    session.add(row)
    session.flush()
    parent = session.get_one(PaymentMethodChange, change.id)
    parent.tried_at = parent.tried_at or now
    return _try(row)


def send_try(session: Session, known: Try, now: dt.datetime) -> None:
    """Its key is about to be sent, for the first time or again."""
    _row(session, known).sent_at = now


def spend_key(session: Session, known: Try) -> None:
    """Its key can't bring a charge about any more."""
    _row(session, known).key_spent = True


def end_try(session: Session, known: Try, payment: Payment, now: dt.datetime) -> None:
    """What came of it is known."""
    row = _row(session, known)
    row.outcome, row.detail, row.at = payment.outcome.value, payment.detail, now


def unknown_tries(session: Session, stripe_customer_id: str) -> list[Try]:
    """The customer's tries, of whatever change, whose answer is not known."""
    rows = session.scalars(
        select(PaymentTry)
        .where(
            PaymentTry.stripe_customer_id == stripe_customer_id,
            PaymentTry.outcome == PayOutcome.UNKNOWN.value,
        )
        .order_by(PaymentTry.started_at, PaymentTry.invoice_id)
    )
    return [_try(row) for row in rows]


def answered_invoices(session: Session, change_id: str) -> set[str]:
    """The invoices about which this change has had its answer."""
    open_ended = (PayOutcome.UNKNOWN.value, PayOutcome.NOT_CHARGED.value)
    return set(
        session.scalars(
            select(PaymentTry.invoice_id).where(
                PaymentTry.change_id == change_id, PaymentTry.outcome.not_in(open_ended)
            )
        )
    )


def times_tried(
    session: Session, invoice_id: str, now: dt.datetime
) -> list[tuple[str, dt.datetime]]:
    """With which cards, and when, a bank may have been asked about the invoice by us, in the last month."""
    not_asked = (PayOutcome.ALREADY_TRIED.value, PayOutcome.CAPPED.value)
    found = session.execute(
        select(PaymentTry.payment_method_id, PaymentTry.started_at).where(
            PaymentTry.invoice_id == invoice_id,
            PaymentTry.outcome.not_in(not_asked),
            PaymentTry.started_at > now - A_MONTH,
        )
    )
    return [(card, at) for card, at in found]


def _row(session: Session, known: Try) -> PaymentTry:
    return session.get_one(PaymentTry, (known.change_id, known.invoice_id, known.number))


def _try(row: PaymentTry) -> Try:
    return Try(
        key=pay_key(row.invoice_id, row.payment_method_id, row.change_id, row.number),
        change_id=row.change_id,
        invoice_id=row.invoice_id,
        payment_method=row.payment_method_id,
        number=row.number,
        since=row.since,
        started_at=row.started_at,
        sent_at=row.sent_at,
        key_spent=row.key_spent,
    )


# --- for people ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovered:
    """A try as people see it; of releases before changes were rows, `change_id` is None."""

    stripe_customer_id: str
    invoice_id: str
    payment_method_id: str
    change_id: str | None
    attempt: int
    outcome: str
    detail: str | None
    at: dt.datetime


def recoveries(
    session: Session, *, stripe_customer_id: str | None, invoice_id: str | None, limit: int
) -> list[Recovered]:
    """Tries, newest first."""
    found: list[Recovered] = []
    tables: tuple[type[Any], ...] = (PaymentTry, Recovery)
    for table in tables:
        statement = select(table).order_by(table.at.desc())
        if stripe_customer_id is not None:
            statement = statement.where(table.stripe_customer_id == stripe_customer_id)
        if invoice_id is not None:
            statement = statement.where(table.invoice_id == invoice_id)
        found += [
            Recovered(
                stripe_customer_id=row.stripe_customer_id,
                invoice_id=row.invoice_id,
                payment_method_id=row.payment_method_id,
                change_id=getattr(row, "change_id", None),
                attempt=row.attempt,
                outcome=row.outcome,
                detail=row.detail,
                at=row.at,
            )
            for row in session.scalars(statement.limit(limit))
        ]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


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
