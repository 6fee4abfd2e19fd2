"""Money, dates and names as the portal page shows them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from shared.l10n import brands, dates
from shared.l10n.locales import ENGLISH
from shared.l10n.money import money as write_money

_DEBITS = {
    "acss_debit": "Bank account",
    "au_becs_debit": "BECS Direct Debit",
    "bacs_debit": "Bacs Direct Debit",
    "sepa_debit": "SEPA Direct Debit",
    "us_bank_account": "Bank account",
}
_INTERVALS = ("day", "week", "month", "year")


def money(amount: int, currency: str) -> str:
    """An amount in minor units with its currency, as ``$129.00``."""
    return write_money(amount, currency, ENGLISH)


def day(moment: int | None) -> str:
    """Epoch seconds as ``November 23, 2026`` (UTC); empty for None."""
    return dates.date(_utc(moment).date(), ENGLISH, year=True) if moment else ""


def day_and_time(moment: int) -> str:
    """Epoch seconds as ``November 23, 2026, 6:00 PM UTC``."""
    return f"{day(moment)}, {dates.clock(_utc(moment).time(), ENGLISH)} UTC"


def _utc(moment: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


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
    name = rhythm.get("interval", "")
    count = rhythm.get("interval_count") or 1
    if name not in _INTERVALS:
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
        return card_name(details)
    name = _DEBITS.get(kind) or brands.wallet(kind) or kind.replace("_", " ").capitalize()
    return brands.masked(name, details["last4"]) if details.get("last4") else name


def card_name(card: dict[str, Any]) -> str:
    """A card as ``Visa •••• 4242``."""
    name = brands.card_brand(card.get("brand")) or "Card"
    return brands.masked(name, card["last4"]) if card.get("last4") else name
