"""Amounts in Stripe's minor units, the same in pages, mails, on the command line and in the sandbox."""

from __future__ import annotations

import html
import re

import msgspec
import pytest
from babel import Locale

from portico import figures
from sandbox.pages import wording
from services.notifier.domain.kinds import Kind
from services.notifier.emails.letters import Line
from services.notifier.emails.samples import sample_letter
from services.portal.domain.notice import Notice, State, Tone
from services.portal.web import views
from shared.l10n.locales import ENGLISH
from shared.l10n.money import minor_digits, money
from tests.fixtures.languages import LANGUAGES
from tests.unit.notifier.conftest import RENDERER
from tests.unit.portal.builders import NOW, TOKEN, snapshot
from tests.unit.portal.test_views import owed

NO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()  # noqa: SIM905
THREE_DECIMALS = "BHD JOD KWD OMR TND".split()  # noqa: SIM905
TWO_DECIMALS = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC CVE CZK DKK
    DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR ISK JMD KES KGS KHR KYD KZT LAK LBP
    LKR LRD LSL MAD MDL MKD MMK MNT MOP MRO MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
    RUB SAR SBD SCR SEK SGD SHP SLE SLL SOS SRD STD SVC SZL THB TJS TOP TRY TTD TWD TZS UAH UGX USD UYU UZS WST XCD XCG YER ZAR ZMW
""".split()  # noqa: SIM905
"""What Stripe charges in, by its own page (https://docs.stripe.com/currencies); ISK and UGX with two that are always 00."""
CURRENCIES = [each.lower() for each in sorted(NO_DECIMALS + THREE_DECIMALS + TWO_DECIMALS)]


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "expected"),
    [
        (14900, "usd", "en_US", "$149.00"),
        (14900, "usd", "de", "149,00\xa0$"),
        (14900, "eur", "fr", "149,00\xa0€"),
        (14900, "jpy", "en", "¥14,900"),  # yen have no cents
        (14900, "krw", "en", "₩14,900"),
        (14900, "mga", "en", "MGA\xa014,900"),  # a fifth of an ariary is nobody's amount
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
    ("digits", "currencies"), [(0, NO_DECIMALS), (2, TWO_DECIMALS), (3, THREE_DECIMALS)]
)
def test_a_minor_unit_is_stripes(digits: int, currencies: list[str]) -> None:
    """Five of each currency read as five: an amount that differs tenfold is a wrong one."""
    for currency in currencies:
        assert minor_digits(currency) == digits
        shown = money(5 * 10**digits, currency, ENGLISH)
        assert re.sub(r"^\D+", "", shown) in ("5", "5.00", "5.000"), currency


def shown_on_page(amounts: list[tuple[int, str]], locale: Locale) -> set[str]:
    """What a page that tells of all of them at once has between its tags."""
    lines = tuple(
        owed(State.SETTLING, amount=minor, currency=currency) for minor, currency in amounts
    )
    view = views.MeView(snapshot(), Notice(Tone.SETTLING, lines), TOKEN, locale, NOW)
    return between_tags(views.me(view, session_origins=()).html)


def shown_in_mail(amounts: list[tuple[int, str]], locale: Locale) -> set[str]:
    """The same of an email."""
    lines = tuple(Line(minor, currency, number=None) for minor, currency in amounts)
    letter = sample_letter(Kind.PAYMENTS_FAILED, str(locale))
    return between_tags(RENDERER.render(msgspec.structs.replace(letter, lines=lines)).html)


def between_tags(document: str) -> set[str]:
    return {html.unescape(text).strip() for text in re.split(r"<[^>]*>", document)}


@pytest.mark.whole
@pytest.mark.parametrize("locale", [*LANGUAGES, str(ENGLISH)])
@pytest.mark.parametrize("minor", [0, 5, 14900, 1234567])
def test_the_same_amount_reads_the_same_everywhere(locale: str, minor: int) -> None:
    """Every currency of Stripe's in every language, and in the English of the command line and the sandbox."""
    read_in = Locale.parse(locale)
    amounts = [(minor, currency) for currency in CURRENCIES]
    expected = {money(minor, currency, read_in) for currency in CURRENCIES}
    assert expected <= shown_on_page(amounts, read_in)
    assert expected <= shown_in_mail(amounts, read_in)
    if read_in == ENGLISH:
        assert {figures.money(*amount) for amount in amounts} == expected
        assert {wording.money(*amount) for amount in amounts} == expected
