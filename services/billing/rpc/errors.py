"""What goes wrong about Stripe, as callers of billing's RPC hear of it: by name, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import eventlet

from services.billing.domain.errors import StripeKeyRefused
from shared.contracts.rpc.errors import BillingError, StripeUnavailable, wire_error
from shared.telemetry import get_logger

log = get_logger(__name__)


@contextmanager
def wire_errors() -> Iterator[None]:
    """Let the body's errors cross the wire by their names."""
    try:
        yield
    except BillingError as error:
        if isinstance(error, StripeKeyRefused):
            log.error("Stripe refuses our key", error=type(error).__name__, reason=str(error))
        raise wire_error(error) from error


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound all that Stripe may take of somebody's patience, whatever its connection does."""
    limit = eventlet.Timeout(seconds)
    try:
        yield
    except eventlet.Timeout as expired:
        if expired is not limit:
            raise
        raise StripeUnavailable(f"no answer in {seconds:g} s") from None
    finally:
        limit.cancel()
