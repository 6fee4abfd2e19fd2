"""Events for hosts, and their deliveries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.hook_events import HostEvent
from services.notifier.domain.hooks import DeliveryStatus
from services.notifier.models import HookAttempt, HookDelivery, HookEndpoint, HookEvent
from shared.contracts.accounts import StripeId
from shared.contracts.host_events import About
from shared.contracts.rpc.hooks import TEST_TYPE
from shared.statements import changed, insert_new, insert_new_rows, is_object, table_of


def record(
    session: Session,
    events: Iterable[tuple[HostEvent, str]],
    now: dt.datetime,
    *,
    due: dt.datetime | None,
) -> None:
    """Write events down with the trace that they belong to, each once. `due`: when it is looked at who hears of them."""
    rows = {
        one.hook_event_id: {
            "hook_event_id": one.hook_event_id,
            "account": one.account,
            "event_id": one.event_id,
            "type": one.type,
            "occurred_at": one.occurred_at,
            "object_type": one.object.type,
            "object_id": one.object.id,
            "version": one.version,
            "stripe_customer_id": one.stripe_customer_id,
            "on_behalf_of": one.on_behalf_of,
            "portal_customer_id": one.portal_customer_id,
            "business_id": one.business_id,
            "customer_id": one.customer_id,
            "livemode": one.livemode,
            "correlation_id": one.correlation_id,
            "traceparent": traceparent,
            "received_at": now,
            "due_at": due,
            "lookups": 0,
        }
        for one, traceparent in events
    }
    insert_new_rows(
        session,
        table_of(HookEvent),
        [rows[key] for key in sorted(rows)],
        conflict=("hook_event_id",),
        returning="hook_event_id",
    )


def as_told(row: HookEvent) -> HostEvent:
    """A row as the event that it is."""
    return HostEvent(
        hook_event_id=row.hook_event_id,
        event_id=row.event_id,
        type=row.type,
        occurred_at=row.occurred_at,
        object=About(row.object_type, row.object_id),
        version=row.version,
        account=row.account,
        stripe_customer_id=row.stripe_customer_id,
        on_behalf_of=row.on_behalf_of,
        portal_customer_id=row.portal_customer_id,
        business_id=row.business_id,
        customer_id=row.customer_id,
        livemode=row.livemode,
        correlation_id=row.correlation_id,
    )


def untold(session: Session, now: dt.datetime, limit: int) -> list[HookEvent]:
    """Events of which it is to be looked at who hears them, the oldest first."""
    statement = (
        select(HookEvent)
        .where(HookEvent.due_at <= now)
        .order_by(HookEvent.due_at, HookEvent.hook_event_id)
        .limit(limit)
    )
    return list(session.scalars(statement))


def lock_untold(session: Session, ids: Sequence[str], now: dt.datetime) -> list[HookEvent]:
    """Those of these that nobody else has told, or tells just now."""
    statement = (
        select(HookEvent)
        .where(HookEvent.hook_event_id.in_(ids), HookEvent.due_at <= now)
        .order_by(HookEvent.hook_event_id)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(statement))


def deliver(
    session: Session, pairs: Iterable[tuple[str, str]], now: dt.datetime, due: dt.datetime
) -> None:
    """Make deliveries, of (endpoint, event), that are not there yet."""
    rows: list[dict[str, Any]] = [
        {
            "endpoint_id": endpoint_id,
            "hook_event_id": hook_event_id,
            "status": DeliveryStatus.PENDING.value,
            "due_at": due,
            "attempts": 0,
            "created_at": now,
        }
        for endpoint_id, hook_event_id in sorted(set(pairs))
    ]
    insert_new(
        session,
        table_of(HookDelivery),
        rows,
        conflict=["endpoint_id", "hook_event_id"],
        returning="hook_event_id",
    )


def replay(
    session: Session,
    endpoint: HookEndpoint,
    now: dt.datetime,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    hook_event_id: str | None = None,
    failed_only: bool = False,
) -> int:
    """Have events delivered to an endpoint once more, or for the first time: those received in a range, or one; how many."""
    wanted = _heard_by(endpoint, since, until, hook_event_id)
    delivery = (
        HookDelivery.endpoint_id == endpoint.endpoint_id,
        HookDelivery.hook_event_id.in_(select(HookEvent.hook_event_id).where(*wanted)),
    )
    again = [*delivery, HookDelivery.lease_token.is_(None)]
    if failed_only:
        again.append(HookDelivery.status != DeliveryStatus.DELIVERED.value)
    count = changed(
        session,
        update(HookDelivery)
        .where(*again)
        .values(
            status=DeliveryStatus.PENDING.value,
            due_at=now,
            attempts=0,
            finished_at=None,
            replayed_at=now,
        )
        .execution_options(synchronize_session=False),
    )
    there = exists().where(
        HookDelivery.endpoint_id == endpoint.endpoint_id,
        HookDelivery.hook_event_id == HookEvent.hook_event_id,
    )
    columns: Mapping[str, Any] = {
        "endpoint_id": literal(endpoint.endpoint_id),
        "hook_event_id": HookEvent.hook_event_id,
        "status": literal(DeliveryStatus.PENDING.value),
        "due_at": literal(now, HookDelivery.due_at.type),
        "attempts": literal(0),
        "created_at": literal(now, HookDelivery.due_at.type),
        "replayed_at": literal(now, HookDelivery.due_at.type),
    }
    missing = select(*columns.values()).where(*wanted, HookEvent.due_at.is_(None), ~there)
    return count + changed(session, insert(HookDelivery).from_select(list(columns), missing))


def _heard_by(
    endpoint: HookEndpoint,
    since: dt.datetime | None,
    until: dt.datetime | None,
    hook_event_id: str | None,
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if hook_event_id is not None:
        wanted.append(HookEvent.hook_event_id == hook_event_id)
    else:
        wanted.append(HookEvent.type != TEST_TYPE)
    if since is not None:
        wanted.append(HookEvent.received_at >= since)
    if until is not None:
        wanted.append(HookEvent.received_at < until)
    if endpoint.business_id is not None:
        wanted.append(HookEvent.business_id == endpoint.business_id)
    if endpoint.event_types:
        wanted.append(HookEvent.type.in_([*endpoint.event_types, TEST_TYPE]))
    mine = HookEvent.correlation_id == endpoint.endpoint_id
    wanted.append(or_(HookEvent.type != TEST_TYPE, mine))
    return wanted


def erase_customer(
    session: Session, stripe_customer: StripeId | None, customer_id: str | None
) -> int:
    """Delete what hosts were or will be told of a customer; how many rows."""
    whose: list[ColumnElement[bool]] = []
    if stripe_customer:
        whose.append(is_object(HookEvent.account, HookEvent.stripe_customer_id, stripe_customer))
    if customer_id:
        whose.append(HookEvent.portal_customer_id == customer_id)
    mine = select(HookEvent.hook_event_id).where(or_(*whose))
    gone = 0
    for table in (HookAttempt, HookDelivery):
        gone += changed(
            session,
            delete(table)
            .where(table.hook_event_id.in_(mine))
            .execution_options(synchronize_session=False),
        )
    return gone + changed(
        session,
        delete(HookEvent).where(or_(*whose)).execution_options(synchronize_session=False),
    )
