"""A business's colour, made safe for page and mail alike: whatever colour it is, what we write with it and on it stays
readable (WCAG 2.2, 1.4.3 and 1.4.11), and the page's button looks as the mail's that led to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
"""How a business's colour is given."""
DEFAULT_COLOR: Final = "#2456d6"
TEXT_CONTRAST: Final = 4.5
"""The least contrast of text (WCAG AA)."""
EDGE_CONTRAST: Final = 3.0
"""The least contrast of what is no text: a button's outline on its card."""
LIGHT_GROUNDS: Final = ("#ffffff", "#f3f4f7", "#f2f3f6")
DARK_GROUNDS: Final = ("#1c1f26", "#111319", "#1e2127", "#121417")
"""What the page (style.css) and the mails (_layout.html) lay behind their texts and buttons."""
BLACK: Final = "#000000"
WHITE: Final = "#ffffff"
GREY_EDGE: Final = "#767b85"
"""Outlines a button whose colour alone would not be seen on the card."""

_HEX: Final = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shades:
    """The colours of one business for one scheme, as `#rrggbb`."""

    button: str
    """The button's ground: the business's own colour, in the dark as light as it takes to be told from the card."""
    on_button: str
    """Readable on `button`."""
    edge: str
    """The button's outline, seen on the card."""
    text: str
    """Readable as text on every ground: links, the words of a button without a ground."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one business."""

    light: Shades
    dark: Shades


@lru_cache(maxsize=1024)
def palette(color: str | None) -> Palette:
    """The colours for a business's `#rrggbb` or `#rgb`; for None, and for what is no colour, Portico's own."""
    base = _normal(color) or DEFAULT_COLOR
    visible = all(contrast(base, ground) >= EDGE_CONTRAST for ground in LIGHT_GROUNDS)
    light = Shades(
        button=base,
        on_button=_ink_on(base),
        edge=base if visible else GREY_EDGE,
        text=_towards(base, BLACK, LIGHT_GROUNDS, TEXT_CONTRAST),
    )
    button = _towards(base, WHITE, DARK_GROUNDS, 2)
    dark = Shades(
        button=button,
        on_button=_ink_on(button),
        edge=_towards(button, WHITE, DARK_GROUNDS, EDGE_CONTRAST),
        text=_towards(base, WHITE, DARK_GROUNDS, TEXT_CONTRAST),
    )
    return Palette(light, dark)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two `#rrggbb` colours, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _normal(color: str | None) -> str | None:
    text = (color or "").strip().lower()
    if _HEX.fullmatch(text) is None:
        return None
    return text if len(text) == 7 else "#" + "".join(digit * 2 for digit in text[1:])


def _rgb(color: str) -> _Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


@lru_cache(maxsize=1024)
def _luminance(color: str) -> float:
    """Relative luminance, 0 to 1 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""

    def channel(value: int) -> float:
        share = value / 255
        return float(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (channel(value) for value in _rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _ink_on(color: str) -> str:
    # White is what people expect on a button; black only where white would be hard to read.
    return WHITE if contrast(color, WHITE) >= TEXT_CONTRAST else BLACK


def _towards(color: str, goal: str, grounds: tuple[str, ...], least: float) -> str:
    """The nearest mixture of `color` and `goal` that has this contrast on each of the grounds."""
    start, end = _rgb(color), _rgb(goal)
    for step in range(51):
        red, green, blue = (round(a + (b - a) * step / 50) for a, b in zip(start, end, strict=True))
        mixed = f"#{red:02x}{green:02x}{blue:02x}"
        if all(contrast(mixed, ground) >= least for ground in grounds):
            return mixed
    return goal
