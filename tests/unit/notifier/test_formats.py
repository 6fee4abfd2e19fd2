"""Amounts, dates, names, colours and languages."""

from __future__ import annotations

import datetime as dt

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from services.notifier import formats, texts, wording
from services.notifier.ports import Card


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
    ("card", "expected"),
    [
        (Card(brand="visa", last4="4242"), "Visa ending in 4242"),
        (Card(brand="amex", last4="0005"), "American Express ending in 0005"),
        (Card(brand="new_brand", last4="1234"), "the card ending in 1234"),
        (Card(brand="visa", last4="<b>"), None),
        (None, None),
    ],
)
def test_a_card_is_named_as_its_owner_knows_it(card: Card | None, expected: str | None) -> None:
    """Brand and last four; an unknown brand is not spelled out in Stripe's code."""
    assert wording.card_name(card, lambda text: text) == expected
