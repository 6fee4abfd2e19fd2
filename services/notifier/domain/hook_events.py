"""What hosts are told by webhook: which events, and how little of each. They ask for the rest with their key."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

from shared import events
from shared.contracts.rpc.hooks import TEST_TYPE, HookEventType
from shared.events import Data, Event


class About(NamedTuple):
    """The object that an event is about."""

    type: str
    id: str


def _invoice(data: Any) -> About:
    return About("invoice", data.invoice_id)


def _subscription(data: Any) -> About:
    return About("subscription", data.subscription_id)


def _stripe_customer(data: Any) -> About:
    return About("stripe_customer", data.stripe_customer_id)


def _customer(data: Any) -> About:
    return About("customer", data.customer_id)


@dataclass(frozen=True)
class Told:
    """How an event is told."""

    about: Callable[[Any], About]
    rank: int
    """Which of two events of the same second came last: the higher one. Stripe's clock has no finer grain."""


TOLD: Final[dict[type[Data], Told]] = {
    events.InvoiceUpdated: Told(_invoice, 1),
    events.InvoicePaymentFailed: Told(_invoice, 2),
    events.InvoicePaymentActionRequired: Told(_invoice, 3),
    events.InvoiceMarkedUncollectible: Told(_invoice, 7),
    events.InvoiceVoided: Told(_invoice, 8),
    events.InvoicePaid: Told(_invoice, 9),
    events.SubscriptionUpdated: Told(_subscription, 1),
    events.SubscriptionCancellationScheduled: Told(_subscription, 2),
    events.SubscriptionEnded: Told(_subscription, 9),
    events.PaymentMethodChanged: Told(_stripe_customer, 1),
    events.CustomerDeleted: Told(_stripe_customer, 9),
    events.CustomerLinkChanged: Told(_customer, 2),
    events.CustomerLinkRefused: Told(_customer, 1),
    events.NotificationUndeliverable: Told(
        lambda data: About("notification", data.notification_id), 1
    ),
    events.WebhookEndpointDisabled: Told(
        lambda data: About("webhook_endpoint", data.endpoint_id), 1
    ),
}
"""The public events, those of the exchanges that hosts listen to (docs/integration.md)."""
TYPES: Final[tuple[str, ...]] = get_args(HookEventType)
"""What an endpoint may subscribe to; `TEST_TYPE` comes when it is asked for, and no other way."""


def webhook_id(event_id: str) -> str:
    """The id under which hosts know an event: the same for each try and endpoint. A dot must not stand in it, and ours have some."""
    return "evh_" + hashlib.sha256(event_id.encode()).hexdigest()[:32]


def version_of(occurred_at: dt.datetime, rank: int) -> int:
    """The version of an object at an event: the larger one is the newer one, whatever order they come in. Below 2**53, so that
    JavaScript reads it whole."""
    return int(occurred_at.timestamp() * 1000) * 10 + rank


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
    portal_customer_id: str | None = None
    business_id: str | None = None
    """The host's own id of the business; None: not known (yet)."""
    customer_id: str | None = None
    """The host's own id of the customer; None: not known (yet), or about none."""
    livemode: bool | None = None
    """None: the event does not say."""
    correlation_id: str = ""

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
