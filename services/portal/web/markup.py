"""Addresses and other people's words as a page may have them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from markupsafe import Markup

from shared.text import without_turns

WHOLE: Final = 16
"""The longest part of a number that is kept on one line: more is wider than the smallest screen."""


def shown(value: Any) -> Any:
    """What a template writes of a value: of a text, nothing that turns the direction of our own words."""
    return without_turns(value) if type(value) is str else value


def bdi(text: str) -> Markup:
    """Somebody else's text inside our sentence: its direction must not turn ours around."""
    return Markup("<bdi>{}</bdi>").format(shown(text))


def whole(text: str) -> Markup:
    """A number as somebody else writes it (of an invoice, of a telephone), whose parts are not broken at their hyphens."""
    parts = without_turns(text).split()
    return Markup(" ").join(
        Markup('<span class="whole">{}</span>').format(part) if len(part) <= WHOLE else part
        for part in parts
    )


def breakable(address: str) -> Markup:
    """An e-mail or web address that breaks, where it must, before a dot or after the @."""
    return Markup("<wbr>").join(re.split(r"(?<=@)|(?=\.)", without_turns(address)))


def tel(number: str) -> str:
    """A telephone number as `tel:` wants it."""
    return re.sub(r"[^\d+]", "", number)


def host(address: str) -> str:
    """Whose website it is: `sunrise.example`."""
    return (urlsplit(address).hostname or "").removeprefix("www.")


def host_of(origins: Sequence[str], number: int) -> str:
    """The host of that origin as the address bar will show it, or of the last there is; empty where there is none."""
    return urlsplit(origins[min(number, len(origins) - 1)]).netloc if origins else ""


def ltr(text: str) -> Markup:
    """An address inside our sentence: written from left to right in every language."""
    return Markup('<bdi dir="ltr">{}</bdi>').format(text)
