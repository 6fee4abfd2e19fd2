"""With what was paid: kinds, what may be shown, and how it crosses the wire."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.contracts.payments import (
    MethodKind,
    PaymentMethod,
    method_kind,
    told_method,
)
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.billing import ChargedMethod
from shared.l10n import brands

VISA = PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026)
WALLETS = ("alipay", "amazon_pay", "cashapp", "kakao_pay", "link", "mobilepay", "naver_pay")


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("card", MethodKind.CARD),
        *((debit, MethodKind.BANK) for debit in ("us_bank_account", "ach_debit", "sepa_debit")),
        *((debit, MethodKind.BANK) for debit in ("acss_debit", "au_becs_debit", "bacs_debit")),
        *((wallet, MethodKind.WALLET) for wallet in (*WALLETS, "paypal", "revolut_pay")),
        ("klarna", MethodKind.OTHER),
        ("brand_new", MethodKind.OTHER),
        (None, MethodKind.OTHER),
    ],
)
def test_each_type_has_its_kind(type_: str | None, kind: MethodKind) -> None:
    """What nobody knows yet is `other`, and each wallet has a name to be called by."""
    assert method_kind(type_) is kind
    assert (brands.wallet(type_) is not None) == (kind is MethodKind.WALLET)


def test_only_a_card_expires() -> None:
    """After its last month, and never before; a date that stands elsewhere means nothing."""
    assert not VISA.expired(dt.date(2026, 10, 31))
    assert VISA.expired(dt.date(2026, 11, 1))
    account = PaymentMethod(type="us_bank_account", exp_month=10, exp_year=2020)
    assert not account.expired(dt.date(2026, 11, 1))


def test_what_is_told_names_its_kind() -> None:
    """So that callers need no list of Stripe's types."""
    told = plain(ChargedMethod.of(PaymentMethod(type="sepa_debit", last4="3000")))
    assert (told["kind"], told["type"], told["last4"]) == ("bank", "sepa_debit", "3000")


@pytest.mark.parametrize("last4", ["<b>4", "12", "12345", "", "４２４２"])
def test_what_is_no_end_of_a_number_is_not_shown(last4: str) -> None:
    """Four letters or digits, or nothing."""
    found = told_method(PaymentMethod(type="card", last4=last4))
    assert found is not None
    assert found.last4 is None


def test_a_banks_name_is_one_line_and_not_endless() -> None:
    """It comes from a register of banks, and goes into sentences."""
    found = told_method(PaymentMethod(type="us_bank_account", bank=" A\nBANK " + "x" * 99))
    assert found is not None
    assert found.bank is not None
    assert found.bank.startswith("A BANK xx")
    assert len(found.bank) == 60


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("visa", "Visa"),
        ("Visa", "Visa"),
        ("MasterCard", "Mastercard"),
        ("American Express", "American Express"),
        ("amex", "American Express"),
        ("unknown", None),
        (None, None),
    ],
)
def test_a_brand_is_spelled_as_it_spells_itself(brand: str | None, name: str | None) -> None:
    """In the words of payment methods and of sources; an unknown one not at all."""
    assert brands.card_brand(brand) == name
