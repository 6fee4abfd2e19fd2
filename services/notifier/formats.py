"""Names and colours as a person reads them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from babel import Locale

REMEMBERED: Final = 1024
"""How many answers each of the functions here keeps: days, names and colours come again and again."""


# --- names --------------------------------------------------------------------------------------------------------

_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_LONGEST_NAME: Final = 80


@lru_cache(REMEMBERED)
def plain_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """A name on one line: no control characters (a newline in a header is an injected header), no characters
    that turn the direction of the text after them, no runs of spaces, not endless."""
    kept = "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn")
        if unicodedata.bidirectional(char)
        not in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    )
    name = " ".join(kept.split())
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def plain_line(text: str) -> str:
    """Text as one line of a header: whatever was a line break is a space. No-break spaces stay, in amounts and signs."""
    spaced = "".join(
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text
    )
    return re.sub(" {2,}", " ", spaced).strip()


def plain_text(text: str, longest: int) -> str:
    """Somebody's own words, several lines of them: no control characters, no turned directions, not endless."""
    lines = [plain_name(line, longest) for line in text.splitlines()]
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return joined if len(joined) <= longest else joined[: longest - 1].rstrip() + "…"


def quoted(text: str) -> str:
    """The text as plain-text mail quotes it."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


@lru_cache(REMEMBERED)
def isolated(name: str, locale: Locale) -> str:
    """The name so that its direction does not disturb the sentence around it (plain text; HTML has `<bdi>`)."""
    opposite = ("R", "AL") if locale.text_direction == "ltr" else ("L",)
    if any(unicodedata.bidirectional(char) in opposite for char in name):
        return f"{_FIRST_STRONG_ISOLATE}{name}{_POP_ISOLATE}"
    return name


def display_name(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name for the From header. Characters with a meaning in headers become look-alikes without one."""
    return plain_name(name, longest).translate(
        {
            ord('"'): "”",
            ord("<"): "‹",
            ord(">"): "›",
            ord("\\"): "/",
            ord(";"): "‚",
            ord(","): "‚",
        }
    )


def initial(name: str) -> str:
    """The letter that stands for a business without a logo; empty when it has none."""
    return next((char.upper() for char in name if char.isalnum()), "")


# --- colours -------------------------------------------------------------------------------------------------------

_HEX: Final = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
DEFAULT_COLOR: Final = "#2456d6"
_INK, _PAPER = "#000000", "#ffffff"
_DARK_CARD: Final = "#1e2127"


@dataclass(frozen=True)
class Accent:
    """A business's colour, made safe: button and the text on it (contrast 4.5 : 1 or more), for light and dark."""

    light: str
    on_light: str
    dark: str
    on_dark: str
    edge: str
    """The button's outline on white: its own colour, or grey where the colour alone would not be seen."""
    dark_edge: str
    """The same on the dark card."""


@lru_cache(REMEMBERED)
def accent(color: str | None) -> Accent:
    """The palette of a business's colour; a default one when there is none or it is no colour."""
    base = _parse(color) or _parse(DEFAULT_COLOR) or (0, 0, 0)
    dark = _lighten_until(base, 2)
    visible = _contrast(base, (255, 255, 255)) >= 3
    return Accent(
        light=_hex(base),
        on_light=_ink_on(base),
        dark=_hex(dark),
        on_dark=_ink_on(dark),
        edge=_hex(base) if visible else "#767b85",
        dark_edge=_hex(_lighten_until(dark, 3)),
    )


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours, 1 to 21."""
    return _contrast(_parse(one) or (0, 0, 0), _parse(other) or (0, 0, 0))


_Rgb = tuple[int, int, int]


def _parse(color: str | None) -> _Rgb | None:
    match = _HEX.fullmatch((color or "").strip())
    if match is None:
        return None
    digits = match[1]
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def _hex(color: _Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _mix(color: _Rgb, other: _Rgb, share: float) -> _Rgb:
    red, green, blue = (
        round(mine + (theirs - mine) * share) for mine, theirs in zip(color, other, strict=True)
    )
    return red, green, blue


def _lighten_until(color: _Rgb, ratio: float) -> _Rgb:
    """The colour, as light as it takes to be told from the dark card."""
    while _contrast(color, _parse(_DARK_CARD) or (0, 0, 0)) < ratio:
        color = _mix(color, (255, 255, 255), 0.1)
    return color


def _ink_on(color: _Rgb) -> str:
    paper, ink = _parse(_PAPER) or (255, 255, 255), _parse(_INK) or (0, 0, 0)
    # White is what people expect on a button; black only where white would be hard to read.
    return _PAPER if _contrast(color, paper) >= 4.5 else _hex(ink)


def _contrast(one: _Rgb, other: _Rgb) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: _Rgb) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return float(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(channel) for channel in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
