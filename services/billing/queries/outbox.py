"""The outbox, billing's own events: what waits, what was published of a Stripe event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing.models import OutboxEvent
from shared.contracts.accounts import StripeId, our_event_id
from shared.events import EVENTS
from shared.outbox import Outbox, Outgoing

OUTBOX: Final = Outbox(OutboxEvent)


@dataclass(frozen=True)
class MissedFailure:
    """A failure that may not have been announced, and the keys under which it would have been."""

    invoice_id: str
    outgoing: Outgoing
    dedupe_keys: tuple[str, ...]


def add_unsaid(session: Session, outgoing: Sequence[Outgoing], now: dt.datetime) -> list[str]:
    """Queue those events that the outbox does not have under whatever dedupe key; returns their ids."""
    ids = [one.event.id for one in outgoing]
    said = set(session.scalars(select(OutboxEvent.event_id).where(OutboxEvent.event_id.in_(ids))))
    return OUTBOX.add(session, [one for one in outgoing if one.event.id not in said], now)


def unannounced(session: Session, failures: Sequence[MissedFailure]) -> list[MissedFailure]:
    """Those failures that were announced under none of their keys."""
    keys = [key for one in failures for key in one.dedupe_keys]
    said = set(
        session.scalars(select(OutboxEvent.dedupe_key).where(OutboxEvent.dedupe_key.in_(keys)))
    )
    return [one for one in failures if said.isdisjoint(one.dedupe_keys)]


def publish_missed(
    session: Session, missed: Sequence[MissedFailure], now: dt.datetime
) -> list[str]:
    """Queue those failures that were announced under none of their keys; returns the ids of the new events."""
    return OUTBOX.add(session, [one.outgoing for one in unannounced(session, missed)], now)


def _our_ids(stripe_events: Sequence[StripeId]) -> list[str]:
    """All ids that our events made of these may have: `<Stripe's id>/<our type>`. Exact ids use the index whatever
    the database's collation is; a prefix would not."""
    types = sorted({cls.type for cls in EVENTS.values()})
    return [our_event_id(*one, type_) for one in stripe_events for type_ in types]


def published_of(session: Session, stripe_events: Sequence[StripeId]) -> list[OutboxEvent]:
    """What was queued because of these Stripe events, in order of arrival."""
    if not stripe_events:
        return []
    return list(
        session.scalars(
            select(OutboxEvent)
            .where(OutboxEvent.event_id.in_(_our_ids(stripe_events)))
            .order_by(OutboxEvent.id)
        )
    )
