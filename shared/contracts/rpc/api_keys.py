"""The portal's methods for keys of its HTTP API, which people's command line calls."""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal, get_args

from shared.contracts.rpc.base import Answer, Method, SecretAnswer
from shared.contracts.rpc.errors import NotFound

ApiScope = Literal[
    "businesses:read",
    "businesses:write",
    "customers:read",
    "customers:write",
    "customers:erase",
    "events:read",
    "links:read",
    "links:write",
    "payments:read",
    "webhooks:read",
    "webhooks:write",
]
"""What a key may do. Appointments and whose a Stripe customer is belong to `customers`; a customer's link and signed Checkout
references, which open something, to `links`; what failed and what became of it to `payments`. Writing doesn't include reading, nor
erasing."""
SCOPES: Final[tuple[str, ...]] = get_args(ApiScope)


class ApiKey(Answer, frozen=True, kw_only=True):
    """A key of the HTTP API, without the key itself."""

    key_id: str
    """`key_…`: what names it in logs, and for `revoke_api_key`."""
    name: str
    """What it is for, in its owner's words."""
    business_id: str | None = None
    """The host's own id of the business that it is for; null: the whole installation."""
    scopes: list[str]
    """What it may do (`create_api_key`)."""
    hint: str
    """How it begins and ends: `portico_live_…x7Qa`."""
    created_at: dt.datetime
    expires_at: dt.datetime | None = None
    """From then on it is refused; null: never."""
    revoked_at: dt.datetime | None = None
    """Since when it is refused; null: it isn't revoked."""
    last_used_at: dt.datetime | None = None
    """When it last was good for a request, to the minute; null: never."""


class CreatedApiKey(SecretAnswer, frozen=True, kw_only=True):
    """A new key. It is shown this once: only its hash is kept."""

    key: str
    """What a host sends: `Authorization: Bearer <key>`."""
    about: ApiKey


API_KEYS: Final = Method("portal", "api_keys", list[ApiKey], (NotFound,))
CREATE_API_KEY: Final = Method("portal", "create_api_key", CreatedApiKey, (NotFound,))
REVOKE_API_KEY: Final = Method("portal", "revoke_api_key", ApiKey, (NotFound,))
