"""One word for one thing and one form of address, in all texts of mails and pages."""

from __future__ import annotations

import re

import pytest
from babel import Locale

from shared.l10n.catalogues import translations
from shared.l10n.grammar import grammar
from tests.fixtures.languages import LANGUAGES, TRANSLATED, texts
from tests.unit.l10n.drawn import all_mails, all_pages

REASONS = (
    "Your card has expired, so the payment failed.",
    "Your payment method has expired, so the payment failed.",
    "There wasn’t enough money available for this payment.",
    "The payment from %(method)s was declined.",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_thing_has_one_name(language: str) -> None:
    """What the mail calls it the page calls it too, and neither uses a second word for it."""
    assert [
        (form, better)
        for forms in texts(language).values()
        for form in forms
        for word, better in grammar(language).style.instead.items()
        if re.search(word, form)
    ] == []


@pytest.mark.whole
@pytest.mark.parametrize("language", TRANSLATED)
def test_nobody_is_a_friend_in_one_text_and_a_customer_in_the_next(language: str) -> None:
    """All texts are formal, mails and pages."""
    style = grammar(language).style
    forms = [form for forms in texts(language).values() for form in forms]
    assert [form for form in forms if re.search(style.informal, form, re.IGNORECASE)] == []
    for drawn in (all_mails(language), all_pages(language)):
        assert any(re.search(style.formal, text) for text in drawn)


@pytest.mark.whole
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_button_of_the_mail_is_the_heading_of_the_page(language: str) -> None:
    """Who comes from the mail's button finds its words on the page."""
    words = translations(Locale.parse(language)).gettext("Update your payment method")
    for drawn in (all_mails(language), all_pages(language)):
        assert any(words in text for text in drawn)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reason_does_not_say_again_that_the_payment_failed(language: str) -> None:
    """It follows the sentence that says so, and ends in other words."""
    say = translations(Locale.parse(language)).gettext

    def end_of(text: str) -> str:
        return " ".join(say(text).rstrip(".").split()[-2:])

    failed = end_of("Your automatic payment to %(name)s didn’t go through.")
    for reason in REASONS:
        assert end_of(reason) != failed, say(reason)


@pytest.mark.parametrize(
    ("language", "word"), [("de", "Zahlungsart"), ("pt_BR", "segura do Stripe")]
)
def test_a_second_word_is_found(language: str, word: str) -> None:
    """The expressions find what they are there for, and not what is right."""
    instead = grammar(language).style.instead
    assert any(re.search(pattern, word) for pattern in instead)
    assert not any(re.search(pattern, "Zahlungsmethode da Stripe") for pattern in instead)
