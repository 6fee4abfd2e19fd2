"""Where a button leads, in plain sight."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from markupsafe import Markup


def host_of(origins: Sequence[str], number: int) -> str:
    """The host of that origin as the address bar will show it, or of the last there is; empty where there is none."""
    return urlsplit(origins[min(number, len(origins) - 1)]).netloc if origins else ""


def ltr(text: str) -> Markup:
    """An address inside our sentence: written from left to right in every language."""
    return Markup('<bdi dir="ltr">{}</bdi>').format(text)
