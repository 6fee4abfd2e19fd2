"""Test payment methods and how they behave, by the names and numbers that Stripe gives them.

https://docs.stripe.com/testing for cards; the pages of each bank debit have a table "Test account numbers".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sandbox.stripe_api.errors import StripeError


@dataclass(frozen=True)
class Spec:
    """One test card or bank account.

    `brand` is the card's brand or the bank; `authenticate` is `never`, `always`, or `unless_set_up`. A bank debit
    comes in after some days, or comes back for the reason `comes_back`; a `stuck` one stays under way indefinitely.
    """

    brand: str
    number: str
    type: str = "card"
    on_attach: str | None = None
    on_charge: str | None = None
    authenticate: str = "never"
    comes_back: str | None = None
    stuck: bool = False
    disputed: bool = False
    """The customer disputes the charge as soon as it has succeeded."""

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]

    @property
    def is_debit(self) -> bool:
        """Whether a bank account is debited: the outcome takes days."""
        return self.type != "card"


CARDS: dict[str, Spec] = {
    "visa": Spec("visa", "4242424242424242"),
    "visa_debit": Spec("visa", "4000056655665556"),
    "mastercard": Spec("mastercard", "5555555555554444"),
    "mastercard_debit": Spec("mastercard", "5200828282828210"),
    "mastercard_prepaid": Spec("mastercard", "5105105105105100"),
    "amex": Spec("amex", "378282246310005"),
    "discover": Spec("discover", "6011111111111117"),
    "diners": Spec("diners", "3056930009020004"),
    "jcb": Spec("jcb", "3566002020360505"),
    "unionpay": Spec("unionpay", "6200000000000005"),
    "bypassPending": Spec("visa", "4000000000000077"),
    "createDispute": Spec("visa", "4000000000000259", disputed=True),
    "createDisputeInquiry": Spec("visa", "4000000000001976", disputed=True),
    "riskLevelElevated": Spec("visa", "4000000000009235"),
    "riskLevelHighest": Spec("visa", "4000000000004954", on_charge="highest_risk_level"),
    "chargeCustomerFail": Spec("visa", "4000000000000341", on_charge="generic_decline"),
    "chargeDeclined": Spec("visa", "4000000000000002", on_attach="generic_decline"),
    "visa_chargeDeclined": Spec("visa", "4000000000000002", on_attach="generic_decline"),
    "chargeDeclinedInsufficientFunds": Spec(
        "visa", "4000000000009995", on_attach="insufficient_funds"
    ),
    "chargeDeclinedLostCard": Spec("visa", "4000000000009987", on_attach="lost_card"),
    "chargeDeclinedStolenCard": Spec("visa", "4000000000009979", on_attach="stolen_card"),
    "chargeDeclinedExpiredCard": Spec("visa", "4000000000000069", on_attach="expired_card"),
    "chargeDeclinedIncorrectCvc": Spec("visa", "4000000000000127", on_attach="incorrect_cvc"),
    "chargeDeclinedProcessingError": Spec("visa", "4000000000000119", on_attach="processing_error"),
    "chargeDeclinedFraudulent": Spec("visa", "4100000000000019", on_attach="fraudulent"),
    "radarBlock": Spec("visa", "4100000000000019", on_attach="fraudulent"),
    "chargeDeclinedVelocityLimitExceeded": Spec(
        "visa", "4000000000006975", on_attach="card_velocity_exceeded"
    ),
    "authenticationRequired": Spec("visa", "4000002760003184", authenticate="always"),
    "authenticationRequiredOnSetup": Spec("visa", "4000002500003155", authenticate="unless_set_up"),
    "threeDSecure2Required": Spec("visa", "4000000000003220", authenticate="always"),
    "threeDSecureRequired": Spec("visa", "4000000000003063", authenticate="always"),
    "threeDSecureOptional": Spec("visa", "4000000000003055"),
}

_US = "STRIPE TEST BANK"


def _accounts(
    bank: str, type: str, prefix: str, numbers: dict[str, str], suffix: str = ""
) -> dict[str, Spec]:
    """The test accounts of one debit scheme: `numbers` by what they do, as Stripe's tokens are named."""
    return {
        f"{prefix}_{name}{suffix}": Spec(
            bank,
            number,
            type,
            comes_back=_COMES_BACK.get(name),
            stuck=name == "processing",
            disputed=name in ("dispute", "disputed"),
        )
        for name, number in numbers.items()
    }


