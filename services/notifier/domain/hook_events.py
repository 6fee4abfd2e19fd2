"""What hosts are told by webhook: which events, and how little of each. They ask for the rest with their key."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Final, get_args

from shared.contracts.accounts import StripeCustomer, stripe_customer
from shared.contracts.host_events import TOLD, About, version_of, webhook_id
from shared.contracts.rpc.hooks import TEST_TYPE, HookEventType
from shared.events import Event

TYPES: Final[tuple[str, ...]] = get_args(HookEventType)
"""What an endpoint may subscribe to; `TEST_TYPE` comes when it is asked for, and no other way."""


@dataclass(frozen=True, kw_only=True)
class HostEvent:
    """An event as hosts hear of it."""

    hook_event_id: str
    event_id: str
    type: str
    occurred_at: dt.datetime
    object: About
    version: int
    account: str = ""
    stripe_customer_id: str | None = None
    """By whom the portal finds out whose it is."""
    on_behalf_of: str = ""
    """And by the merchant: on a platform one Stripe customer may be several businesses' (ADR 29)."""
    portal_customer_id: str | None = None
    business_id: str | None = None
    """The host's own id of the business; None: not known (yet)."""
    customer_id: str | None = None
    """The host's own id of the customer; None: not known (yet), or about none."""
    livemode: bool | None = None
    """None: the event does not say."""
    correlation_id: str = ""

    @property
    def stripe_customer(self) -> StripeCustomer | None:
        """The Stripe customer, as a customer of the merchant that it is about."""
        return stripe_customer(self.account, self.stripe_customer_id, self.on_behalf_of)

    @property
    def whose_is_known(self) -> bool:
        """Whether nobody needs to be asked for the business."""
        return self.business_id is not None or not (
            self.stripe_customer_id or self.portal_customer_id
        )


def as_told(event: Event) -> HostEvent | None:
    """The event as hosts hear of it; None for one that is not for them."""
    told = TOLD.get(type(event.data))
    if told is None:
        return None
    data: Any = event.data
    return HostEvent(
        hook_event_id=webhook_id(event.id),
        event_id=event.id,
        type=event.type,
        occurred_at=event.occurred_at,
        object=told.about(data),
        version=version_of(event.occurred_at, told.rank),
        account=data.account,
        stripe_customer_id=getattr(data, "stripe_customer_id", None),
        on_behalf_of=getattr(data, "on_behalf_of", ""),
        portal_customer_id=getattr(data, "customer_id", None),
        business_id=getattr(data, "business_id", None),
        customer_id=getattr(data, "external_id", None),
        livemode=getattr(data, "livemode", None),
        correlation_id=event.correlation_id,
    )


def test_event(
    endpoint_id: str, business_id: str | None, token: str, now: dt.datetime
) -> HostEvent:
    """What an endpoint is tried with."""
    event_id = f"{token}/{TEST_TYPE}"
    return HostEvent(
        hook_event_id=webhook_id(event_id),
        event_id=event_id,
        type=TEST_TYPE,
        occurred_at=now,
        object=About("webhook_endpoint", endpoint_id),
        version=version_of(now, 0),
        business_id=business_id,
        correlation_id=endpoint_id,
    )


def body_of(event: HostEvent) -> bytes:
    """The body of its webhooks: the same bytes at each try."""
    return json.dumps(
        {
            "id": event.hook_event_id,
            "type": event.type,
            "created": event.occurred_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
            "livemode": event.livemode,
            "business_id": event.business_id,
            "customer_id": event.customer_id,
            "account": event.account,
            "object": {
                "type": event.object.type,
                "id": event.object.id,
                "version": event.version,
            },
        },
        separators=(",", ":"),
    ).encode()
