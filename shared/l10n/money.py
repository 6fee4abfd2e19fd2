"""Amounts in Stripe's minor units, as people write them."""

from __future__ import annotations

import re
from copy import copy
from decimal import Decimal
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.numbers import get_currency_precision

# Stripe's minor units are not ISO's or CLDR's (docs.stripe.com/currencies): it writes ISK and UGX with two
# decimals that are always 00, MGA with none, and nearly everything else with two.
_NO_DECIMALS: Final = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THREE_DECIMALS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
REMEMBERED: Final = 4096
"""How many amounts are kept: they come again and again."""
_LETTER_BESIDE_DIGIT: Final = re.compile(r"(?<=[A-Za-z])(?=[\d-])")


def minor_digits(currency: str) -> int:
    """How many decimals Stripe's minor unit of a currency has."""
    code = currency.upper()
    if code in _NO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else 2


@lru_cache(REMEMBERED)
def money(minor: int, currency: str, locale: Locale) -> str:
    """An amount in Stripe's minor units as people of that locale write it: 14900 usd → `$149.00`.

    As many decimals as the currency is written with, and never fewer than the amount really has: 12.34 dinars
    are not "12".
    """
    digits = minor_digits(currency)
    amount = Decimal(minor).scaleb(-digits)
    usual = get_currency_precision(currency.upper())
    shown = usual if amount == round(amount, usual) else digits
    pattern = copy(locale.currency_formats["standard"])  # a copy: Babel shares it
    pattern.frac_prec = (shown, shown)
    text = pattern.apply(
        amount,
        locale,
        currency=currency.upper(),
        currency_digits=False,
    )
    # CLDR's spacing rule, which Babel leaves out: a code of letters stands apart from the digits ("KWD 5.120").
    return _LETTER_BESIDE_DIGIT.sub("\u00a0", text)
