"""Which language a customer is written to in, and its catalogue.

English is the source; a language is spoken when `locales/<language>/LC_MESSAGES/notifier.po` exists. Catalogues
are compiled in memory when they are first needed, so there are no `.mo` files to forget.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from shared.l10n import locales

CATALOGUES: Final = Path(__file__).parent / "locales"
DOMAIN: Final = "notifier"


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


def choose_locale(*preferences: str | None, folder: Path = CATALOGUES) -> Locale:
    """The first preference whose language is spoken, else English in their part of the world."""
    return locales.choose_locale(
        preferences, lambda language: catalogue(language, folder) is not None
    )


def translations(locale: Locale, folder: Path = CATALOGUES) -> NullTranslations:
    """The texts for a locale; English passes through unchanged."""
    return catalogue(locale.language, folder) or NullTranslations()
