"""Amounts in Stripe's minor units, the same in pages, mails, on the command line and in the sandbox."""

from __future__ import annotations

import pytest
from babel import Locale

from portico import figures
from sandbox.pages import wording
from services.portal.texts import texts_in
from shared.l10n.money import money


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "expected"),
    [
        (14900, "usd", "en_US", "$149.00"),
        (14900, "usd", "de", "149,00\xa0$"),
        (14900, "eur", "fr", "149,00\xa0€"),
        (14900, "jpy", "en", "¥14,900"),  # yen have no cents
        (14900, "krw", "en", "₩14,900"),
        (5120, "kwd", "en", "KWD\xa05.120"),  # three decimals
        (500, "isk", "en", "ISK\xa05"),  # Stripe writes two decimals, people none
        (500, "ugx", "en", "UGX\xa05"),
        (1234, "rsd", "en", "RSD\xa012.34"),  # CLDR would hide the para
        (0, "usd", "en", "$0.00"),
        (5_000_000_000, "idr", "en", "IDR\xa050,000,000.00"),
    ],
)
def test_amounts_in_minor_units_are_written_as_people_do(
    minor: int, currency: str, locale: str, expected: str
) -> None:
    """Zero, two and three decimals by Stripe's own table, written by the locale's rules."""
    assert money(minor, currency, Locale.parse(locale)) == expected


def test_formatting_leaves_babels_shared_patterns_alone() -> None:
    """Babel shares its patterns; yen after dollars must not change the next dollars."""
    english = Locale.parse("en_US")
    money(14900, "jpy", english)
    assert money(14900, "usd", english) == "$149.00"


@pytest.mark.parametrize(
    "currency", ["usd", "eur", "jpy", "isk", "ugx", "mga", "lyd", "kwd", "huf", "rsd", "clp"]
)
def test_the_same_amount_reads_the_same_everywhere(currency: str) -> None:
    """One table of minor units: an amount that differs tenfold between two rooms is a wrong one."""
    expected = money(14900, currency, Locale.parse("en_US"))
    assert figures.money(14900, currency) == expected
    assert wording.money(14900, currency) == expected
    assert texts_in(Locale.parse("en_US")).money(14900, currency) == expected
