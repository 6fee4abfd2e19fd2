"""The catalogues: every language says everything that an email can say."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import re
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from services.notifier.domain import DUNNING, Kind
from services.notifier.emails.samples import sample_letter
from services.notifier.emails.texts import CATALOGUES, choose_locale
from services.notifier.ports import Business
from shared.contracts.invoices import Retry
from shared.contracts.payments import Decline, PaymentMethod
from shared.l10n.typography import typeset
from tests.unit.notifier.conftest import RENDERER

LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pl", "pt_BR")
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


def catalogue(language: str) -> Catalog:
    return read(CATALOGUES / language / "LC_MESSAGES" / "notifier.po")


def texts(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def forms(value: object) -> list[str]:
    return list(value) if isinstance(value, tuple | list) else [str(value)]


def test_the_template_is_up_to_date() -> None:
    """A text that was changed or added without extracting it again would never be translated."""
    with (CATALOGUES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = {
        message
        for _, _, message, _, _ in extract_from_dir(
            str(CATALOGUES.parent), method_map=methods, options_map=options
        )
    }
    assert {message.id for message in texts(read(CATALOGUES / "notifier.pot"))} == found


def test_these_languages_are_spoken() -> None:
    """Eight catalogues, and no forgotten folder."""
    folders = {path.parent.parent.name for path in CATALOGUES.glob("*/LC_MESSAGES/notifier.po")}
    assert folders == set(LANGUAGES)


@EVERY_LANGUAGE
def test_a_catalogue_is_whole(language: str) -> None:
    """Every text of the template, each plural form, none unchecked, none that is used no more."""
    catalog = catalogue(language)
    template = read(CATALOGUES / "notifier.pot")
    assert {message.id for message in texts(catalog)} == {message.id for message in texts(template)}
    assert not catalog.obsolete
    for message in texts(catalog):
        said = forms(message.string)
        assert all(said), message.id
        assert not message.fuzzy, message.id
        assert len(said) == (catalog.num_plurals if message.pluralizable else 1), message.id


@EVERY_LANGUAGE
def test_a_translation_fills_in_what_the_source_fills_in(language: str) -> None:
    """The same placeholders; only a singular may say its number in a word."""
    for message in texts(catalogue(language)):
        wanted = {found for form in forms(message.id) for found in PLACEHOLDER.findall(form)}
        for number, form in enumerate(forms(message.string)):
            spelled_out = message.pluralizable and number == 0
            # `on_day` is the day with the word before it, for languages where that depends on the day.
            found = set(PLACEHOLDER.findall(form.replace("%(on_day)s", "%(day)s")))
            assert wanted - found <= ({"%(num)d", "%(num)s"} if spelled_out else set()), form
            assert found <= wanted, form
            assert form.replace("%(", "").count("%") == 0, form
            assert form == form.strip()


@EVERY_LANGUAGE
@pytest.mark.parametrize("kind", list(Kind))
def test_every_email_exists_in_every_language(language: str, kind: Kind) -> None:
    """Whatever the decline, nothing is left in English and nothing is left to fill in."""
    sample = dataclasses.replace(sample_letter(kind, language), note=None)
    own = dataclasses.replace(sample.business, locale=language, service_note=None)
    sample = dataclasses.replace(sample, business=own)
    for decline in (None, *Decline):
        said = RENDERER.render(dataclasses.replace(sample, decline=decline))
        assert f'<html lang="{language.replace("_", "-")}"' in said.html
        for part in (said.subject, said.text):
            assert "%(" not in part
            if language != "en":
                assert not re.search(r"\b(your|the|please|will|payment)\b", part, re.I), part


CARD_IN = {
    "de": "karte",
    "en": "card",
    "es": "tarjeta",
    "fr": "carte",
    "it": "carta",
    "nl": "kaart",
    "pl": "kart",
    "pt_BR": "cartão",
}
NEVER_ASKED = "We never ask for card or bank details by email or phone."
UNSEEN = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL)
METHODS = (
    PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789"),
    PaymentMethod(type="sepa_debit", last4="3000"),
    PaymentMethod(type="paypal"),
    None,
)


@EVERY_LANGUAGE
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_card_is_never_called_one(language: str, method: PaymentMethod | None) -> None:
    """In no language, after no decline, whatever happens next (another plan in each language); and all that is known of it is
    named."""
    message = catalogue(language).get(NEVER_ASKED)
    assert message is not None
    never_asked = typeset(str(message.string), language)
    plans = itertools.islice(itertools.cycle(Retry), LANGUAGES.index(language), None)
    for kind, decline in itertools.product(DUNNING, Decline):
        letter = dataclasses.replace(
            sample_letter(kind, language), method=method, decline=decline, planned=next(plans)
        )
        said = RENDERER.render(dataclasses.replace(letter, business=Business(name="Acme")))
        for part in (said.subject, said.text, UNSEEN.sub("", said.html)):
            rest = part.replace(never_asked, "")
            assert CARD_IN[language] not in rest.lower(), part
        if method is not None and method.last4 and kind is Kind.PAYMENT_FAILED:
            assert method.last4 in said.text
            assert (method.bank or "") in said.text


def test_english_says_what_the_source_says() -> None:
    """Its catalogue is the source itself: a text that differs would hide the one in the code."""
    for message in texts(catalogue("en")):
        assert forms(message.string) == forms(message.id)


def test_numbers_decline_as_the_language_wants() -> None:
    """One, a few, many: Polish has three forms, and one is told in a word everywhere."""

    def tries(language: str, number: int) -> str:
        letter = dataclasses.replace(
            sample_letter(Kind.PAYMENT_LAST_ATTEMPT, language), tries=number
        )
        return RENDERER.render(letter).text

    assert "Próbowaliśmy raz." in tries("pl", 1)
    assert "Próbowaliśmy 3 razy." in tries("pl", 3)
    assert "Próbowaliśmy 5 razy." in tries("pl", 5)
    assert "Wir haben es einmal versucht." in tries("de", 1)
    assert "Nous avons essayé 4 fois." in tries("fr", 4)


def test_amounts_and_dates_follow_the_customers_place() -> None:
    """The same language in two countries writes money and days its own way."""
    due = dt.datetime(2026, 11, 27, 15, tzinfo=dt.UTC)

    def text(locale: str) -> str:
        letter = dataclasses.replace(
            sample_letter(Kind.PAYMENT_REMINDER, locale), currency="eur", next_attempt=due
        )
        return RENDERER.render(letter).text

    assert "149,00\xa0€" in text("de_DE")
    assert "am Freitag, 27. November, noch" in text("de_DE")
    assert (
        "149.00\xa0€" in text("de_LI") or "€\xa0149.00" in text("de_LI") or "EUR" in text("de_LI")
    )
    assert "€\xa0149,00" in text("nl_NL")
    assert "piątek, 27 listopada." in text("pl")
    assert "el viernes 27 de noviembre." in text("es_MX")


def test_the_customers_language_comes_before_the_businesss() -> None:
    """Then the business's; then English, with the customer's way of writing numbers."""
    assert str(choose_locale("fr_CA", "de")) == "fr_CA"
    assert str(choose_locale(None, "pt_BR")) == "pt_BR"
    assert str(choose_locale("sv_SE", "it")) == "it"
    assert str(choose_locale("sv_SE", None)) == "en_SE"
