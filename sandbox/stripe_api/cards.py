"""Test payment methods and how they behave. See https://docs.stripe.com/testing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sandbox.stripe_api.errors import StripeError


@dataclass(frozen=True)
class Decline:
    """Why a charge is refused: Stripe's error code, the bank's decline code, its advice and the message."""

    code: str
    decline_code: str
    advice_code: str
    message: str

    def error(self, **extra: Any) -> StripeError:
        """The 402 of it."""
        return StripeError(
            self.message,
            status=402,
            type="card_error",
            code=self.code,
            decline_code=self.decline_code,
            advice_code=self.advice_code,
            **extra,
        )


def _declined(decline_code: str, advice: str = "do_not_try_again") -> Decline:
    return Decline("card_declined", decline_code, advice, "Your card was declined.")


_DECLINES = (
    _declined("generic_decline", "try_again_later"),
    _declined("do_not_honor", "try_again_later"),
    _declined("lost_card"),
    _declined("stolen_card"),
    _declined("pickup_card"),
    _declined("fraudulent"),
    _declined("transaction_not_allowed"),
    _declined("revocation_of_authorization"),
    _declined("revocation_of_all_authorizations"),
    _declined("highest_risk_level"),
    _declined("card_velocity_exceeded", "try_again_later"),
    Decline(
        "card_declined",
        "insufficient_funds",
        "try_again_later",
        "Your card has insufficient funds.",
    ),
    Decline("expired_card", "expired_card", "confirm_card_data", "Your card has expired."),
    Decline(
        "incorrect_cvc",
        "incorrect_cvc",
        "confirm_card_data",
        "Your card's security code is incorrect.",
    ),
    Decline(
        "incorrect_number",
        "incorrect_number",
        "confirm_card_data",
        "Your card number is incorrect.",
    ),
    Decline(
        "processing_error",
        "processing_error",
        "try_again_later",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    Decline(
        "authentication_required",
        "authentication_required",
        "confirm_card_data",
        "Your card was declined. This transaction requires authentication.",
    ),
)
DECLINES = {decline.decline_code: decline for decline in _DECLINES}
DEBIT_FAILED = Decline(
    "payment_intent_payment_attempt_failed",
    "insufficient_funds",
    "try_again_later",
    "The customer's bank account has insufficient funds.",
)
HARD_DECLINES = frozenset(
    {
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "authentication_required",
        "highest_risk_level",
        "transaction_not_allowed",
    }
)
"""After these Stripe charges nothing until there is a new payment method, though the schedule goes on.
https://docs.stripe.com/billing/revenue-recovery/smart-retries"""


def decline_for(code: str | None, decline_code: str | None) -> Decline:
    """The decline of a console's or test's choice; unknown codes become a plain `card_declined`."""
    if decline_code in DECLINES:
        return DECLINES[decline_code]
    if code in DECLINES:
        return DECLINES[code]
    if decline_code is None and code in (None, "card_declined"):
        return DECLINES["insufficient_funds"]
    return _declined(decline_code or code or "generic_decline")


@dataclass(frozen=True)
class Spec:
    """One test card or bank account. `authenticate` is `never`, `always`, or `unless_set_up`."""

    brand: str
    number: str
    type: str = "card"
    on_attach: str | None = None
    on_charge: str | None = None
    authenticate: str = "never"
    settles: bool = True

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]


SPECS: dict[str, Spec] = {
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
    "createDispute": Spec("visa", "4000000000000259"),
    "createDisputeInquiry": Spec("visa", "4000000000001976"),
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
    "usBankAccount": Spec("STRIPE TEST BANK", "000123456789", "us_bank_account"),
    "usBankAccount_success": Spec("STRIPE TEST BANK", "000123456789", "us_bank_account"),
    "usBankAccount_insufficientFunds": Spec(
        "STRIPE TEST BANK", "000222222227", "us_bank_account", settles=False
    ),
    "sepaDebit": Spec("19043", "AT611904300234573201", "sepa_debit"),
    "sepaDebit_fail": Spec("19043", "AT861904300235473202", "sepa_debit", settles=False),
}
_ALIASES = {f"visa_{name}": name for name in SPECS if name.startswith("chargeDeclined")}
_BY_NUMBER = {spec.number: name for name, spec in reversed(SPECS.items())}
DEBITS = frozenset({"us_bank_account", "sepa_debit"})


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
    name = _BY_NUMBER.get(digits)
    if name is not None and SPECS[name].type == type:
        return name
    if type in DEBITS and digits.isalnum():
        return {"us_bank_account": "usBankAccount", "sepa_debit": "sepaDebit"}[type]
    if not digits.isdigit() or not 12 <= len(digits) <= 19 or not _luhn(digits):
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


def _luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
