"""Names and payment methods."""

from __future__ import annotations

import pytest
from hypothesis import given

from services.notifier.emails import formats, wording
from shared.contracts.payments import PaymentMethod
from tests.unit.any_text import any_text


@given(any_text(max_size=300))
def test_no_name_breaks_a_header(name: str) -> None:
    """Whatever it is, the result is one short line that encodes, without header syntax in the From."""
    plain = formats.plain_name(name)
    assert len(plain) <= 80
    assert not any(ord(char) < 32 or char in "\x7f\u2028\u2029\u202e" for char in plain)
    plain.encode()
    assert not set(formats.display_name(name)) & set('"<>\\,;\r\n')


@pytest.mark.parametrize(
    ("method", "fact", "phrase"),
    [
        (
            PaymentMethod(type="card", brand="visa", last4="4242"),
            ("Card", "Visa ••••\u00a04242"),
            "your Visa ending in 4242",
        ),
        (
            PaymentMethod(type="card", brand="American Express", last4="0005"),
            ("Card", "American Express ••••\u00a00005"),
            "your American Express ending in 0005",
        ),
        (
            PaymentMethod(type="card", brand="new_brand", last4="1234"),
            ("Card", "••••\u00a01234"),
            "your card ending in 1234",
        ),
        (PaymentMethod(type="card", brand="visa"), None, "your card"),
        (
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789"),
            ("Bank account", "STRIPE TEST BANK ••••\u00a06789"),
            "your bank account at STRIPE TEST BANK ending in 6789",
        ),
        (
            PaymentMethod(type="sepa_debit", last4="3000"),
            ("Bank account", "••••\u00a03000"),
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
