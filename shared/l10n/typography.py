"""What a language's typographers want of every text, so that no translator has to type characters that can't be seen."""

from __future__ import annotations

import re
from typing import Final

NO_BREAK: Final = "\u00a0"
NARROW: Final = "\u202f"
HYPHEN: Final = "\u2011"

_SPACE: Final = f"[ {NO_BREAK}{NARROW}]*"
_FRENCH: Final = (
    # A narrow space before ; ? and !, a whole one before : and inside guillemets (Lexique des règles typographiques).
    (re.compile(rf"(?<=[^\s«]){_SPACE}([;?!]+)(?=[\s»)]|$)"), rf"{NARROW}\1"),
    (re.compile(rf"(?<=[^\s«]){_SPACE}:(?=[\s»)]|$)"), f"{NO_BREAK}:"),
    (re.compile(rf"«{_SPACE}"), f"«{NO_BREAK}"),
    (re.compile(rf"(?<!\s){_SPACE}»"), f"{NO_BREAK}»"),
    (re.compile(r"\b([Ee])-(mails?)\b"), rf"\1{HYPHEN}\2"),
)


def typeset(text: str, language: str) -> str:
    """The text with the spaces and hyphens of its language that no line may break at. The same when done twice.

    For texts of ours; names and addresses that go into them are none of it.
    """
    if language == "fr":
        for found, put in _FRENCH:
            text = found.sub(put, text)
    return text


def labelled(label: str, language: str) -> str:
    """A label with its colon: `Invoice:`, in French `Facture :`."""
    return typeset(f"{label}:", language)
