"""A business's colour, made safe: whatever colour it is, what we write with it stays readable (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
DEFAULT_COLOR: Final = "#3b4cca"
LIGHT_SURFACE: Final = "#f3f4f7"
DARK_SURFACE: Final = "#1c1f26"
"""Of the page's grounds (style.css) the ones that are hardest to read on."""
TEXT_CONTRAST: Final = 4.5
"""The least contrast of text (WCAG AA)."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one business for one scheme, as `#rrggbb`."""

    accent: str
    """Readable as text on the surface, and as the button's ground."""
    on_accent: str
    """Readable on `accent`."""


@dataclass(frozen=True, slots=True)
class Brand:
    """A business's colours. `raw` is for decoration only."""

    raw: str
    light: Palette
    dark: Palette


def _rgb(color: str) -> Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _hex(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _luminance(color: str) -> float:
    """Relative luminance, 0 to 1 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""

    def channel(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(value) for value in _rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two `#rrggbb` colours, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _towards(color: str, goal: str, share: float) -> str:
    start, end = _rgb(color), _rgb(goal)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return _hex((red, green, blue))


def _readable(color: str, surface: str, goal: str) -> str:
    """The nearest mixture of `color` and `goal` that can be read on `surface`."""
    for step in range(51):
        mixed = _towards(color, goal, step / 50)
        if contrast(mixed, surface) >= TEXT_CONTRAST:
            return mixed
    return goal


def _palette(color: str, surface: str, goal: str) -> Palette:
    accent = _readable(color, surface, goal)
    # One of the two always reaches 4.58.
    on_accent = max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, accent))
    return Palette(accent, on_accent)


@lru_cache(maxsize=1024)
def brand_of(color: str | None) -> Brand:
    """The colours for a business's `#rrggbb` (None: Portico's own)."""
    raw = (color or DEFAULT_COLOR).lower()
    if not COLOR.fullmatch(raw):
        raw = DEFAULT_COLOR
    return Brand(
        raw=raw,
        light=_palette(raw, LIGHT_SURFACE, "#000000"),
        dark=_palette(raw, DARK_SURFACE, "#ffffff"),
    )