_COMES_BACK = {
    "accountClosed": "account_closed",
    "debitNotAuthorized": "debit_not_authorized",
    "exceedsTransactionLimit": "charge_exceeds_transaction_limit",
    "exceedsWeeklyLimit": "charge_exceeds_source_limit",
    "exceedsWeeklyTransactionLimit": "charge_exceeds_transaction_limit",
    "exceedsWeeklyVolumeLimit": "charge_exceeds_source_limit",
    "failed": "generic_could_not_process",
    "failedDelayed": "generic_could_not_process",
    "insufficientFunds": "insufficient_funds",
    "invalidCurrency": "invalid_currency",
    "noAccount": "no_account",
    "referToCustomer": "refer_to_customer",
    "weeklyLimitExceeded": "charge_exceeds_source_limit",
}
BANK_ACCOUNTS: dict[str, Spec] = {
    "usBankAccount": Spec(_US, "000123456789", "us_bank_account"),
    **_accounts(
        _US,
        "us_bank_account",
        "usBankAccount",
        {
            "success": "000123456789",
            "accountClosed": "000111111113",
            "noAccount": "000111111116",
            "insufficientFunds": "000222222227",
            "debitNotAuthorized": "000333333335",
            "invalidCurrency": "000444444440",
            "dispute": "000555555559",
            "processing": "000000000009",
            "weeklyLimitExceeded": "000777777771",
        },
    ),
    **_accounts(
        "19043",
        "sepa_debit",
        "sepaDebit",
        {
            "success": "AT611904300234573201",
            "successDelayed": "AT321904300235473204",
            "failed": "AT861904300235473202",
            "failedDelayed": "AT051904300235473205",
            "disputed": "AT591904300235473203",
            "exceedsWeeklyVolumeLimit": "AT981904300000343434",
            "exceedsWeeklyTransactionLimit": "AT601904300000121212",
            "insufficientFunds": "AT981904300002222227",
        },
        "_at",
    ),
    **_accounts(
        "37040044",
        "sepa_debit",
        "sepaDebit",
        {
            "success": "DE89370400440532013000",
            "failed": "DE62370400440532013001",
            "disputed": "DE35370400440532013002",
        },
        "_de",
    ),
    **_accounts(
        _US,
        "acss_debit",
        "acssDebit",
        {
            "success": "000123456789",
            "accountClosed": "000111111113",
            "noAccount": "000111111116",
            "insufficientFunds": "000222222227",
            "debitNotAuthorized": "000333333335",
            "dispute": "000555555559",
        },
    ),
    **_accounts(
        "108800",
        "bacs_debit",
        "bacsDebit",
        {
            "success": "00012345",
            "debitNotAuthorized": "33333335",
            "insufficientFunds": "22222227",
            "dispute": "55555559",
            "exceedsWeeklyLimit": "34343434",
            "exceedsTransactionLimit": "12121212",
        },
    ),
    **_accounts(
        "000000",
        "au_becs_debit",
        "auBecsDebit",
        {
            "success": "000123456",
            "accountClosed": "111111113",
            "noAccount": "111111116",
            "referToCustomer": "222222227",
        },
    ),
}
SPECS: dict[str, Spec] = {**CARDS, **BANK_ACCOUNTS}
_ALIASES = {f"visa_{name}": name for name in CARDS if name.startswith("chargeDeclined")}
_BY_NUMBER = {(spec.type, spec.number): name for name, spec in reversed(SPECS.items())}
_ORDINARY = {
    "us_bank_account": "usBankAccount_success",
    "sepa_debit": "sepaDebit_success_de",
    "acss_debit": "acssDebit_success",
    "bacs_debit": "bacsDebit_success",
    "au_becs_debit": "auBecsDebit_success",
}
"""What an account number that is not in Stripe's tables behaves like."""
NUMBER_FIELD = {"card": "number", "sepa_debit": "iban"}
"""Where `POST /v1/payment_methods` has the number, by type; `account_number` in all others."""
TYPES = ("card", *_ORDINARY)


def known(magic: str) -> str | None:
    """The name of the test payment method that `pm_card_visa`, `tok_visa`, `pm_usBankAccount` … stands for."""
    for prefix in ("pm_card_", "pm_", "tok_", "btok_"):
        if magic.startswith(prefix):
            name = magic.removeprefix(prefix)
            if name in SPECS:
                return name
            if name in _ALIASES:
                return _ALIASES[name]
    return None


def by_number(number: str, type: str = "card") -> str:
    """The name of the test payment method with a number (digits, spaces allowed; or an IBAN or account).

    A card that is no test card is refused as Stripe's test mode refuses it (402).
    """
    digits = number.replace(" ", "").replace("-", "")
    name = _BY_NUMBER.get((type, digits))
    if name is not None:
        return name
    if type != "card" and digits.isalnum():
        return _ORDINARY[type]
    if not digits.isdigit() or not 12 <= len(digits) <= 19 or not luhn(digits):
        raise StripeError(
            "Your card number is incorrect.",
            status=402,
            type="card_error",
            code="incorrect_number",
            param="number",
        )
    raise StripeError(
        "Your card was declined. Your request was in test mode, but used a non test card. For a list of valid "
        "test cards, visit: https://stripe.com/docs/testing.",
        status=402,
        type="card_error",
        code="card_declined",
        decline_code="test_mode_live_card",
    )


def luhn(digits: str) -> bool:
    """Whether a card number's check digit is right."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
