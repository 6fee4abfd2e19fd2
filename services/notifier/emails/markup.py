"""Addresses and other people's words as an email may have them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from markupsafe import Markup, escape

from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.emails.formats import REMEMBERED

_AFTER_HOST: Final = re.compile("[/?#]")


@lru_cache(REMEMBERED)
def bdi(name: str) -> Markup:
    """Somebody else's text inside our sentence: its direction must not turn ours around."""
    return Markup(f"<bdi>{escape(name)}</bdi>") if name else Markup("")  # noqa: S704


@lru_cache
def host(name: str) -> Markup:
    """Where the button leads, in plain sight: written from left to right in every language, broken after a dot if at all."""
    return Markup('<bdi dir="ltr">{}</bdi>').format(Markup(".<wbr>").join(name.split(".")))


def host_of(url: str) -> str:
    """What an absolute URL has between its scheme and its path."""
    return _AFTER_HOST.split(url.partition("://")[2], maxsplit=1)[0]


def button_url(link: str, kind: Kind) -> str:
    """The customer's page, told which email they come from: the portal opens the right form for it.

    Only emails that ask for a payment say so; the others lead to the page as it is.
    """
    if kind not in DUNNING:
        return link
    came_from = (
        Kind.PAYMENT_ACTION_REQUIRED
        if kind is Kind.PAYMENT_ACTION_REQUIRED
        else Kind.PAYMENT_FAILED
    )
    query = f"from={came_from.value}"
    if "?" not in link and "#" not in link:
        return f"{link}?{query}"
    parts = urlsplit(link)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


@lru_cache(REMEMBERED)
def web_address(url: str | None) -> str | None:
    """The URL if it is one that may stand in an email: absolute http(s)."""
    if not url or any(char.isspace() for char in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None
