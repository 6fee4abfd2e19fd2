"""The texts of a language, read from its PO file as it is: no compiled files to forget."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from shared.l10n.locales import DOMAIN, LOCALES, SOURCE, catalogue_of
from shared.l10n.typography import typeset

Gettext = Callable[[str], str]
Ngettext = Callable[[str, str, int], str]


class _Texts(Translations):
    """The texts of a language, where one that has a plural can be asked for alone, too. Python's own `gettext` finds it in newer
    releases of 3.11; in Debian 12's, 3.11.2, it answers in English."""

    def gettext(self, message: str) -> str:
        """The text; the one for a single thing where it has several."""
        found: str = super().gettext(message)
        return str(self.ngettext(message, message, 1)) if found == message else found


def translations(locale: Locale) -> NullTranslations:
    """The texts for a locale; those of the source pass through unchanged."""
    return _read(catalogue_of(locale))


@lru_cache(maxsize=64)
def _read(name: str) -> NullTranslations:
    if name == SOURCE:
        return NullTranslations()
    with (LOCALES / name / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        catalogue = read_po(file, locale=name, domain=DOMAIN)
    for message in catalogue:
        if isinstance(message.string, str):
            message.string = typeset(message.string, name)
        elif message.string:
            message.string = tuple(typeset(form, name) for form in message.string)
    compiled = BytesIO()
    write_mo(compiled, catalogue, use_fuzzy=False)  # fuzzy texts are unchecked
    compiled.seek(0)
    return _Texts(compiled, domain=DOMAIN)
