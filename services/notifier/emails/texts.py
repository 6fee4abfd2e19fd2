"""Which language a customer is written to in, and its catalogue: `locales/<locale>/LC_MESSAGES/notifier.po`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from babel import Locale
from babel.support import NullTranslations

from shared.l10n import catalogues, locales

CATALOGUES: Final = Path(__file__).parents[1] / "locales"
DOMAIN: Final = "notifier"


def choose_locale(*preferences: str | None, folder: Path = CATALOGUES) -> Locale:
    """The first preference whose language is spoken, else English in their part of the world."""
    return locales.choose_locale(preferences, catalogues.available(folder, DOMAIN))


def catalogue(locale: Locale, folder: Path = CATALOGUES) -> str:
    """The name of the catalogue that speaks to a locale."""
    return catalogues.name(folder, DOMAIN, locale)


def translations(locale: Locale, folder: Path = CATALOGUES) -> NullTranslations:
    """The texts for a locale; English passes through unchanged."""
    return catalogues.translations(folder, DOMAIN, locale)
