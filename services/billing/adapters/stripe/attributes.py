"""Ids and moments of Stripe's objects, whether or not they were expanded."""

from __future__ import annotations

import datetime as dt
from typing import Any

from services.billing.stripe_events.payloads import attribute
from shared.text import clean


def id_of(value: Any) -> str | None:
    """The id of a field that may be expanded."""
    if value is None or isinstance(value, str):
        return clean(value) if value else None
    found: str | None = attribute(value, "id")
    return found


def moment_of(value: int | None) -> dt.datetime | None:
    """Stripe's seconds since 1970; None also for a number that is no moment."""
    try:
        return None if value is None else dt.datetime.fromtimestamp(value, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None
