"""Statements on the events that were acted upon, billing's and SendGrid's, and on who gets no email."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHash, AddressHasher
from services.notifier.domain.vocabulary import Reason
from services.notifier.models import (
    DeletedCustomer,
    Notification,
    OutboxEvent,
    ProcessedEvent,
    SendGridEvent,
    SuppressedAddress,
    table_of,
)
from shared.database import insert_new
from shared.events import Event
from shared.outbox import Outbox

OUTBOX: Final = Outbox(OutboxEvent)


def claim_events(session: Session, events: Iterable[Event], now: dt.datetime) -> set[str]:
    """The ids of those events that no transaction has seen before. A concurrent one waits here for the first to end,
    and never in a circle: ids are written in one order."""
    types = {event.id: event.type for event in events}
    rows = [
        {"event_id": event_id, "type": type_, "outcome": "", "processed_at": now}
        for event_id, type_ in sorted(types.items())
    ]
    return set(
        insert_new(
            session,
            table_of(ProcessedEvent),
            rows,
            conflict=["event_id"],
            returning="event_id",
        )
    )


def note_outcomes(session: Session, outcomes: Mapping[str, str]) -> None:
    """Record what came of events, by their ids, for "what happened to this invoice?"."""
    rows = [{"event_id": event_id, "outcome": outcome} for event_id, outcome in outcomes.items()]
    if rows:
        session.execute(update(ProcessedEvent), rows)


def note_deleted_customer(session: Session, stripe_customer_id: str, now: dt.datetime) -> None:
    """Remember that the Stripe customer is gone."""
    insert_new(
        session,
        table_of(DeletedCustomer),
        [{"stripe_customer_id": stripe_customer_id, "deleted_at": now}],
        conflict=["stripe_customer_id"],
        returning="stripe_customer_id",
    )


def customer_deleted(session: Session, stripe_customer_id: str) -> bool:
    """Is the Stripe customer known to be gone?"""
    return session.get(DeletedCustomer, stripe_customer_id) is not None


def deleted_customers(session: Session, stripe_customer_ids: Collection[str]) -> set[str]:
    """Those of the Stripe customers that are known to be gone."""
    if not stripe_customer_ids:
        return set()
    return set(
        session.scalars(
            select(DeletedCustomer.stripe_customer_id).where(
                DeletedCustomer.stripe_customer_id.in_(stripe_customer_ids)
            )
        )
    )


@dataclass(frozen=True, kw_only=True)
class NewSendGridEvent:
    """What is kept of one event of the Event Webhook."""

    sg_event_id: str
    notification_id: str
    event: str
    occurred_at: dt.datetime


def claim_sendgrid_events(
    session: Session, events: Sequence[NewSendGridEvent], now: dt.datetime
) -> set[str]:
    """The ids of those events that were not acted upon before."""
    unique = {event.sg_event_id: event for event in events}
    rows = [asdict(event) | {"received_at": now} for _, event in sorted(unique.items())]
    return set(
        insert_new(
            session,
            table_of(SendGridEvent),
            rows,
            conflict=["sg_event_id"],
            returning="sg_event_id",
        )
    )


def suppress_address(
    session: Session,
    address: AddressHash,
    reason: Reason,
    now: dt.datetime,
    notification_id: str | None,
) -> bool:
    """Write no more to this address. The first reason stays. True when the address was fine until now."""
    row = {
        "address_sha256": address.plain,
        "address_hmac": address.newest,
        "reason": reason.value,
        "since": now,
        "notification_id": notification_id,
    }
    return bool(
        insert_new(
            session,
            table_of(SuppressedAddress),
            [row],
            conflict=["address_sha256"],
            returning="address_sha256",
        )
    )


def suppressed_addresses(
    session: Session, addresses: Collection[AddressHash]
) -> dict[AddressHash, str]:
    """Why nothing is written to those of these addresses that get no more email."""
    by_hash = {text: one for one in addresses for text in (one.plain, *one.keyed)}
    plain, keyed = SuppressedAddress.address_sha256, SuppressedAddress.address_hmac
    rows = session.execute(
        select(plain, keyed, SuppressedAddress.reason).where(
            or_(
                plain.in_([one.plain for one in addresses]),
                keyed.in_([text for one in addresses for text in one.keyed]),
            )
        )
    )
    return {by_hash.get(row[0]) or by_hash[row[1]]: row.reason for row in rows}


def key_addresses(session: Session, hasher: AddressHasher, limit: int) -> int:
    """Give the keyed hash to addresses that were written without one; how many (at most `limit`)."""
    bare = session.scalars(
        select(SuppressedAddress)
        .where(SuppressedAddress.address_hmac.is_(None))
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in bare:
        row.address_hmac = hasher.of_plain(row.address_sha256).newest
    return len(bare)


def known_invoices(session: Session, notification_ids: Iterable[str]) -> dict[str, str | None]:
    """The invoice of each notification that exists."""
    rows = session.execute(
        select(Notification.notification_id, Notification.invoice_id).where(
            Notification.notification_id.in_(list(notification_ids))
        )
    )
    return {row.notification_id: row.invoice_id for row in rows}


def sent_as(session: Session, message_ids: Collection[str]) -> dict[str, str]:
    """The notification that was sent as each of these messages of SendGrid's. Of a name that two have, neither: it tells
    nothing."""
    if not message_ids:
        return {}
    rows = session.execute(
        select(Notification.provider_message_id, Notification.notification_id).where(
            Notification.provider_message_id.in_(sorted(message_ids))
        )
    ).all()
    times = Counter(row.provider_message_id for row in rows)
    return {
        row.provider_message_id: row.notification_id
        for row in rows
        if times[row.provider_message_id] == 1
    }
