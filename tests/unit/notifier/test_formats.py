"""Amounts, dates, names, colours and languages."""

from __future__ import annotations

import datetime as dt

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from services.notifier import formats, texts, wording
from shared.contracts.payments import PaymentMethod


def test_a_day_is_the_customers_day() -> None:
    """Late in the evening in UTC it is tomorrow in Tokyo; an unknown zone is UTC."""
    moment = dt.datetime(2026, 11, 27, 20, tzinfo=dt.UTC)
    english = Locale.parse("en_US")
    assert formats.day(moment, "Asia/Tokyo", english) == "Saturday, November 28"
    assert formats.day(moment, "Mars/Olympus", english) == "Friday, November 27"
    assert formats.day(moment, None, Locale.parse("de")) == "Freitag, 27. November 2026"


@given(st.text(max_size=300))
def test_no_name_breaks_a_header(name: str) -> None:
    """Whatever it is, the result is one short line that encodes, without header syntax in the From."""
    plain = formats.plain_name(name)
    assert len(plain) <= 80
    assert not any(ord(char) < 32 or char in "\x7f\u2028\u2029\u202e" for char in plain)
    plain.encode()
    assert not set(formats.display_name(name)) & set('"<>\\,;\r\n')


hexes = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(hexes)
def test_every_colour_gives_a_readable_button(color: str) -> None:
    """Contrast 4.5 for the words, and an outline of 3 against the card, in light and dark."""
    found = formats.accent(color)
    assert formats.contrast(found.light, found.on_light) >= 4.5
    assert formats.contrast(found.dark, found.on_dark) >= 4.5
    assert formats.contrast(found.edge, "#ffffff") >= 3
    assert formats.contrast(found.dark_edge, "#1e2127") >= 3


@pytest.mark.parametrize("color", [None, "", "red", "#12", "#12345g", "url(x)", "#fff;}"])
def test_what_is_no_colour_becomes_the_default(color: str | None) -> None:
    """Nothing but six or three hexadecimal digits gets into a style attribute."""
    assert formats.accent(color).light == formats.DEFAULT_COLOR


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (("en-GB",), "en_GB"),
        (("sv-SE", "en-US"), "en_US"),  # the business's language is spoken, the customer's not yet
        (("sv",), "en_SE"),  # English words, Sweden's way to write amounts
        (("pt-BR", "en-US"), "pt_BR"),
        (("ja-JP",), "en"),  # CLDR has no English for Japan
        ((None, ""), "en"),
        (("xx-nonsense",), "en"),
        (("../../etc",), "en"),
    ],
)
def test_the_language_is_the_first_wish_that_is_spoken(
    wishes: tuple[str | None, ...], expected: str
) -> None:
    """Customer's, then business's, then English."""
    assert str(texts.choose_locale(*wishes)) == expected


@pytest.mark.parametrize(
    ("method", "fact", "phrase"),
    [
        (
            PaymentMethod(type="card", brand="visa", last4="4242"),
            ("Card", "Visa ending in 4242"),
            "your Visa ending in 4242",
        ),
        (
            PaymentMethod(type="card", brand="American Express", last4="0005"),
            ("Card", "American Express ending in 0005"),
            "your American Express ending in 0005",
        ),
        (
            PaymentMethod(type="card", brand="new_brand", last4="1234"),
            ("Card", "ending in 1234"),
            "your card ending in 1234",
        ),
        (PaymentMethod(type="card", brand="visa"), None, "your card"),
        (
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789"),
            ("Bank account", "STRIPE TEST BANK ending in 6789"),
            "your bank account at STRIPE TEST BANK ending in 6789",
        ),
        (
            PaymentMethod(type="sepa_debit", last4="3000"),
            ("Bank account", "ending in 3000"),
            "your bank account ending in 3000",
        ),
        (PaymentMethod(type="bacs_debit"), None, "your bank account"),
        (PaymentMethod(type="paypal"), ("Payment method", "PayPal"), "your PayPal account"),
        (PaymentMethod(type="klarna"), None, "your payment method"),
        (None, None, "your payment method"),
    ],
)
def test_a_payment_method_is_named_as_its_owner_knows_it(
    method: PaymentMethod | None, fact: tuple[str, str] | None, phrase: str
) -> None:
    """Brand, bank or wallet and the last four, alone and within a sentence; Stripe's own words are never spelled out."""
    assert wording.method_fact(method, lambda text: text) == fact
    assert wording.method_phrase(method, lambda text: text) == phrase
