"""Deliveries in a sender's hands: which are due, whose turn it is, and what came of them."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.hook_events import HostEvent
from services.notifier.domain.hook_shares import NOBODY_SLOW, Rotation, Slow
from services.notifier.domain.hooks import FAILURES_IN_A_ROW, LEASE, PER_OWNER, DeliveryStatus
from services.notifier.models import HookAttempt, HookDelivery, HookEndpoint, HookEvent
from services.notifier.queries import hook_endpoints
from services.notifier.queries.hook_events import as_told
from services.notifier.queries.leases import Backlog, new_token

_OWNER: Final = func.coalesce(HookEndpoint.business_id, HookEndpoint.endpoint_id)
_PENDING: Final = HookDelivery.status == DeliveryStatus.PENDING.value


@dataclass(frozen=True, kw_only=True)
class HookLease:
    """A delivery that this sender, and nobody else, may work on until its lease ends."""

    endpoint_id: str
    owner: str
    """Whose share of the senders it takes (`domain/hook_shares.py`)."""
    lease_token: str
    url: str
    generation: int
    rotated_at: dt.datetime | None
    event: HostEvent
    traceparent: str
    received_at: dt.datetime
    """When the event was heard."""
    replayed_at: dt.datetime | None = None
    """When a person last asked for it once more; None: nobody has."""
    more: bool = False
    """As much was taken of its endpoint as might be: more may be due there."""

    @property
    def account(self) -> str:
        return self.event.account

    @property
    def correlation_id(self) -> str:
        return self.event.correlation_id

    def span_facts(self) -> dict[str, str]:
        """What the span of one attempt tells."""
        return {"event_id": self.event.event_id, "endpoint_id": self.endpoint_id}


def lease_due(
    session: Session,
    now: dt.datetime,
    limit: int,
    under_way: Mapping[str, int],
    slow: Slow = NOBODY_SLOW,
    rotation: Rotation | None = None,
) -> list[HookLease]:
    """Take up to `limit` due deliveries, of each endpoint the oldest first, and of no owner so many that the others wait.
    `under_way`: how many of each owner are on their way from this process. `slow`: who has no more than the rest of a common share.
    `rotation`: whose turn it is, and then whose it is next.

    The end of a lease is written as the row's next `due_at`: a sender that dies gives its rows back by dying.
    """
    full = {id for id, count in under_way.items() if count >= PER_OWNER}
    if slow.places <= 0:
        full |= slow.owners
    rotation = rotation or Rotation()
    waiting = _waiting(session, now, limit, full, rotation.after)
    owners = len({_owner(endpoint) for endpoint in waiting})
    taken: list[HookLease] = []
    shares, left_for_slow = Counter(under_way), slow.places
    for number, endpoint in enumerate(waiting):
        left = limit - len(taken)
        owner = _owner(endpoint)
        if endpoint.business_id is not None and number < owners:
            rotation.after = endpoint.business_id
        most = min(max(1, left // (len(waiting) - number)), PER_OWNER - shares[owner])
        if owner in slow.owners:
            most = min(most, left_for_slow)
        if most <= 0:
            continue
        if endpoint.failures >= FAILURES_IN_A_ROW:
            until = now + LEASE
            if not hook_endpoints.take_probe(session, endpoint.endpoint_id, now, until):
                continue
            most = 1
        found = _lease_of(session, endpoint, now, most)
        taken += found
        shares[owner] += len(found)
        if owner in slow.owners:
            left_for_slow -= len(found)
    return taken


def _waiting(
    session: Session, now: dt.datetime, limit: int, full: Collection[str], after: str
) -> list[HookEndpoint]:
    """Up to `limit` endpoints at which something is due, one of each owner's before anybody's second, of owners that are not `full`: of
    the businesses those whose turn it is after this one's, in order; among them, by lot, the installation's own, which are few."""
    business = HookEndpoint.business_id
    due = (
        HookEndpoint.enabled,
        or_(HookEndpoint.paused_until.is_(None), HookEndpoint.paused_until <= now),
        _OWNER.not_in(full),
        exists().where(
            HookDelivery.endpoint_id == HookEndpoint.endpoint_id,
            _PENDING,
            HookDelivery.due_at <= now,
        ),
    )
    turns: list[str | None] = []
    for among in (business > after, business <= after):
        if len(turns) < limit:
            found = select(business).where(*due, among).group_by(business).order_by(business)
            turns += session.scalars(found.limit(limit - len(turns)))
    businesses: dict[str | None, list[HookEndpoint]] = {one: [] for one in turns}
    for endpoint in session.scalars(select(HookEndpoint).where(*due, business.in_(turns))):
        businesses[endpoint.business_id].append(endpoint)
    own = session.scalars(select(HookEndpoint).where(*due, business.is_(None))).all()
    for endpoints in businesses.values():
        random.shuffle(endpoints)
    lots = [None] * len(businesses) + [[endpoint] for endpoint in own]
    random.shuffle(lots)
    in_turn = iter(businesses.values())
    ordered = [next(in_turn) if mine is None else mine for mine in lots]
    rounds = zip_longest(*ordered)
    return [one for each in rounds for one in each if one is not None][:limit]


def _owner(endpoint: HookEndpoint) -> str:
    return endpoint.business_id or endpoint.endpoint_id


def _lease_of(
    session: Session, endpoint: HookEndpoint, now: dt.datetime, most: int
) -> list[HookLease]:
    rows = session.execute(
        select(HookDelivery.hook_event_id, HookDelivery.replayed_at)
        .where(
            HookDelivery.endpoint_id == endpoint.endpoint_id, _PENDING, HookDelivery.due_at <= now
        )
        .order_by(HookDelivery.due_at, HookDelivery.hook_event_id)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    replayed = {row.hook_event_id: row.replayed_at for row in rows}
    ids = list(replayed)
    if not ids:
        return []
    token = new_token()
    session.execute(
        update(HookDelivery)
        .where(
            HookDelivery.endpoint_id == endpoint.endpoint_id, HookDelivery.hook_event_id.in_(ids)
        )
        .values(lease_token=token, due_at=now + LEASE)
        .execution_options(synchronize_session=False)
    )
    found = session.scalars(select(HookEvent).where(HookEvent.hook_event_id.in_(ids)))
    return [
        HookLease(
            endpoint_id=endpoint.endpoint_id,
            owner=_owner(endpoint),
            lease_token=token,
            url=endpoint.url,
            generation=endpoint.generation,
            rotated_at=endpoint.rotated_at,
            event=as_told(event),
            traceparent=event.traceparent,
            received_at=event.received_at,
            replayed_at=replayed[event.hook_event_id],
            more=len(ids) == most,
        )
        for event in found
    ]


def lock_leased(session: Session, lease: HookLease) -> HookDelivery | None:
    """The delivery, locked; None when the lease was lost to another sender, or nobody wants it any more."""
    row = session.scalars(
        select(HookDelivery)
        .where(
            HookDelivery.endpoint_id == lease.endpoint_id,
            HookDelivery.hook_event_id == lease.event.hook_event_id,
        )
        .with_for_update()
    ).one_or_none()
    return row if row is not None and row.lease_token == lease.lease_token else None


def add_attempt(session: Session, lease: HookLease, at: dt.datetime, **values: Any) -> None:
    """Note a request, and what it ended with."""
    session.add(
        HookAttempt(
            endpoint_id=lease.endpoint_id,
            hook_event_id=lease.event.hook_event_id,
            at=at,
            **values,
        )
    )


def attempts(
    session: Session, endpoint_id: str, limit: int, before: int | None, hook_event_id: str | None
) -> list[Any]:
    """Attempts, newest first, each with its event's type and its delivery's state."""
    statement = (
        select(
            HookAttempt,
            HookEvent.type,
            HookDelivery.status.label("delivery_status"),
            HookDelivery.due_at,
        )
        .join(HookEvent, HookEvent.hook_event_id == HookAttempt.hook_event_id)
        .outerjoin(
            HookDelivery,
            and_(
                HookDelivery.endpoint_id == HookAttempt.endpoint_id,
                HookDelivery.hook_event_id == HookAttempt.hook_event_id,
            ),
        )
        .where(HookAttempt.endpoint_id == endpoint_id)
        .order_by(HookAttempt.attempt_id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(HookAttempt.attempt_id < before)
    if hook_event_id is not None:
        statement = statement.where(HookAttempt.hook_event_id == hook_event_id)
    return list(session.execute(statement))


def backlog(session: Session, now: dt.datetime) -> Backlog:
    """What waits for endpoints that work. What is due at one that fails waits for the host, and not for us."""
    works = (
        select(HookEndpoint.endpoint_id)
        .where(HookEndpoint.enabled, HookEndpoint.failures == 0)
        .scalar_subquery()
    )
    pending = session.scalar(
        select(func.count()).select_from(HookDelivery).where(_PENDING, HookDelivery.endpoint_id.in_(works))
    )  # fmt: skip
    oldest = session.scalar(
        select(func.min(HookDelivery.due_at)).where(
            _PENDING, HookDelivery.due_at <= now, HookDelivery.endpoint_id.in_(works)
        )
    )
    return Backlog(pending or 0, (now - oldest).total_seconds() if oldest else 0.0)
