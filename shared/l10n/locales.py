"""Which languages there are, and which of them somebody is spoken to in.

A language is a folder under `locales/` (what is in it: its README). Nothing else names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global

LOCALES: Final = Path(__file__).parent / "locales"
DOMAIN: Final = "portico"
SOURCE: Final = "en"
"""The language of all texts in the code; the others have catalogues."""
ENGLISH: Final = Locale.parse("en_US")
"""How the command line, the timeline and the sandbox write amounts and dates."""


@cache
def languages() -> frozenset[str]:
    """What pages and emails speak: languages, or where the texts are one country's a locale (`pt_BR`)."""
    found = LOCALES.glob(f"*/LC_MESSAGES/{DOMAIN}.po")
    return frozenset(path.parent.parent.name for path in found) | {SOURCE}


@lru_cache(maxsize=1024)
def parse_locale(tag: str | None) -> Locale | None:
    """The locale of a tag like `pt-BR` or `pt_BR`; None when there is no such thing."""
    try:
        return Locale.parse((tag or "").replace("-", "_").split(".")[0])
    except (ValueError, TypeError, UnknownLocaleError):
        return None


def choose_locale(preferences: Iterable[str | None]) -> Locale:
    """The first preference whose language is spoken, with its territory, else English in their part of the world.

    English for somebody in Germany keeps Germany's way of writing amounts and dates (CLDR has `en_DE`). Words, dates and
    amounts always come from the same locale: a page half in one language serves nobody.
    """
    parsed = [locale for locale in map(parse_locale, preferences) if locale is not None]
    for locale in parsed:
        if (spoken := _spoken_as(locale)) is not None:
            return spoken
    for locale in parsed:
        if (regional := parse_locale(f"{SOURCE}_{_territory(locale)}")) is not None:
            return regional
    return Locale.parse(SOURCE)


@lru_cache(maxsize=1024)
def catalogue_of(locale: Locale) -> str:
    """Which language speaks to a locale: `pt_BR` to `pt_PT`, `de` to `de_AT`; the source where none does."""
    spoken = _spoken_as(locale)
    names = () if spoken is None else (str(spoken), spoken.language)
    return next((each for each in names if each in languages()), SOURCE)


def speaks(locale: Locale) -> bool:
    """Whether somebody of this locale is spoken to in their language."""
    return _spoken_as(locale) is not None


def _spoken_as(locale: Locale) -> Locale | None:
    """The locale that somebody of this one is spoken to in; None when there is nothing in their language.

    Mostly their own. A language that has only the catalogue of one country is spoken as there, whole: Brazilian words
    (`pt_BR`) are no better for having Portugal's dates around them, and the page says that it is Brazilian. Nor are English words for
    having dates in Shaw's letters (`en_Shaw`), in which CLDR knows no names of countries besides.
    """
    if locale.language in languages() or str(locale) in languages():
        unusual = locale.script or locale.variant
        return Locale(locale.language, locale.territory) if unusual else locale
    usual = f"{locale.language}_{_territory(Locale(locale.language))}"
    return Locale.parse(usual) if usual in languages() else None


def _territory(locale: Locale) -> str:
    """Where the locale is spoken: said in its tag, else where most of its speakers live."""
    if locale.territory:
        return str(locale.territory)
    likely = get_global("likely_subtags").get(locale.language, "")
    return str(likely).rsplit("_", 1)[-1]
