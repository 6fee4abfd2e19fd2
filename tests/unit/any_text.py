"""Any text as a strategy, as `st.text()` is, without the table of all Unicode categories that it makes first: in a fresh checkout
that took the first test with it four seconds."""

from __future__ import annotations

from hypothesis import strategies as st

SURROGATES = range(0xD800, 0xE000)
"""Halves of characters, which JSON can say and UTF-8 can't."""
CODE_POINTS = 0x110000


def _text(raw: bytes, *, halves: bool) -> str:
    """Three bytes a character: every second one is ASCII, since most rules are about that."""
    numbers = (int.from_bytes(raw[at : at + 3], "little") for at in range(0, len(raw), 3))
    codes = (number // 2 % (CODE_POINTS if number % 2 else 0x80) for number in numbers)
    return "".join(chr(code) for code in codes if halves or code not in SURROGATES)


def any_text(max_size: int = 30, *, halves: bool = False) -> st.SearchStrategy[str]:
    """Texts of up to `max_size` characters, those that UTF-8 can say; with `halves` of characters, others too. Of its own accord
    hypothesis hardly makes a long one, so some are."""
    longest = 3 * max_size
    raw = st.binary(max_size=longest) | st.binary(min_size=longest // 2, max_size=longest)
    return raw.map(lambda given: _text(given, halves=halves))
