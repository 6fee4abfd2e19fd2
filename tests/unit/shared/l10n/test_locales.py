"""Which of the wished-for languages somebody is spoken to in: one rule for pages and mails."""

from __future__ import annotations

import pytest

from services.notifier.emails import texts as mails
from services.portal import texts as pages


@pytest.mark.parametrize(
    ("preferences", "chosen"),
    [
        (("de_AT", "fr"), "de_AT"),
        (("sv_SE", "fr_CA"), "fr_CA"),
        (("sv_SE",), "en_SE"),
        (("sv",), "en_SE"),
        (("xx", None, "no such thing"), "en"),
        ((), "en"),
        (("pt-BR",), "pt_BR"),
    ],
)
def test_page_and_mail_speak_the_same_language(
    preferences: tuple[str | None, ...], chosen: str
) -> None:
    """The first that is spoken; else English, with the customer's own way of writing amounts and dates."""
    assert str(pages.choose_locale(preferences)) == chosen
    assert str(mails.choose_locale(*preferences)) == chosen
