"""Small rules about a customer."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import MISSING, dataclass, fields
from typing import Final

from services.portal.domain import base64url

FRESH_LINK_EVERY: Final = dt.timedelta(hours=1)
"""A customer is mailed at most one fresh link in this time, whoever asks."""

PUBLIC_ID_BYTES: Final = 16
PUBLIC_ID_LENGTH: Final = 22
"""In characters."""

STRIPE_CUSTOMER: Final = "cus_[A-Za-z0-9_]{1,251}"
"""What Stripe's id of a customer looks like, as Python and PostgreSQL read expressions."""

STRIPE_ACCOUNT: Final = "acct_[A-Za-z0-9_]{1,250}"
"""What Stripe's id of an account looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerProfile:
    """What the host application says of a customer, beside the ids. This is the one list of these fields: import, export and the
    RPC answers follow it, and `tests/unit/portal/test_profile.py` says where a new one is missing.

    A new field is the last one, and optional: releases that don't know it run beside those that do.
    """

    name: str
    email: str
    locale: str | None = None
    timezone: str | None = None


PROFILE: Final = tuple(field.name for field in fields(CustomerProfile))
OPTIONAL: Final = frozenset(
    field.name for field in fields(CustomerProfile) if field.default is not MISSING
)
NEEDED: Final = tuple(name for name in PROFILE if name not in OPTIONAL)
"""What a new customer must have."""

_FIRST_COLUMNS: Final = (
    "external_id",
    "name",
    "email",
    "locale",
    "timezone",
    "platform_stripe_customer_id",
)
COLUMNS: Final = (*_FIRST_COLUMNS, *(name for name in PROFILE if name not in _FIRST_COLUMNS))
"""The columns of an import, in the order in which they cross the wire: later ones come last."""
COLUMNS_NEEDED: Final = ("external_id", *NEEDED)


def new_public_id() -> str:
    """A customer's public id: 128 random bits as 22 url-safe characters. It says nothing and can't be guessed."""
    return secrets.token_urlsafe(PUBLIC_ID_BYTES)


def public_id_bytes(public_id: str) -> bytes:
    """The 16 bytes of a public id. Raises ValueError when it isn't one in its canonical form."""
    raw = base64url.decode(public_id)
    if len(raw) != PUBLIC_ID_BYTES:
        raise ValueError("not a public id")
    return raw


def is_public_id(text: str) -> bool:
    """Whether a text has the form of a public id."""
    try:
        public_id_bytes(text)
    except ValueError:
        return False
    return True


def mask_email(address: str) -> str:
    """The address so that its owner knows it and nobody else learns it: `m•••@e•••.com`."""
    local, _, host = address.rpartition("@")
    name, dot, ending = host.rpartition(".")
    if not local or not name:
        return "•••"
    return f"{local[0]}•••@{name[0]}•••{dot}{ending}"
