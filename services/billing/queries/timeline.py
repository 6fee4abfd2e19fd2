"""Every statement of billing that looks back, or forgets: the story of an invoice, the erasure of a customer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import delete, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from services.billing.models import (
    DeadLetterAction,
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    Recovery,
    RecoveryLease,
    RecoveryRun,
)
from shared.events import EVENTS

CARD_EVENTS = (
    "customer.updated",
    "customer.source.updated",
    "customer.subscription.updated",
    "payment_method.automatically_updated",
)
"""Types that may tell of a new card."""


def inbox_about(
    session: Session, *, object_id: str | None, stripe_customer_id: str | None, limit: int
) -> list[InboxEvent]:
    """The newest stored events about an invoice or a Stripe customer, oldest first."""
    wanted = [
        column == value
        for column, value in (
            (InboxEvent.object_id, object_id),
            (InboxEvent.stripe_customer_id, stripe_customer_id),
        )
        if value is not None
    ]
    if not wanted:
        return []
    rows = session.scalars(
        select(InboxEvent)
        .where(or_(*wanted))
        .order_by(InboxEvent.received_at.desc(), InboxEvent.id)
        .limit(limit)
    ).all()
    return list(reversed(rows))


def cards_changed(
    session: Session, stripe_customer_id: str, since: dt.datetime, limit: int
) -> list[InboxEvent]:
    """The customer's events since then that may tell of a new card, oldest first."""
    return list(
        session.scalars(
            select(InboxEvent)
            .where(
                InboxEvent.stripe_customer_id == stripe_customer_id,
                InboxEvent.received_at >= since,
                InboxEvent.type.in_(CARD_EVENTS),
                InboxEvent.status == "translated",
            )
            .order_by(InboxEvent.received_at)
            .limit(limit)
        )
    )


def _our_ids(stripe_event_ids: Sequence[str]) -> list[str]:
    """All ids that our events made of these may have: `<Stripe's id>/<our type>`. Exact ids use the index whatever
    the database's collation is; a prefix would not."""
    types = sorted({cls.type for cls in EVENTS.values()})
    return [f"{one}/{type_}" for one in stripe_event_ids for type_ in types]


def published_of(session: Session, stripe_event_ids: Sequence[str]) -> list[OutboxEvent]:
    """What was queued because of these Stripe events, in order of arrival."""
    if not stripe_event_ids:
        return []
    return list(
        session.scalars(
            select(OutboxEvent)
            .where(OutboxEvent.event_id.in_(_our_ids(stripe_event_ids)))
            .order_by(OutboxEvent.id)
        )
    )


def dead_letter_actions(
    session: Session, stripe_event_ids: Sequence[str]
) -> list[DeadLetterAction]:
    """What people did with dead letters that came of these Stripe events, of whatever type: one that this version does
    not know is a likely dead letter. There are few rows, so that no index is needed."""
    if not stripe_event_ids:
        return []
    ours = (
        DeadLetterAction.event_id.startswith(f"{one}/", autoescape=True) for one in stripe_event_ids
    )
    return list(
        session.scalars(select(DeadLetterAction).where(or_(*ours)).order_by(DeadLetterAction.id))
    )


def erase_inbox(
    session: Session, needles: Sequence[str], after: str, limit: int
) -> tuple[int, str | None]:
    """Empty the bodies that name any of `needles`, among the next `limit` rows after the id `after`.

    The row and Stripe's id of the event stay, so that a repeated delivery is still known. Returns how many were
    emptied, and the id to go on after, None at the end. Bodies are searched as text: the customer may stand in
    an event of any type.
    """
    ids = session.scalars(
        select(InboxEvent.id).where(InboxEvent.id > after).order_by(InboxEvent.id).limit(limit)
    ).all()
    if not ids:
        return 0, None
    named = or_(
        InboxEvent.stripe_customer_id.in_(needles),
        InboxEvent.object_id.in_(needles),
        *(InboxEvent.payload.contains(needle, autoescape=True) for needle in needles),
    )
    emptied = _changed(
        session,
        update(InboxEvent)
        .where(InboxEvent.id > after, InboxEvent.id <= ids[-1], named)
        .values(payload="", reason="erased", object_id=None, stripe_customer_id=None)
        .execution_options(synchronize_session=False),
    )
    return emptied, ids[-1] if len(ids) == limit else None


def erase_outbox(
    session: Session, needles: Sequence[str], after: int, limit: int
) -> tuple[int, int | None]:
    """Delete what was said about any of `needles`, among the next `limit` rows after `after`."""
    ids = session.scalars(
        select(OutboxEvent.id).where(OutboxEvent.id > after).order_by(OutboxEvent.id).limit(limit)
    ).all()
    if not ids:
        return 0, None
    gone = _changed(
        session,
        delete(OutboxEvent)
        .where(
            OutboxEvent.id > after,
            OutboxEvent.id <= ids[-1],
            or_(
                *(OutboxEvent.body.contains(one, autoescape=True) for one in needles),
                *(OutboxEvent.dedupe_key.contains(one, autoescape=True) for one in needles),
            ),
        )
        .execution_options(synchronize_session=False),
    )
    return gone, ids[-1] if len(ids) == limit else None


def erase_recoveries(session: Session, stripe_customer_id: str) -> int:
    """Forget the changes of this customer's cards, and the tries to pay with them."""
    changes = select(PaymentMethodChange.id).where(
        PaymentMethodChange.stripe_customer_id == stripe_customer_id
    )
    told = delete(PaymentMethodChangeEvent).where(PaymentMethodChangeEvent.change_id.in_(changes))
    return _changed(session, told.execution_options(synchronize_session=False)) + sum(
        _changed(session, delete(table).where(table.stripe_customer_id == stripe_customer_id))
        for table in (PaymentMethodChange, PaymentTry, Recovery, RecoveryRun, RecoveryLease)
    )


def _changed(session: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
