"""The portal's settings, from the environment, checked at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.portal.domain.api_keys import MODES
from services.portal.tokens.signing import KEY_LENGTH
from shared.service_settings import ServiceSettings, read_service
from shared.settings import Reader, Secret
from shared.stripe_connect import STRIPE_CONNECT, read_client_id, read_connect_base

PLATFORM: Final = "Portico"


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """All that the portal needs to know at start."""

    link_keys: tuple[Secret, ...]
    """The first signs, all verify."""
    public_url: str
    """Where customers reach the portal, without a slash at its end."""
    portal_session_origins: tuple[str, ...]
    """Origins that Stripe's pages may be at: the only ones a click can lead to."""
    platform_name: str = PLATFORM
    """What customers know this installation as: who runs the page, and sends the emails, for a business."""
    api_address: str | None = None
    """Where the HTTP API for host applications listens; None: nowhere."""
    api_rate: int = 600
    """Requests a minute of one key, counted by each process for itself."""
    api_mode: str = "live"
    """What the keys of the HTTP API begin with: of another mode none is taken."""
    stripe_client_id: str | None = None
    """The platform's `ca_…`, with which businesses connect their accounts; None: none does."""
    stripe_connect_base: str = STRIPE_CONNECT
    """Where Stripe asks them."""


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings; raises SettingsError that names every wrong one."""
    reader = Reader(environ)
    public_url = reader.url(
        "PUBLIC_URL",
        meaning="where customers reach the portal",
        example="https://portal.example.com",
    )
    origins = reader.urls(
        "PORTAL_SESSION_ORIGINS",
        meaning="the origins of Stripe's hosted pages: of sessions first, then of invoices (in the sandbox its own); the "
        "page names them beside its buttons",
        example="https://billing.stripe.com,https://invoice.stripe.com",
        default=("https://billing.stripe.com", "https://invoice.stripe.com"),
    )
    settings = Settings(
        **read_service(reader, listens="where the portal listens", address="127.0.0.1:8000"),
        database_url=reader.database_url("portal"),
        link_keys=reader.secrets(
            "PORTAL_LINK_KEYS",
            meaning=f"the keys of customers' links: the first signs, all verify; {KEY_LENGTH} characters or more each",
            example="$(openssl rand -hex 32)",
            min_length=KEY_LENGTH,
        ),
        public_url=public_url,
        portal_session_origins=origins,
        platform_name=reader.text(
            "PLATFORM_NAME",
            meaning="what customers know this installation as: pages and emails say that it works for the business",
            example="Acme Billing",
            default=PLATFORM,
        ),
        api_address=reader.address(
            "API_ADDRESS",
            meaning="where the HTTP API for host applications listens (`/api/v1`), apart from what customers reach; unset: nowhere",
            example="127.0.0.1:8003",
            default=None,
        ),
        api_rate=reader.integer(
            "API_RATE",
            meaning="requests a minute that one key of the HTTP API may make, counted by each process for itself",
            default=600,
            minimum=1,
            maximum=60_000,
        ),
        api_mode=reader.choice(
            "API_MODE",
            meaning="what this installation's keys of the HTTP API begin with: portico_live_ or portico_test_; a key of the other kind is refused",
            options=MODES,
            default="live",
        ),
        stripe_client_id=read_client_id(reader),
        stripe_connect_base=read_connect_base(reader),
    )
    for origin in origins or ():  # None when it is wrong, which is told already
        parts = urlsplit(origin)
        reader.check(
            "PORTAL_SESSION_ORIGINS",
            parts.path == "" and not parts.query and not set(origin) & set(" ;'\"*"),
            "has an entry that is more than scheme, host and port",
        )
    if isinstance(public_url, str):
        parts = urlsplit(public_url)
        reader.check(
            "PUBLIC_URL",
            not parts.query and not parts.fragment,
            "has a query or a fragment; it must end before them",
        )
    reader.check(
        "PLATFORM_NAME",
        not settings.platform_name or len(settings.platform_name) <= 60,
        "is longer than 60 characters",
    )
    reader.refuse_known(public_url)
    reader.done()
    return settings
