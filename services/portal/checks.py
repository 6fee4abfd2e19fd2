"""The portal's part of `portico doctor`: link keys and the public address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from services.portal.settings import Settings
from shared.cli.findings import Finding, finding, ok
from shared.settings import is_loopback

AREA: Final = "links"
MOST_KEYS: Final = 3


def check_links(settings: Settings) -> Iterator[Finding]:
    """The keys that sign links, without showing any of them, and where links lead."""
    keys = [key.reveal() for key in settings.link_keys]
    before = 0
    if len(set(keys)) < len(keys):
        before += 1
        yield finding(
            AREA,
            "links-double",
            "PORTAL_LINK_KEYS holds the same key twice",
            "remove one of them; was a new one meant?",
        )
    if len(keys) > MOST_KEYS:
        before += 1
        yield finding(
            AREA,
            "links-many",
            f"PORTAL_LINK_KEYS holds {len(keys)} keys: links under keys of long ago still open",
            "keep the newest, and the one before while its links are in use",
        )
    if urlsplit(settings.public_url).scheme != "https" and not is_loopback(settings.public_url):
        before += 1
        yield finding(
            AREA,
            "public-http",
            f"PUBLIC_URL is {settings.public_url}: customers' links travel readable",
            "serve the portal with TLS and set an https:// address",
        )
    if not before:
        yield ok(
            AREA,
            "links",
            f"{len(keys)} link key{'s' if len(keys) > 1 else ''}, PUBLIC_URL is right",
        )
