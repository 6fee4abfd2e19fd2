"""Which language a customer is written to in, and its catalogue.

English is the source; a language is spoken when `locales/<language>/LC_MESSAGES/notifier.po` exists. Catalogues
are compiled in memory when they are first needed, so there are no `.mo` files to forget.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

CATALOGUES: Final = Path(__file__).parent / "locales"
DOMAIN: Final = "notifier"
SOURCE: Final = "en"


def parse_locale(tag: str | None) -> Locale | None:
    """The locale of a tag like `pt-BR` or `pt_BR`; None when there is no such thing."""
    try:
        return Locale.parse((tag or "").replace("-", "_").split(".")[0])
    except (ValueError, TypeError, UnknownLocaleError):
        return None


@lru_cache(maxsize=64)
def catalogue(language: str, folder: Path = CATALOGUES) -> Translations | None:
    """The compiled texts of a language; None when it is not spoken. Fuzzy (unchecked) texts are left out."""
    path = folder / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        compiled = BytesIO()
        write_mo(compiled, read_po(file, locale=language), use_fuzzy=False)
    compiled.seek(0)
    return Translations(compiled, domain=DOMAIN)


def choose_locale(*wishes: str | None, folder: Path = CATALOGUES) -> Locale:
    """The first of the wished-for locales whose language is spoken, else English.

    English for somebody in Germany keeps Germany's way of writing amounts and dates (CLDR has `en_DE`).
    """
    parsed = [locale for locale in map(parse_locale, wishes) if locale is not None]
    for locale in parsed:
        if locale.language == SOURCE or catalogue(locale.language, folder) is not None:
            return locale
    for locale in parsed:
        if (regional := parse_locale(f"{SOURCE}_{_territory(locale)}")) is not None:
            return regional
    return Locale.parse(SOURCE)


def _territory(locale: Locale) -> str:
    """Where the locale is spoken: said in its tag, else where most of its speakers live."""
    if locale.territory:
        return locale.territory
    likely = get_global("likely_subtags").get(locale.language, "")
    return likely.rsplit("_", 1)[-1]


def translations(locale: Locale, folder: Path = CATALOGUES) -> NullTranslations:
    """The texts for a locale; English passes through unchanged."""
    return catalogue(locale.language, folder) or NullTranslations()
