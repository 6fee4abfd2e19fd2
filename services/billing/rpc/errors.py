"""What goes wrong about Stripe, as callers of billing's RPC hear of it: by name, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import eventlet

from services.billing.domain import (
    BillingError,
    InvalidRequest,
    StripeKeyRefused,
    StripeUnavailable,
)
from shared.nameko_ext.rpc import InvalidArgument, RpcError
from shared.telemetry import get_logger

log = get_logger(__name__)

WIRE_ERRORS: Final[dict[type[BillingError], type[RpcError]]] = {
    error: type(error.__name__, (RpcError,), {"__doc__": error.__doc__, "__module__": __name__})
    for error in BillingError.__subclasses__()
    if error is not InvalidRequest
} | {InvalidRequest: InvalidArgument}
"""The domain's errors as they cross the wire: the same names. What only billing's log and metrics tell apart
(`StripeKeyRefused`, `StripeRateLimited`, …) crosses as the kind that it is of, which every caller knows."""


@contextmanager
def wire_errors() -> Iterator[None]:
    """Let the body's errors cross the wire by their names."""
    try:
        yield
    except BillingError as error:
        if isinstance(error, StripeKeyRefused):
            log.error("Stripe refuses our key", error=type(error).__name__, reason=str(error))
        raise _on_the_wire(error) from error


def _on_the_wire(error: BillingError) -> RpcError:
    kind = next(kind for kind in type(error).__mro__ if kind in WIRE_ERRORS)
    return WIRE_ERRORS[kind](str(error))


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
