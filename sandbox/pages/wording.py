"""Money, dates and names as the portal page shows them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from babel import Locale

from shared.l10n.money import money as write_money

ENGLISH: Final = Locale.parse("en_US")

_BRANDS = {
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}
_DEBITS = {
    "acss_debit": "Bank account",
    "au_becs_debit": "BECS Direct Debit",
    "bacs_debit": "Bacs Direct Debit",
    "sepa_debit": "SEPA Direct Debit",
    "us_bank_account": "Bank account",
}
_INTERVALS = {"day": "day", "week": "week", "month": "month", "year": "year"}


def money(amount: int, currency: str) -> str:
    """An amount in minor units with its currency, as ``$129.00``."""
    return write_money(amount, currency, ENGLISH)


def day(moment: int | None) -> str:
    """Epoch seconds as ``23 November 2026`` (UTC); empty for None."""
    return datetime.fromtimestamp(moment, UTC).strftime("%-d %B %Y") if moment else ""


def recurring(price: dict[str, Any], quantity: int) -> str:
    """A price as ``$129.00 per month`` or ``$129.00 every 2 weeks``; the quantity is multiplied in.

    Where the amount depends on more than that, it is not named.
    """
    rhythm = price.get("recurring") or {}
    if rhythm.get("usage_type") == "metered":
        return "by usage"
    if price.get("unit_amount") is None or price.get("transform_quantity"):
        return "by quantity"
    amount = money(price["unit_amount"] * quantity, price["currency"])
    name = _INTERVALS.get(rhythm.get("interval", ""), "")
    count = rhythm.get("interval_count") or 1
    if not name:
        return amount
    return f"{amount} per {name}" if count == 1 else f"{amount} every {count} {name}s"


def line(description: str | None) -> str:
    """An invoice line without the arithmetic that Stripe writes into it (``1 × … (at $149.00 / month)``)."""
    found = re.fullmatch(r"1 × (.+) \(at .+\)", description or "")
    return found[1] if found else description or ""


def method_name(method: dict[str, Any]) -> str:
    """A payment method as ``Visa •••• 4242``."""
    kind = method["type"]
    details = method.get(kind) or {}
    if kind == "card":
        brand = str(details.get("brand", "card"))
        name = _BRANDS.get(brand, brand.replace("_", " ").title())
    else:
        name = _DEBITS.get(kind, kind.replace("_", " ").capitalize())
    last4 = details.get("last4")
    return f"{name} •••• {last4}" if last4 else name
