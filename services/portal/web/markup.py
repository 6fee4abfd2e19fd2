"""Addresses and other people's words as a page may have them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup

from shared.templating import escaped, trusted
from shared.text import without_turns

WHOLE: Final = 16
"""The longest part of a number that is kept on one line: more is wider than the smallest screen."""


def bdi(text: str) -> Markup:
    """Somebody else's text inside our sentence: its direction must not turn ours around."""
    return trusted(f"<bdi>{escaped(text)}</bdi>")


def whole(text: str) -> Markup:
    """A number as somebody else writes it (of an invoice, of a telephone), whose parts are not broken at their hyphens."""
    parts = (
        f'<span class="whole">{escaped(part)}</span>' if len(part) <= WHOLE else escaped(part)
        for part in without_turns(text).split()
    )
    return trusted(" ".join(parts))


@lru_cache(maxsize=1024)
def breakable(address: str) -> Markup:
    """An e-mail or web address that breaks, where it must, before a dot or after the @."""
    return Markup("<wbr>").join(re.split(r"(?<=@)|(?=\.)", without_turns(address)))


def tel(number: str) -> str:
    """A telephone number as `tel:` wants it."""
    return re.sub(r"[^\d+]", "", number)


def host(address: str) -> str:
    """Whose website it is: `sunrise.example`."""
    return (urlsplit(address).hostname or "").removeprefix("www.")


@lru_cache(maxsize=64)
def host_of(origins: tuple[str, ...], number: int) -> str:
    """The host of that origin as the address bar will show it, or of the last there is; empty where there is none."""
    return urlsplit(origins[min(number, len(origins) - 1)]).netloc if origins else ""


def ltr(text: str) -> Markup:
    """An address inside our sentence: written from left to right in every language."""
    return trusted(f'<bdi dir="ltr">{escaped(text)}</bdi>')
