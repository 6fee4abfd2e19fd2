"""The texts of a service in a language, read from its PO files as they are: no compiled files to forget.

A catalogue stands in `<folder>/<locale>/LC_MESSAGES/<domain>.po`; `<locale>` is a language, or a language of one country
(`pt_BR`) where the texts are only right there.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from shared.l10n.locales import SOURCE, spoken_as
from shared.l10n.typography import typeset


@lru_cache(maxsize=64)
def available(folder: Path, domain: str) -> frozenset[str]:
    """The locales that have a catalogue here, as their folders are called."""
    return frozenset(path.parent.parent.name for path in folder.glob(f"*/LC_MESSAGES/{domain}.po"))


def name(folder: Path, domain: str, locale: Locale) -> str:
    """Which of them speaks to a locale: `pt_BR` to `pt_PT`, `de` to `de_AT`; the source where none does."""
    found = available(folder, domain)
    spoken = spoken_as(locale, found)
    names = () if spoken is None else (str(spoken), spoken.language)
    return next((each for each in names if each in found), SOURCE)


def translations(folder: Path, domain: str, locale: Locale) -> NullTranslations:
    """The texts for a locale; those of the source pass through unchanged."""
    return _read(folder / name(folder, domain, locale) / "LC_MESSAGES" / f"{domain}.po")


@lru_cache(maxsize=64)
def _read(path: Path) -> NullTranslations:
    if not path.is_file():
        return NullTranslations()
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parent.parent.name, domain=path.stem)
    language = Locale.parse(path.parent.parent.name).language
    for message in catalogue:
        if isinstance(message.string, str):
            message.string = typeset(message.string, language)
        elif message.string:
            message.string = tuple(typeset(form, language) for form in message.string)
    compiled = BytesIO()
    write_mo(compiled, catalogue, use_fuzzy=False)  # fuzzy texts are unchecked
    compiled.seek(0)
    return Translations(compiled, domain=path.stem)
