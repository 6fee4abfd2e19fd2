"""Why a charge failed, and with what."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from shared.contracts.payments import Decline, PaymentMethod

_DECLINES: Final[dict[str, Decline]] = {
    "expired_card": Decline.EXPIRED_CARD,
    "insufficient_funds": Decline.INSUFFICIENT_FUNDS,
    "lost_card": Decline.LOST_OR_STOLEN,
    "stolen_card": Decline.LOST_OR_STOLEN,
    "pickup_card": Decline.LOST_OR_STOLEN,
    "revocation_of_authorization": Decline.NOT_AUTHORIZED,
    "revocation_of_all_authorizations": Decline.NOT_AUTHORIZED,
    "authentication_required": Decline.AUTHENTICATION_REQUIRED,
    "authentication_not_handled": Decline.AUTHENTICATION_REQUIRED,
    "payment_intent_authentication_failure": Decline.AUTHENTICATION_REQUIRED,
    "invoice_payment_intent_requires_action": Decline.AUTHENTICATION_REQUIRED,
    "subscription_payment_intent_requires_action": Decline.AUTHENTICATION_REQUIRED,
    "incorrect_number": Decline.INCORRECT_DETAILS,
    "invalid_number": Decline.INCORRECT_DETAILS,
    "incorrect_cvc": Decline.INCORRECT_DETAILS,
    "invalid_cvc": Decline.INCORRECT_DETAILS,
    "incorrect_zip": Decline.INCORRECT_DETAILS,
    "incorrect_address": Decline.INCORRECT_DETAILS,
    "invalid_expiry_month": Decline.INCORRECT_DETAILS,
    "invalid_expiry_year": Decline.INCORRECT_DETAILS,
    "processing_error": Decline.PROCESSING_ERROR,
    "issuer_not_available": Decline.PROCESSING_ERROR,
    "try_again_later": Decline.PROCESSING_ERROR,
    "reenter_transaction": Decline.PROCESSING_ERROR,
    "payment_method_provider_timeout": Decline.PROCESSING_ERROR,
    "expired_payment_method": Decline.EXPIRED_CARD,
    "missing": Decline.NO_PAYMENT_METHOD,
    # Bank debits tell a code alone, no decline code.
    "account_closed": Decline.ACCOUNT_CLOSED,
    "account_frozen": Decline.ACCOUNT_CLOSED,
    "bank_account_restricted": Decline.ACCOUNT_CLOSED,
    "bank_account_unusable": Decline.ACCOUNT_CLOSED,
    "invalid_currency": Decline.ACCOUNT_CLOSED,
    "payment_method_bank_account_blocked": Decline.ACCOUNT_CLOSED,
    "sepa_unsupported_account": Decline.ACCOUNT_CLOSED,
    "billing_invalid_mandate": Decline.NOT_AUTHORIZED,
    "debit_not_authorized": Decline.NOT_AUTHORIZED,
    "india_recurring_payment_mandate_canceled": Decline.NOT_AUTHORIZED,
    "payment_intent_mandate_invalid": Decline.NOT_AUTHORIZED,
    "account_number_invalid": Decline.INCORRECT_DETAILS,
    "bank_ownership_changed": Decline.INCORRECT_DETAILS,
    "incorrect_account_holder_address": Decline.INCORRECT_DETAILS,
    "incorrect_account_holder_name": Decline.INCORRECT_DETAILS,
    "incorrect_account_holder_tax_id": Decline.INCORRECT_DETAILS,
    "invalid_account_number": Decline.INCORRECT_DETAILS,
    "no_account": Decline.INCORRECT_DETAILS,
    "routing_number_invalid": Decline.INCORRECT_DETAILS,
    # The limits are the business's with Stripe: no bank declined anything.
    "charge_exceeds_source_limit": Decline.PROCESSING_ERROR,
    "charge_exceeds_transaction_limit": Decline.PROCESSING_ERROR,
    "could_not_process": Decline.PROCESSING_ERROR,
    "generic_could_not_process": Decline.PROCESSING_ERROR,
}


NEEDS_NEW_METHOD: Final = frozenset(
    {
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "transaction_not_allowed",
        # Bank debits: Stripe tries again after `insufficient_funds` only, and blocks accounts that these come from.
        "account_closed",
        "account_frozen",
        "bank_account_restricted",
        "bank_account_unusable",
        "billing_invalid_mandate",
        "debit_not_authorized",
        "no_account",
        "payment_intent_mandate_invalid",
        "payment_method_bank_account_blocked",
    }
)
"""After these Stripe charges nothing until there is a new payment method, though its dates and `attempt_count` go on
(Stripe, "Automate payment retries", and "ACH Direct Debit" about blocked accounts). An expired card is none of them:
Stripe goes on trying it."""


def decline_reason(code: str | None, decline_code: str | None) -> Decline | None:
    """Why a charge failed, in our words; None when Stripe names no reason.

    `code` is Stripe's error code (https://docs.stripe.com/error-codes), `decline_code` the bank's reason where there is
    one (https://docs.stripe.com/declines/codes). The bank's reason says more, so it goes first. A code that we
    don't know is `declined`: never a guess.
    """
    for candidate in (decline_code, code):
        if candidate in _DECLINES:
            return _DECLINES[candidate]
    return Decline.DECLINED if code or decline_code else None


@dataclass(frozen=True)
class PaymentProblem:
    """The last error of an invoice's payment, as Stripe recorded it."""

    code: str | None = None
    decline_code: str | None = None
    needs_customer: bool = False
    """The payment waits for the customer: to confirm it with the bank (SCA), or to verify the account."""
    unverified: bool = False
    """It is the latter: a bank account that is verified by a small deposit, which takes days."""
    no_method: bool = False
    """There was nothing to charge: the payment waits for a payment method, and none was ever tried."""
    method: PaymentMethod | None = None
    """What was tried, as far as Stripe shows it."""
    payment_method: str | None = None
    """Its id, `pm_…`; of a source `card_…`, `ba_…`."""
    charge_id: str | None = None
    """The charge that failed, `ch_…` or `py_…`. Stripe uses a payment intent again from try to try, so this is what tells
    one failure from another; None when no charge was made."""
    tried_at: dt.datetime | None = None
    """When, to the second; None when no charge was made."""

    @property
    def reason(self) -> Decline | None:
        if self.no_method:
            return Decline.NO_PAYMENT_METHOD
        if self.unverified:
            return Decline.ACCOUNT_UNVERIFIED
        return decline_reason(self.code, self.decline_code) or (
            Decline.AUTHENTICATION_REQUIRED if self.needs_customer else None
        )

    @property
    def needs_new_method(self) -> bool:
        """Whether Stripe charges nothing more until there is a new payment method."""
        return self.no_method or not NEEDS_NEW_METHOD.isdisjoint({self.code, self.decline_code})

    def answers(self, payment_method: str, since: dt.datetime) -> bool:
        """Whether this is what came of trying `payment_method` after `since`.

        Stripe's moments have a resolution of one second; within one second the failure counts as the earlier one.
        """
        tried_since = self.tried_at is not None and self.tried_at > since
        return self.payment_method == payment_method and tried_since
