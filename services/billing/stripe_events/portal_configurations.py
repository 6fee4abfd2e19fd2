"""What Stripe's events tell of portal configurations: what customers may do, without asking."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from services.billing.domain.portal import PortalConfiguration
from services.billing.stripe_events.payloads import (
    Amount,
    Id,
    Reference,
    StripeEvent,
    attribute,
    decode_object,
)

CONFIGURATION_TYPES: Final = (
    # The business has saved the settings of its portal for the first time, or made another configuration.
    "billing_portal.configuration.created",
    # It has changed what customers may do.
    "billing_portal.configuration.updated",
)


FEATURES = (
    "payment_method_update",
    "invoice_history",
    "customer_update",
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
)


class _Switch(msgspec.Struct, frozen=True):
    enabled: bool = False


class _Features(msgspec.Struct, frozen=True):
    payment_method_update: _Switch | None = None
    invoice_history: _Switch | None = None
    customer_update: _Switch | None = None
    subscription_cancel: _Switch | None = None
    subscription_pause: _Switch | None = None
    subscription_update: _Switch | None = None


class _Metadata(msgspec.Struct, frozen=True):
    portico_key: str | None = None


class _Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """`billing_portal.configuration`"""

    id: Id
    livemode: bool
    updated: Amount
    active: bool = True
    is_default: bool = False
    features: _Features
    login_page: _Switch | None = None
    metadata: _Metadata | None = None
    application: Id | Reference | None = None


def configuration_of(event: StripeEvent) -> PortalConfiguration:
    """The configuration that an event of CONFIGURATION_TYPES is about, as it was then. Raises Unreadable."""
    return to_configuration(decode_object(event.content().object, _Configuration))


def to_configuration(configuration: Any) -> PortalConfiguration:
    """A portal configuration of an answer or an event. A feature that Stripe does not name is not offered."""
    features = attribute(configuration, "features")
    maker = attribute(configuration, "application")
    return PortalConfiguration(
        id=configuration.id,
        livemode=bool(attribute(configuration, "livemode")),
        active=bool(attribute(configuration, "active")),
        key=attribute(configuration, "metadata", "portico_key"),
        may=tuple(
            (name, bool(attribute(features, name, "enabled")))
            for name in FEATURES
            if attribute(features, name) is not None
        ),
        login_page=bool(attribute(configuration, "login_page", "enabled")),
        is_default=bool(attribute(configuration, "is_default")),
        updated=attribute(configuration, "updated") or 0,
        application=maker if maker is None or isinstance(maker, str) else attribute(maker, "id"),
    )
