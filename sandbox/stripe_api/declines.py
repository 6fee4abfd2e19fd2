"""Why a charge does not come in: what card networks and banks answer, in Stripe's words.

https://docs.stripe.com/declines/codes for cards, https://docs.stripe.com/error-codes and the page of each bank debit
(https://docs.stripe.com/payments/ach-direct-debit, …/sepa-debit, …) for bank accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.store import Object


@dataclass(frozen=True)
class Decline:
    """Why a charge failed: Stripe's error code, the issuer's decline code, its advice and the message.

    Bank debits have a code alone: no issuer declined them, and the error is no `card_error`.
    """

    code: str
    message: str
    decline_code: str | None = None
    advice_code: str | None = None
    blocked: bool = False
    """Stripe's own rules stopped it; the bank was never asked."""

    @property
    def reason(self) -> str:
        """The narrower of the two codes."""
        return self.decline_code or self.code

    def error(self, **extra: Any) -> StripeError:
        """The 402 of it."""
        if self.advice_code is not None:
            extra["advice_code"] = self.advice_code
        return StripeError(
            self.message,
            status=402,
            type="card_error" if self.decline_code else "invalid_request_error",
            code=self.code,
            decline_code=self.decline_code,
            **extra,
        )

    def outcome(self) -> Object:
        """`outcome` of the charge."""
        return {
            "advice_code": self.advice_code,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "not_sent_to_network" if self.blocked else "declined_by_network",
            "reason": "highest_risk_level" if self.blocked else self.reason,
            "risk_level": "highest" if self.blocked else "normal",
            "seller_message": (
                "Stripe blocked this payment as too risky."
                if self.blocked
                else "The bank did not return any further details with this decline."
            ),
            "type": "blocked" if self.blocked else "issuer_declined",
        }


def _declined(
    decline_code: str, advice: str = "do_not_try_again", *, blocked: bool = False
) -> Decline:
    return Decline("card_declined", "Your card was declined.", decline_code, advice, blocked)


def _named(code: str, message: str, advice: str = "confirm_card_data") -> Decline:
    """One whose error has a code of its own."""
    return Decline(code, message, code, advice)


_CARDS = (
    _declined("generic_decline", "try_again_later"),
    _declined("do_not_honor", "try_again_later"),
    _declined("lost_card"),
    _declined("stolen_card"),
    _declined("pickup_card"),
    _declined("fraudulent", blocked=True),
    _declined("transaction_not_allowed"),
    _declined("revocation_of_authorization"),
    _declined("revocation_of_all_authorizations"),
    _declined("highest_risk_level", blocked=True),
    _declined("card_velocity_exceeded", "try_again_later"),
    Decline(
        "card_declined",
        "Your card has insufficient funds.",
        "insufficient_funds",
        "try_again_later",
    ),
    _named("expired_card", "Your card has expired."),
    _named("incorrect_cvc", "Your card's security code is incorrect."),
    _named("incorrect_number", "Your card number is incorrect."),
    _named(
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
        "try_again_later",
    ),
    _named(
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
)
CARD_DECLINES = {decline.reason: decline for decline in _CARDS}

_DEBITS = (
    Decline("account_closed", "The customer's bank account has been closed."),
    Decline(
        "bank_account_restricted",
        "The customer's account cannot be used with the payment method.",
    ),
    Decline(
        "charge_exceeds_source_limit",
        "This charge would cause you to exceed your rolling-window processing limit for this source type.",
    ),
    Decline(
        "charge_exceeds_transaction_limit",
        "This charge exceeds the transaction limit for this payment method.",
    ),
    Decline(
        "debit_not_authorized",
        "The customer has notified their bank that this payment was unauthorized.",
    ),
    Decline("generic_could_not_process", "This payment could not be processed."),
    Decline(
        "insufficient_funds", "The customer's account has insufficient funds to cover this payment."
    ),
    Decline("invalid_currency", "The customer's bank account can't be debited in this currency."),
    Decline("no_account", "The customer's bank account could not be located."),
    Decline("refer_to_customer", "The customer's bank asks you to refer to the customer."),
)
DEBIT_FAILURES = {failure.code: failure for failure in _DEBITS}
RETRIABLE_DEBITS = frozenset({"insufficient_funds", "generic_could_not_process"})
"""Failures of a bank debit after which Stripe would debit again, where the account has opted in."""

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


def card_decline(code: str | None, decline_code: str | None) -> Decline:
    """The decline of a console's or test's choice; unknown codes become a plain `card_declined`."""
    if decline_code in CARD_DECLINES:
        return CARD_DECLINES[decline_code]
    if code in CARD_DECLINES:
        return CARD_DECLINES[code]
    if decline_code is None and code in (None, "card_declined"):
        return CARD_DECLINES["insufficient_funds"]
    return _declined(decline_code or code or "generic_decline")


def debit_failure(code: str | None) -> Decline:
    """How a bank sends a debit back; a code that only cards know means that nothing more is known."""
    return DEBIT_FAILURES.get(code or "", DEBIT_FAILURES["generic_could_not_process"])
