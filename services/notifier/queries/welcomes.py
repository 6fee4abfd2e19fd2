"""Who is to be welcomed: the queue of each business, and how fast it is worked off.

Locks are taken in the order run, notifications (`welcome_emails`), customers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.models import Notification, Welcome, WelcomeRun
from services.notifier.queries.welcome_emails import GONE, MAY_GO_AGAIN
from shared.statements import changed, insert_new, table_of

_WAITS: Final = Welcome.released_at.is_(None)
_TAKEN_OFF: Final = and_(Welcome.released_at.is_not(None), Welcome.notification_id.is_(None))
"""Their turn came to nothing: they were taken off the queue."""
TAKEN_OFF: Final = "taken_off"


@dataclass(frozen=True, kw_only=True)
class NewWelcome:
    """A customer who is to be welcomed."""

    customer_id: str
    business_id: str
    timezone: str | None
    now: dt.datetime


# --- asking -----------------------------------------------------------------------------------------------------------


def add(session: Session, new: Iterable[NewWelcome]) -> set[str]:
    """Put customers into the queue, in this order; the ids of those who were never in it."""
    rows = [
        {
            "customer_id": one.customer_id,
            "business_id": one.business_id,
            "timezone": one.timezone,
            "asked_at": one.now,
            "released_at": None,
            "notification_id": None,
        }
        for one in new
    ]
    return set(
        insert_new(
            session,
            table_of(Welcome),
            rows,
            conflict=["customer_id"],
            returning="customer_id",
        )
    )


@dataclass(frozen=True)
class Known:
    """A customer who was asked for before."""

    waits: bool
    may_be_asked_again: bool
    """They had their turn, and certainly no email, for a reason that may have passed."""


def known_among(session: Session, customer_ids: Collection[str]) -> dict[str, Known]:
    """Those of these customers who were ever asked for."""
    rows = session.execute(
        select(Welcome.customer_id, _WAITS, case((or_(_TAKEN_OFF, MAY_GO_AGAIN), 1), else_=0))
        .outerjoin(Notification, Notification.notification_id == Welcome.notification_id)
        .where(Welcome.customer_id.in_(customer_ids))
    )
    return {id: Known(waits, not waits and bool(again)) for id, waits, again in rows}


def ask_again(session: Session, customer_ids: Collection[str], now: dt.datetime) -> None:
    """Put customers who had their turn back into the queue."""
    session.execute(
        update(Welcome)
        .where(_in_order(Welcome.customer_id.in_(customer_ids)))
        .values(released_at=None, asked_at=now)
        .execution_options(synchronize_session=False)
    )


def begin_run(session: Session, business_id: str, per_hour: int, now: dt.datetime) -> WelcomeRun:
    """The run of a business, locked until the transaction ends; made where there is none."""
    row = {"business_id": business_id, "per_hour": per_hour, "asked_at": now, "due_at": now}
    insert_new(
        session,
        table_of(WelcomeRun),
        [row | {"held": None, "finished_at": None}],
        conflict=["business_id"],
        returning="business_id",
    )
    run = lock_run(session, business_id)
    if run is None:
        raise LookupError("a run that was just written is gone")
    return run


def lock_run(session: Session, business_id: str) -> WelcomeRun | None:
    """The run of a business, locked until the transaction ends."""
    return session.scalar(
        select(WelcomeRun)
        .where(WelcomeRun.business_id == business_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def take_off(session: Session, business_id: str, now: dt.datetime) -> int:
    """Take those of a business who wait off the queue, until they are asked for again; how many. Its run is locked."""
    return changed(
        session,
        update(Welcome)
        .where(_in_order(Welcome.business_id == business_id, _WAITS))
        .values(released_at=now, notification_id=None)
        .execution_options(synchronize_session=False),
    )


def _in_order(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """These customers, locked one after the other as `lock_customers` does: neither waits for the other for ever."""
    found = select(Welcome.welcome_id).where(*which).order_by(Welcome.welcome_id)
    return Welcome.welcome_id.in_(found.with_for_update())


# --- releasing --------------------------------------------------------------------------------------------------------


def due_runs(session: Session, now: dt.datetime, limit: int) -> list[str]:
    """The businesses whose next customers are due, the one that has waited longest first."""
    return list(
        session.scalars(
            select(WelcomeRun.business_id)
            .where(WelcomeRun.finished_at.is_(None), WelcomeRun.due_at <= now)
            .order_by(WelcomeRun.due_at, WelcomeRun.business_id)
            .limit(limit)
        )
    )


def take_run(session: Session, business_id: str, now: dt.datetime) -> WelcomeRun | None:
    """The run, locked, if it is still due and nobody else has it in hand."""
    return session.scalar(
        select(WelcomeRun)
        .where(
            WelcomeRun.business_id == business_id,
            WelcomeRun.finished_at.is_(None),
            WelcomeRun.due_at <= now,
        )
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )


def zones_waiting(session: Session, business_id: str) -> list[str | None]:
    """The time zones of a business's customers who wait; None: the business's."""
    return list(
        session.scalars(
            select(Welcome.timezone).where(Welcome.business_id == business_id, _WAITS).distinct()
        )
    )


def next_customers(
    session: Session, business_id: str, limit: int, zones: Collection[str | None] | None
) -> list[str]:
    """The first of a business's queue; of customers in these zones alone, where they are given."""
    statement = select(Welcome.customer_id).where(Welcome.business_id == business_id, _WAITS)
    if zones is not None:
        named = [zone for zone in zones if zone is not None]
        awake: ColumnElement[bool] = Welcome.timezone.in_(named)
        if None in zones:
            awake = or_(awake, Welcome.timezone.is_(None))
        statement = statement.where(awake)
    statement = statement.order_by(Welcome.welcome_id).limit(limit)
    return list(session.scalars(statement))


