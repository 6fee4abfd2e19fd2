"""A card as a person types it: checked field by field before Stripe is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.stripe_api.test_methods import luhn

TEST_CARDS = (
    ("4242 4242 4242 4242", "Visa", "Works, now and for every later charge."),
    ("5555 5555 5555 4444", "Mastercard", "Works."),
    ("4000 0000 0000 0341", "Visa", "Can be saved, then every charge is declined."),
    ("4000 0027 6000 3184", "Visa", "Can be saved, then every charge asks for authentication."),
    ("4000 0000 0000 0002", "Visa", "Declined while you save it."),
    ("4000 0000 0000 9995", "Visa", "Declined while you save it: insufficient funds."),
    ("4000 0000 0000 0069", "Visa", "Declined while you save it: expired."),
    ("4000 0000 0000 0127", "Visa", "Declined while you save it: wrong CVC."),
)
"""What Stripe's test numbers do. Source: https://docs.stripe.com/testing."""

FIELD_OF_CODE = {
    "incorrect_number": "number",
    "invalid_number": "number",
    "expired_card": "expiry",
    "invalid_expiry_month": "expiry",
    "invalid_expiry_year": "expiry",
    "incorrect_cvc": "cvc",
    "invalid_cvc": "cvc",
}
"""The field that a card error's ``code`` speaks of; any other error speaks of the card as a whole."""


@dataclass(frozen=True)
class TypedCard:
    """What stood in the form, and by field what is wrong with it."""

    number: str = ""
    expiry: str = ""
    cvc: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, form: Mapping[str, str], now: int) -> TypedCard:
        """The card in a form that was sent, ``checked``."""
        return cls(form.get("number", ""), form.get("expiry", ""), form.get("cvc", "")).checked(now)

    @property
    def digits(self) -> str:
        """The number without spaces and hyphens."""
        return re.sub(r"[\s-]", "", self.number)

    @property
    def month_and_year(self) -> tuple[int, int] | None:
        """Expiry as (month, four-digit year), or None when it can't be read."""
        match = re.fullmatch(r"\s*(\d{1,2})\s*[/\-. ]?\s*(\d{4}|\d{2})\s*", self.expiry)
        if match is None or not 1 <= int(match[1]) <= 12:
            return None
        year = int(match[2])
        return int(match[1]), year if year > 99 else 2000 + year

    def checked(self, now: int) -> TypedCard:
        """The same card with its errors; ``now`` is the sandbox's time in epoch seconds."""
        errors: dict[str, str] = {}
        if not self.digits:
            errors["number"] = "Enter your card number."
        elif not self.digits.isdigit() or not luhn(self.digits):
            errors["number"] = "Your card number is invalid."
        elif len(self.digits) < 12:
            errors["number"] = "Your card number is incomplete."
        today = datetime.fromtimestamp(now, UTC)
        expiry = self.month_and_year
        if expiry is None:
            errors["expiry"] = "Enter the expiration date as MM / YY."
        elif (expiry[1], expiry[0]) < (today.year, today.month):
            errors["expiry"] = "Your card's expiration date is in the past."
        if not re.fullmatch(r"\s*\d{3,4}\s*", self.cvc):
            errors["cvc"] = "Enter the 3 or 4 digits of your security code."
        return TypedCard(self.number, self.expiry, self.cvc, errors)

    def params(self) -> dict[str, str | int]:
        """The ``card`` parameter of ``POST /v1/payment_methods``; only for a card without errors."""
        month, year = self.month_and_year or (0, 0)
        return {
            "number": self.digits,
            "exp_month": month,
            "exp_year": year,
            "cvc": self.cvc.strip(),
        }

    def refused(self, code: str | None, message: str) -> TypedCard:
        """The same card with the error Stripe answered; the CVC has to be typed anew."""
        where = FIELD_OF_CODE.get(code or "", "card")
        return TypedCard(self.number, self.expiry, "", {where: message})


def example(digits: str, now: int) -> TypedCard:
    """A test card filled in, for the hints beside the form; empty when the number is no known hint."""
    for number, _, _ in TEST_CARDS:
        if number.replace(" ", "") == digits:
            year = datetime.fromtimestamp(now, UTC).year + 4
            return TypedCard(number, f"12 / {year % 100:02d}", "123")
    return TypedCard()
