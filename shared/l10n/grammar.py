"""What a language does that CLDR doesn't say: the file `language.toml` in its folder, in which every line is optional.

A rule is a regular expression and what is put in the place of what it finds, as `re.sub` has them.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from shared.l10n.locales import LOCALES

Rule = tuple[str, str]


class DayRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How days are written."""

    first: str = ""
    """What the 1 of a month's first day has after it: `1er décembre`, `1º de dezembro`."""
    comma_after_weekday: bool = True
    """False takes CLDR's comma away: `viernes 27 de noviembre`."""
    on: tuple[Rule, ...] = ()
    """The word before a day in whole words that says when something happens: `am Freitag`, `l’8 dicembre`. The first
    rule that finds something is the only one that is used."""


class TypographyRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Characters that no translator has to type."""

    rules: tuple[Rule, ...] = ()
    """All are used, in this order, on each text of the catalogue."""


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which words the translations use. Only the tests read it: a catalogue is refused that does otherwise."""

    card: str = ""
    """What no text calls a bank account, in lower case."""
    formal: str = ""
    """A regular expression of the formal address: there is some of it in pages and emails."""
    informal: str = ""
    """One of the customer as a friend, where all our texts are formal (Sie, usted, vous, Lei, u, Państwo, você).
    Imperatives on Italian, French and Polish buttons are nobody's address. Matched without regard to case."""
    instead: dict[str, str] = {}
    """Regular expressions, each of a word that our texts do without, and what they say instead: one word for one thing,
    in emails, on the page and on Stripe's pages where the customer goes next. Where both words are right in other places,
    the expression has as much of the sentence as it takes."""


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language."""

    days: DayRules = DayRules()
    typography: TypographyRules = TypographyRules()
    style: Style = Style()


@lru_cache(maxsize=64)
def grammar(catalogue: str) -> Grammar:
    """The grammar of a catalogue's language; for one without a file, CLDR's rules alone.

    Raises msgspec.MsgspecError for a file that is wrong.
    """
    path = LOCALES / catalogue / "language.toml"
    if not path.is_file():
        return Grammar()
    return msgspec.toml.decode(path.read_bytes(), type=Grammar)


def first_that_fits(rules: tuple[Rule, ...], text: str) -> str:
    """The text changed by the first rule that finds something in it."""
    for pattern, replacement in rules:
        changed, found = re.subn(pattern, replacement, text, count=1)
        if found:
            return changed
    return text
