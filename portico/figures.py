"""Numbers, and how many there are, as people read them: money, lengths of time, bars."""

from __future__ import annotations

from collections.abc import Sequence

from shared.l10n.locales import ENGLISH
from shared.l10n.money import money as write_money

BAR = 40
PARTS = " ▏▎▍▌▋▊▉█"


def money(minor: int, currency: str) -> str:
    """An amount in minor units as people write it: `$1,234.50`."""
    return write_money(minor, currency, ENGLISH) if currency else "–"


def number_of(count: int, thing: str) -> str:
    """`1 email`, `1,200 emails`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def few(names: Sequence[str], most: int) -> str:
    """The first of many names: `sunrise, sunset, …`."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def duration(seconds: float | None) -> str:
    """A length of time in the unit that fits: `42 s`, `3.5 h`, `2.1 days`."""
    if seconds is None:
        return "–"
    for least, size, unit in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def bar(value: int, most: int, width: int = BAR) -> str:
    """A bar of eighths of a character, `width` characters long where the value is the most."""
    eighths = round(8 * width * value / most) if most else 0
    if value and not eighths:
        eighths = 1
    return "█" * (eighths // 8) + (PARTS[eighths % 8] if eighths % 8 else "")