# --- telling ----------------------------------------------------------------------------------------------------------


def lock_customers(
    session: Session, customer_ids: Collection[str], *, who_wait: bool = False
) -> list[Welcome]:
    """What is known of these customers' welcomes, or of those who wait for their turn, locked in one order until the transaction ends."""
    return list(
        session.scalars(
            select(Welcome)
            .where(Welcome.customer_id.in_(customer_ids), _WAITS if who_wait else true())
            .order_by(Welcome.welcome_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def have_gone(session: Session, welcomes: Iterable[Welcome]) -> bool:
    """Whether one of these customers was sent their email, or may have been. Of who had their turn, and whose email is forgotten by now,
    that is taken for certain."""
    had_turn: dict[str, bool] = {}
    for one in welcomes:
        if (id := one.notification_id) is not None:
            had_turn[id] = had_turn.get(id, False) or one.released_at is not None
    if not had_turn:
        return False
    found = session.execute(
        select(Notification.notification_id, case((GONE, 1), else_=0)).where(
            Notification.notification_id.in_(had_turn)
        )
    )
    gone = dict(found.tuples().all())
    return any(gone.get(id, forgotten) for id, forgotten in had_turn.items())


# --- looking ----------------------------------------------------------------------------------------------------------


def run_of(session: Session, business_id: str) -> WelcomeRun | None:
    """The run of a business, to look at."""
    return session.get(WelcomeRun, business_id)


def waiting(session: Session, business_id: str) -> int:
    """How many of a business's customers wait for their turn."""
    statement = select(func.count()).where(Welcome.business_id == business_id, _WAITS)
    return session.scalar(statement) or 0


def by_outcome(session: Session, business_id: str) -> dict[str | None, int]:
    """How many of a business's customers whose turn came stand where, by status, or `TAKEN_OFF`; None: it is forgotten by now."""
    taken_back = and_(
        Notification.status == Status.SUPPRESSED.value,
        Notification.reason == Reason.WELCOMING_STOPPED.value,
    )
    outcome = case((or_(_TAKEN_OFF, taken_back), TAKEN_OFF), else_=Notification.status)
    rows: Any = session.execute(
        select(outcome.label("outcome"), func.count())
        .select_from(Welcome)
        .outerjoin(Notification, Notification.notification_id == Welcome.notification_id)
        .where(Welcome.business_id == business_id, ~_WAITS)
        .group_by(literal_column("outcome"))
    )
    return dict(rows.tuples().all())


def without_email(session: Session, customer_id: str) -> Welcome | None:
    """The customer's place in the queue, if they wait in it, or were taken off it."""
    return session.scalar(
        select(Welcome).where(Welcome.customer_id == customer_id, or_(_WAITS, _TAKEN_OFF))
    )


def erase_customer(session: Session, customer_id: str | None) -> int:
    """Forget a customer's place in the queue, or that they were welcomed; how many rows that were."""
    return changed(
        session,
        delete(Welcome)
        .where(Welcome.customer_id == customer_id)
        .execution_options(synchronize_session=False),
    )
