"""What hosts hear over HTTP: written down with the effect of the event, listed by how far a host has read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.portal.queries import behalves, host_events
from shared import events
from shared.contracts import host_api
from shared.contracts.accounts import Account, StripeCustomer
from shared.contracts.host_events import rank_of, version_of, webhook_id
from shared.contracts.rpc.errors import InvalidArgument
from shared.events import Event
from shared.retention import RETENTION

HEARD: Final[tuple[type[events.Data], ...]] = (
    events.InvoiceData,
    events.SubscriptionData,
    events.PaymentMethodChanged,
    events.CustomerDeleted,
    events.CustomerLinkChanged,
    events.CustomerLinkRefused,
)
"""What is told of whose a Stripe customer is are the portal's decisions, not the evidence."""

LISTED: Final = "host_events_listed"
"""In a session's `info`: whether there is an HTTP API that lists what is written down."""


def note(session: Session, batch: Iterable[Event], now: dt.datetime) -> None:
    """Write down those events that hosts hear, each for whose customer it is about at this moment; where no host can list them, nothing."""
    if not session.info.get(LISTED, True):
        return
    heard = [event for event in batch if isinstance(event.data, HEARD)]
    if not heard:
        return
    owners = _owners(session, [one for one in heard if not hasattr(one.data, "customer_id")])
    named = {one.data.business_id for one in heard if hasattr(one.data, "business_id")}
    keys = host_events.business_keys(session, named) if named else {}
    host_events.add(session, [_row(one, owners, keys, now) for one in heard])


def _owners(session: Session, heard: list[Event[Any]]) -> dict[str, Row[Any]]:
    """Whose customer each of these is about, by event. What is about a Stripe customer whom several businesses have, and about no
    invoice or subscription, is told to whoever had them first."""
    if not heard:
        return {}
    known = host_events.owners(session, {_stripe_customer(one).name for one in heard})
    said = {event.id: _stripe_customer(event) for event in heard}
    effective = behalves.merchants(session, (one.merchant for one in said.values()))
    found = {}
    for event in heard:
        customer = said[event.id]
        theirs = known.get(customer.name, {})
        owner = theirs.get(effective[customer.merchant].on_behalf_of)
        if owner is None and _of_the_customer(event.data):
            owner = next(iter(theirs.values()), None)
        if owner is not None:
            found[event.id] = owner
    return found


def _of_the_customer(data: Any) -> bool:
    return not (getattr(data, "invoice_id", None) or getattr(data, "subscription_id", None))


def _stripe_customer(event: Event[Any]) -> StripeCustomer:
    data = event.data
    return StripeCustomer(
        Account(data.account), data.stripe_customer_id, getattr(data, "on_behalf_of", "")
    )


def _row(
    event: Event[Any], owners: Mapping[str, Row[Any]], keys: dict[str, int], now: dt.datetime
) -> dict[str, Any]:
    data = event.data
    if hasattr(data, "customer_id"):
        customer_id, business_pk = data.customer_id, keys.get(data.business_id)
    else:
        owner = owners.get(event.id)
        customer_id, business_pk = (owner.customer_id, owner.business_pk) if owner else (None, None)
    return {
        "event_id": event.id,
        "type": event.type,
        "occurred_at": event.occurred_at,
        "noted_at": now,
        "account": data.account,
        "business_pk": business_pk,
        "customer_id": customer_id,
        "stripe_customer_id": data.stripe_customer_id,
        "invoice_id": getattr(data, "invoice_id", None),
        "subscription_id": getattr(data, "subscription_id", None),
    }


def listed(
    session: Session, asked: host_api.EventPageArguments, business_pk: int | None, now: dt.datetime
) -> host_api.EventPage:
    """A page of events after the cursor `since`. Raises InvalidArgument for one older than what is kept."""
    after = int(asked.since or 0)
    if 0 < after < host_events.place_of(now - RETENTION):
        raise InvalidArgument(
            f"since: older than the {RETENTION.days} days that events are kept, so some may be missing: ask how things stand, and begin "
            "without it"
        )
    rows = host_events.page(session, business_pk, after, asked.limit + 1)
    data = [_told(row) for row in rows[: asked.limit]]
    last = rows[len(data) - 1].position if data else after
    more = len(rows) > asked.limit or host_events.any_unplaced(session, business_pk)
    return host_api.EventPage(data=data, has_more=more, next=str(last))


def _told(row: Any) -> host_api.HostEvent:
    made: dict[str, Any] = {
        "id": webhook_id(row.event_id),
        "version": version_of(row.occurred_at, rank_of(row.type)),
    }
    names = set(host_api.HostEvent.__struct_fields__) - set(made)
    return host_api.HostEvent(**made, **{name: getattr(row, name) for name in names})
