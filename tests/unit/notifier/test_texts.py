"""The emails in every language."""

from __future__ import annotations

import datetime as dt
import html
import itertools
import re

import msgspec
import pytest
from babel import Locale

from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.emails.samples import sample_letter
from services.notifier.ports import Business
from shared.contracts.invoices import Retry
from shared.contracts.payments import Decline, PaymentMethod
from shared.l10n.catalogues import translations
from shared.l10n.grammar import grammar
from tests.fixtures.languages import LANGUAGES
from tests.unit.notifier.conftest import RENDERER

pytestmark = pytest.mark.whole

EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)


@EVERY_LANGUAGE
@pytest.mark.parametrize("kind", list(Kind))
def test_every_email_exists_in_every_language(language: str, kind: Kind) -> None:
    """Whatever the decline, nothing is left in English and nothing is left to fill in."""
    sample = msgspec.structs.replace(sample_letter(kind, language), note=None)
    own = msgspec.structs.replace(sample.business, locale=language, service_note=None)
    sample = msgspec.structs.replace(sample, business=own)
    for decline in (None, *Decline):
        said = RENDERER.render(msgspec.structs.replace(sample, decline=decline))
        assert f'<html lang="{language.replace("_", "-")}"' in said.html
        for part in (said.subject, said.text):
            assert "%(" not in part
            if language != "en":
                assert not re.search(r"\b(your|the|please|will|payment)\b", part, re.I), part


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
    never_asked = translations(Locale.parse(language)).gettext(NEVER_ASKED)
    plans = itertools.islice(itertools.cycle(Retry), LANGUAGES.index(language), None)
    for kind, decline in itertools.product(DUNNING, Decline):
        letter = msgspec.structs.replace(
            sample_letter(kind, language), method=method, decline=decline, planned=next(plans)
        )
        said = RENDERER.render(msgspec.structs.replace(letter, business=Business(name="Acme")))
        for part in (said.subject, said.text, UNSEEN.sub("", said.html)):
            rest = part.replace(never_asked, "")
            assert grammar(language).style.card not in rest.lower(), part
        if method is not None and method.last4 and kind is Kind.PAYMENT_FAILED:
            assert method.last4 in said.text
            assert (method.bank or "") in said.text


def test_numbers_decline_as_the_language_wants() -> None:
    """One, a few, many: Polish has three forms, and one is told in a word everywhere."""

    def tries(language: str, number: int) -> str:
        letter = msgspec.structs.replace(
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
        letter = msgspec.structs.replace(
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


PAYMENTS = "There you can see your payments and invoices, and update your payment method whenever you need to."
COMING = "There you can see your upcoming appointments."
COMING_TOO = "Your upcoming appointments are there, too."
NONE_YET = "When an appointment is scheduled for you, you’ll find it there."
SEE_PAYMENTS = "See your payments and update your payment method. No password needed."
SEE_COMING = "See your upcoming appointments. No password needed."
OPEN_IT = "Open it whenever you like. No password needed."
PREHEADERS = {SEE_PAYMENTS, SEE_COMING, OPEN_IT}
WORDS_OF_WELCOMES = PREHEADERS | {PAYMENTS, COMING, COMING_TOO, NONE_YET}


@EVERY_LANGUAGE
@pytest.mark.parametrize(
    ("has_payments", "planned", "said"),
    [
        (True, True, {PAYMENTS, COMING_TOO, SEE_PAYMENTS}),
        (True, False, {PAYMENTS, SEE_PAYMENTS}),
        (False, True, {COMING, SEE_COMING}),
        (False, False, {NONE_YET, OPEN_IT}),
    ],
)
def test_a_welcome_names_what_the_customers_page_has(
    language: str, has_payments: bool, planned: bool, said: set[str]
) -> None:
    """No payments where there are none, and no appointments where none is planned."""
    letter = sample_letter(Kind.WELCOME, language)
    own = msgspec.structs.replace(letter.business, locale=language)
    letter = msgspec.structs.replace(
        letter,
        business=own,
        has_payments=has_payments,
        next_appointment=letter.next_appointment if planned else None,
    )
    email = RENDERER.render(letter)
    speak = translations(Locale.parse(language)).gettext
    for part in (" ".join(email.text.split()), " ".join(html.unescape(email.html).split())):
        named = {text for text in WORDS_OF_WELCOMES if speak(text) in part}
        expected = said if part.startswith("<") else said - PREHEADERS
        assert named == expected
