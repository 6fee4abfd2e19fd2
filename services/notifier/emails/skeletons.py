"""Emails drawn once for all that are alike, with holes where they differ.

A template asks of a text no more than whether there is one. So what Jinja makes of it for texts of which it knows only that does for
all emails of a kind and a language that tell of the same things, whoever's they are: a few, and filling one takes a small part of the
time that drawing does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from markupsafe import Markup

from shared.l10n.palette import Palette, Shades
from shared.templating import trusted

MOST: Final = 128
"""Skeletons that a process keeps, of 28 KB each: 3.6 MB at most. The oldest one makes room."""

_TEXTS: Final = (str, Markup)
_HOLE: Final = re.compile(r"\x00(\w+)\x00|\\u0000(\w+)\\u0000")
"""A text's place; within JSON the second."""
_MARKUP: Final = re.compile("[<>&']")
_SHADES: Final = tuple(field.name for field in fields(Shades))


def shape_of(values: Mapping[str, Any]) -> Hashable:
    """All that a template can find out about values: of texts whether they are empty, of others what they are."""
    return tuple([bool(one) if type(one) in _TEXTS else one for one in values.values()])


def with_holes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a hole in the place of each text that is not empty."""
    return {
        name: hole(name) if one and type(one) in _TEXTS else one for name, one in values.items()
    }


def hole(name: str) -> str:
    """The place of the text of this name."""
    return f"\0{name}\0"


@lru_cache(maxsize=1024)
def color_texts(colors: Palette) -> dict[str, str]:
    """The texts for the holes of `COLORS`."""
    return {
        f"{scheme}_{name}": trusted(getattr(getattr(colors, scheme), name))
        for scheme in ("light", "dark")
        for name in _SHADES
    }


COLORS: Final = Palette(
    *(Shades(*(hole(f"{scheme}_{name}") for name in _SHADES)) for scheme in ("light", "dark"))
)
"""Any business's colours."""


def within_json(text: str) -> str:
    """A text as it stands in a string of JSON that is in HTML, as Jinja's `tojson` writes it."""
    raw = text.unescape() if isinstance(text, Markup) else text
    quoted = encode_basestring_ascii(raw)[1:-1]
    return _MARKUP.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


class Skeleton:
    """What is the same in all emails of one shape."""

    def __init__(self, drawn: str) -> None:
        """`drawn`: with holes."""
        pieces = _HOLE.split(drawn)
        self._pieces = [""] * (len(pieces) // 3 * 2 + 1)
        self._pieces[::2] = pieces[::3]
        names = list(zip(pieces[1::3], pieces[2::3], strict=True))
        self._texts = tuple({text for text, _ in names if text})
        self._of_json = tuple({of_json for _, of_json in names if of_json})
        # A colon is in no name.
        self._order = tuple(text or f":{of_json}" for text, of_json in names)

    def filled(self, texts: Mapping[str, str], written: Callable[[str], str] | None) -> str:
        """The email with these texts, each `written` as it has to stand there; None: as it is."""
        said = texts
        if written is not None:
            said = {
                name: text if type(text := texts[name]) is Markup else written(text)
                for name in self._texts
            }
        if self._of_json:
            said = {**said, **{f":{name}": within_json(texts[name]) for name in self._of_json}}
        pieces = self._pieces.copy()
        pieces[1::2] = [said[name] for name in self._order]
        return "".join(pieces)
