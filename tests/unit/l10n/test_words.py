"""One word for one thing and one form of address, in all texts of mails and pages."""

from __future__ import annotations

import re

import pytest

from tests.unit.l10n.drawn import LANGUAGES, catalogue
from tests.unit.l10n.glossary import ADDRESSED, INFORMAL, INSTEAD

SERVICES = ("notifier", "portal")
OTHERS = tuple(language for language in LANGUAGES if language != "en")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_thing_has_one_name(service: str, language: str) -> None:
    """What the mail calls it the page calls it too, and neither uses a second word for it."""
    assert [
        (form, better)
        for forms in catalogue(service, language).values()
        for form in forms
        for word, better in INSTEAD[language].items()
        if re.search(word, form)
    ] == []


@pytest.mark.parametrize("language", OTHERS)
def test_nobody_is_a_friend_in_one_text_and_a_customer_in_the_next(language: str) -> None:
    """All texts are formal, mails and pages."""
    for service in SERVICES:
        forms = [form for forms in catalogue(service, language).values() for form in forms]
        friends = [form for form in forms if re.search(INFORMAL[language], form, re.IGNORECASE)]
        assert friends == []
        assert any(re.search(ADDRESSED[language], form) for form in forms)


@pytest.mark.parametrize("language", OTHERS)
def test_the_same_sentence_is_translated_once(language: str) -> None:
    """What stands in mails and pages word for word in English does so in every language."""
    mail, page = (catalogue(service, language) for service in SERVICES)
    both = sorted(mail.keys() & page)
    assert [(mail[key][0], page[key][0]) for key in both if mail[key][0] != page[key][0]] == []


@pytest.mark.parametrize(
    ("language", "word"), [("de", "Zahlungsart"), ("pt_BR", "segura do Stripe")]
)
def test_a_second_word_is_found(language: str, word: str) -> None:
    """The expressions find what they are there for, and not what is right."""
    assert any(re.search(pattern, word) for pattern in INSTEAD[language])
    assert not any(re.search(pattern, "Zahlungsmethode da Stripe") for pattern in INSTEAD[language])
