"""What a platform may do about a subscription on an account that is connected to it.

Stripe lets a platform change or cancel the subscriptions that it made, and no others; `application` of a subscription names
who made it (https://docs.stripe.com/connect/subscriptions). An account's own key may change all of them, and so may we on our
own account. See docs/adr/0030-what-a-platform-may-not-change.md.
"""

from __future__ import annotations

import enum

from services.billing.domain.accounts import Way
from services.billing.domain.paying import Subscription


class Maker(enum.StrEnum):
    """Who made a subscription."""

    OURS = "ours"
    """We did, as the platform."""
    ACCOUNT = "account"
    """The account itself: its dashboard, or its own software."""
    ANOTHER = "another"
    """Another app or platform."""
    UNKNOWN = "unknown"
    """Some app: we were not told which of them we are."""


def made_by(subscription: Subscription, our_application: str | None) -> Maker:
    """Who made it. `our_application` is STRIPE_CLIENT_ID, `ca_…`."""
    if subscription.application is None:
        return Maker.ACCOUNT
    if our_application is None:
        return Maker.UNKNOWN
    return Maker.OURS if subscription.application == our_application else Maker.ANOTHER


def may_change(subscription: Subscription, way: Way | None, our_application: str | None) -> bool:
    """Whether it is worth asking Stripe to change or end a subscription. `way` is how we act on its account; None: it is our own.

    False: Stripe is known to refuse. What the account itself made is asked about, though Stripe's documentation says that a
    platform may not change it either: that could not be tried, other platforms let it pass, and a refusal
    (`PlatformMayNot`) does no harm and leads to the same.
    """
    return way is not Way.CONNECTED or made_by(subscription, our_application) is not Maker.ANOTHER
