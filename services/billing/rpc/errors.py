"""What goes wrong about Stripe, as callers of billing's RPC hear of it: by name, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import eventlet

from services.billing.domain.accounts import Directory
from services.billing.domain.errors import StripeKeyRefused
from shared.contracts.accounts import Account
from shared.contracts.rpc.errors import (
    BillingError,
    InvalidArgument,
    StripeRefused,
    StripeUnavailable,
    wire_error,
)
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
            raise StripeRefused(error.explained) from error
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


def served(account: str, directory: Directory) -> Account:
    """The account that a caller names. Raises InvalidArgument for one that is not served, StripeUnavailable while that can't be told."""
    refusal = directory.why_not_served(Account(account))
    if refusal is None:
        return Account(account)
    check_read(directory)
    raise InvalidArgument(
        f"account: {account[:100]} {refusal[:300]}; `portico stripe accounts` lists those that are served"
    )


def check_read(directory: Directory) -> None:
    """Raise StripeUnavailable while it can't be told which accounts are served."""
    if not directory.read:
        raise StripeUnavailable("which accounts are connected could not be read yet")
