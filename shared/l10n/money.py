"""Amounts in Stripe's minor units, as people write them."""

from __future__ import annotations

import re
from copy import copy
from decimal import Decimal
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.numbers import get_currency_precision

_DECIMALS: Final = {
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
}
"""The decimals of Stripe's minor units that are not two (https://docs.stripe.com/currencies#minor-units). They are neither
ISO's nor CLDR's: Stripe writes ISK and UGX with two that are always 00, and MGA with none."""
REMEMBERED: Final = 4096
"""How many amounts are kept: they come again and again."""
_LETTER_BESIDE_DIGIT: Final = re.compile(r"(?<=[A-Za-z])(?=[\d-])")


def minor_digits(currency: str) -> int:
    """How many decimals Stripe's minor unit of a currency has."""
    return _DECIMALS.get(currency.upper(), 2)


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
