"""Which of the wished-for languages somebody is spoken to in: one rule for pages and mails."""

from __future__ import annotations

import pytest
from babel import Locale

from shared.l10n.locales import catalogue_of, choose_locale


@pytest.mark.parametrize(
    ("preferences", "chosen"),
    [
        (("de_AT", "fr"), "de_AT"),
        (("en_GB", "en_US"), "en_GB"),
        (("fr_CA", "de"), "fr_CA"),
        ((None, "pt_BR"), "pt_BR"),
        (("pt-BR", "en-US"), "pt_BR"),
        (("pt-PT", "en-US"), "pt_BR"),  # Portugal reads Brazilian, and is told so
        (("pt", "en-US"), "pt_BR"),
        (("rm_CH", "fr_CA"), "fr_CA"),  # Romansh has no catalogue
        (("rm", "nl-BE", "de"), "nl_BE"),
        (("rm_CH", None), "en_CH"),  # English words, Switzerland's way to write amounts
        (("rm",), "en_CH"),
        (("en-Shaw", "de"), "en"),  # the words are in Latin letters
        (("en-Dsrt-US",), "en_US"),
        (("en_US_POSIX",), "en_US"),
        (("ii_CN", None, ""), "en"),  # CLDR has no English for China
        ((None, "", "nonsense!", "tlh", "en-AU"), "en_AU"),
        (("xx", None, "no such thing"), "en"),
        (("../../etc",), "en"),
        ((), "en"),
    ],
)
def test_the_first_wish_that_is_spoken(preferences: tuple[str | None, ...], chosen: str) -> None:
    """With its territory; else English, with the customer's own way of writing amounts and dates."""
    assert str(choose_locale(preferences)) == chosen


@pytest.mark.parametrize(
    ("locale", "name"), [("de_AT", "de"), ("pt_PT", "pt_BR"), ("en_GB", "en"), ("rm", "en")]
)
def test_a_locale_has_a_catalogue(locale: str, name: str) -> None:
    """That of its language, or of the country whose texts the language has."""
    assert catalogue_of(Locale.parse(locale)) == name
