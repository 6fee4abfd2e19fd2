"""Which of the wished-for languages somebody is spoken to in."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global

SOURCE: Final = "en"
"""The language of all texts in the code; the others have catalogues."""


@lru_cache(maxsize=1024)
def parse_locale(tag: str | None) -> Locale | None:
    """The locale of a tag like `pt-BR` or `pt_BR`; None when there is no such thing."""
    try:
        return Locale.parse((tag or "").replace("-", "_").split(".")[0])
    except (ValueError, TypeError, UnknownLocaleError):
        return None


def choose_locale(preferences: Iterable[str | None], catalogues: Container[str]) -> Locale:
    """The first preference that one of the `catalogues` speaks, with its territory, else English.

    English for somebody in Germany keeps Germany's way of writing amounts and dates (CLDR has `en_DE`). Words, dates and
    amounts always come from the same locale: a page half in one language serves nobody.
    """
    parsed = [locale for locale in map(parse_locale, preferences) if locale is not None]
    for locale in parsed:
        if (spoken := spoken_as(locale, catalogues)) is not None:
            return spoken
    for locale in parsed:
        if (regional := parse_locale(f"{SOURCE}_{_territory(locale)}")) is not None:
            return regional
    return Locale.parse(SOURCE)


def spoken_as(locale: Locale, catalogues: Container[str]) -> Locale | None:
    """The locale that somebody of this one is spoken to in; None when there is nothing in their language.

    Mostly their own. A language that has only the catalogue of one country is spoken as there, whole: Brazilian words
    (`pt_BR`) are no better for having Portugal's dates around them, and the page says that it is Brazilian.
    """
    if locale.language == SOURCE or locale.language in catalogues or str(locale) in catalogues:
        return locale
    usual = f"{locale.language}_{_territory(Locale(locale.language))}"
    return Locale.parse(usual) if usual in catalogues else None


def _territory(locale: Locale) -> str:
    """Where the locale is spoken: said in its tag, else where most of its speakers live."""
    if locale.territory:
        return str(locale.territory)
    likely = get_global("likely_subtags").get(locale.language, "")
    return str(likely).rsplit("_", 1)[-1]
