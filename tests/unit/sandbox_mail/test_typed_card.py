"""A card as it is typed into the portal's form."""

from datetime import UTC, datetime

import pytest

from sandbox.pages import wording
from sandbox.pages.typed_card import TEST_CARDS, TypedCard, example, luhn

NOW = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("expiry", ["12/30", "12 / 30", "1230", "12-2030", "12 2030", " 12/2030 "])
def test_reads_expiry_however_it_is_typed(expiry):
    """Month and year are read with or without separators, in two or four digits."""
    card = TypedCard("4242 4242 4242 4242", expiry, "123").checked(NOW)
    assert card.errors == {}
    assert card.params() == {
        "number": "4242424242424242",
        "exp_month": 12,
        "exp_year": 2030,
        "cvc": "123",
    }


def test_this_month_is_not_over():
    """A card is good until its last month ends."""
    assert TypedCard("4242424242424242", "11/26", "123").checked(NOW).errors == {}


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        (TypedCard("", "12/30", "123"), {"number"}),
        (TypedCard("4242 4242 4242 4241", "12/30", "123"), {"number"}),
        (TypedCard("abcd", "12/30", "123"), {"number"}),
        (TypedCard("42", "12/30", "123"), {"number"}),
        (TypedCard("4242424242424242", "10/26", "123"), {"expiry"}),
        (TypedCard("4242424242424242", "13/30", "123"), {"expiry"}),
        (TypedCard("4242424242424242", "", "123"), {"expiry"}),
        (TypedCard("4242424242424242", "12/30", "12"), {"cvc"}),
        (TypedCard(), {"number", "expiry", "cvc"}),
    ],
)
def test_each_field_is_checked_on_its_own(typed, wrong):
    """Every wrong field is named, and only those."""
    assert set(typed.checked(NOW).errors) == wrong


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("incorrect_number", "number"),
        ("expired_card", "expiry"),
        ("incorrect_cvc", "cvc"),
        ("card_declined", "card"),
        (None, "card"),
    ],
)
def test_a_refusal_stands_at_its_field(code, field):
    """What Stripe refuses is shown at the field it speaks of, and the CVC is not kept."""
    refused = TypedCard("4242424242424242", "12/30", "123").refused(code, "No.")
    assert refused.errors == {field: "No."}
    assert refused.cvc == ""


def test_every_hint_can_be_filled_in():
    """Each test card beside the form fills it with values that pass the form's own checks."""
    for number, _, _ in TEST_CARDS:
        assert luhn(number.replace(" ", ""))
        assert example(number.replace(" ", ""), NOW).checked(NOW).errors == {}
    assert example("1234", NOW) == TypedCard()


def test_money_knows_its_currency():
    """Amounts are in minor units, and currencies differ in how many they have."""
    assert wording.money(12900, "usd") == "$129.00"
    assert wording.money(500, "jpy") == "¥500"
    assert wording.money(-2000, "eur") == "-€20.00"


def test_prices_say_how_often():
    """A recurring price says its rhythm; a quantity is multiplied in."""
    price = {"unit_amount": 1000, "currency": "usd", "recurring": {"interval": "week"}}
    assert wording.recurring(price, 2) == "$20.00 per week"
    price["recurring"] = {"interval": "month", "interval_count": 3}
    assert wording.recurring(price, 1) == "$10.00 every 3 months"
    assert wording.recurring({"unit_amount": 5, "currency": "usd"}, 1) == "$0.05"


def test_payment_methods_have_names_people_know():
    """Cards are named by brand and last four digits, debits by their kind."""
    card = {"type": "card", "card": {"brand": "amex", "last4": "0005"}}
    assert wording.method_name(card) == "American Express ••••\u00a00005"
    debit = {"type": "sepa_debit", "sepa_debit": {"last4": "3201"}}
    assert wording.method_name(debit) == "SEPA Direct Debit ••••\u00a03201"
    assert wording.method_name({"type": "link"}) == "Link"
