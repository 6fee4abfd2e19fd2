"""Events as hosts hear of them, by webhook and over HTTP: which, about what, and under which id and version. Both say the same."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from shared import events
from shared.events import Data


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


def rank_of(type: str) -> int:
    """The rank of events of a type; the lowest one for a type of a later release."""
    return _RANKS.get(type, 0)


_RANKS: Final = {data.type: told.rank for data, told in TOLD.items()}


def webhook_id(event_id: str) -> str:
    """The id under which hosts know an event: the same for each try and endpoint. A dot must not stand in it, and ours have some."""
    return "evh_" + hashlib.sha256(event_id.encode()).hexdigest()[:32]


def version_of(occurred_at: dt.datetime, rank: int) -> int:
    """The version of an object at an event: the larger one is the newer one, whatever order they come in. Below 2**53, so that
    JavaScript reads it whole."""
    return int(occurred_at.timestamp() * 1000) * 10 + rank
