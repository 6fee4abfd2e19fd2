"""What Stripe's events tell of connected accounts themselves."""

from __future__ import annotations

from typing import Final

import msgspec

from services.billing.domain.accounts import AccountState
from services.billing.stripe_events.payloads import StripeEvent, decode_object

DEAUTHORIZED: Final = "account.application.deauthorized"
ACCOUNT_TYPES: Final = (
    # Its business has shut the platform out. What it is about is the application; the account is the event's.
    # https://docs.stripe.com/connect/webhooks
    DEAUTHORIZED,
    # Stripe has restricted it, or lifted that.
    "account.updated",
)


class _Account(msgspec.Struct, frozen=True):
    """`account`"""

    charges_enabled: bool | None = None


def state_of(event: StripeEvent) -> AccountState | None:
    """How the event's account stands from now on; None where it does not say. Raises Unreadable."""
    if event.type == DEAUTHORIZED:
        return AccountState.DISCONNECTED
    enabled = decode_object(event.content().object, _Account).charges_enabled
    if enabled is None:
        return None
    return AccountState.CONNECTED if enabled else AccountState.RESTRICTED
