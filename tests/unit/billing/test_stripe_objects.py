"""Reading Stripe's objects: what was charged, and why it did not work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.billing.adapters.stripe.objects import to_look
from services.billing.adapters.stripe.payment_objects import (
    to_payment_method,
    to_payment_problem,
    to_payment_trace,
)
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import Payment, PayOutcome, declined
from shared.contracts.payments import Decline, MethodKind, PaymentMethod

CARD = {
    "id": "pm_1",
    "object": "payment_method",
    "type": "card",
    "card": {"brand": "visa", "last4": "4242", "exp_month": 10, "exp_year": 2026, "wallet": None},
}
ACH = {
    "id": "pm_2",
    "object": "payment_method",
    "type": "us_bank_account",
    "us_bank_account": {"bank_name": "STRIPE TEST BANK", "last4": "6789", "routing_number": "1"},
}
SEPA = {
    "id": "pm_3",
    "object": "payment_method",
    "type": "sepa_debit",
    "sepa_debit": {"bank_code": "37040044", "country": "DE", "last4": "3000"},
}


def stripe(value: Any) -> Any:
    """JSON as the attributes that a Stripe object has; what Stripe did not send is missing."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: stripe(each) for key, each in value.items()})
    return [stripe(each) for each in value] if isinstance(value, list) else value


def payment(**intent: Any) -> Any:
    waiting = {
        "status": "requires_payment_method",
        "last_payment_error": None,
        "payment_method": None,
        "latest_charge": None,
    }
    return stripe(
        {"is_default": True, "created": 1, "payment": {"payment_intent": waiting | intent}}
    )


def failed(code: str, method: dict[str, Any] | None, **error: Any) -> PaymentProblem:
    told = {"code": code, "payment_method": method, **error}
    found = to_payment_problem([payment(last_payment_error=told, latest_charge="py_1")])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (
            CARD,
            MethodKind.CARD,
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026),
        ),
        (
            ACH,
            MethodKind.BANK,
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789"),
        ),
        (SEPA, MethodKind.BANK, PaymentMethod(type="sepa_debit", last4="3000")),
        (
            {"object": "payment_method", "type": "link", "link": {"email": "dana@example.com"}},
            MethodKind.WALLET,
            PaymentMethod(type="link"),
        ),
        (
            {"object": "payment_method", "type": "paypal", "paypal": {"payer_id": "x"}},
            MethodKind.WALLET,
            PaymentMethod(type="paypal"),
        ),
        (
            {"object": "payment_method", "type": "klarna", "klarna": {}},
            MethodKind.OTHER,
            PaymentMethod(type="klarna"),
        ),
        # Sources: the fields stand in the object itself.
        (
            {"object": "card", "id": "card_1", "brand": "Visa", "last4": "4242"},
            MethodKind.CARD,
            PaymentMethod(type="card", brand="Visa", last4="4242"),
        ),
        (
            {"object": "bank_account", "id": "ba_1", "bank_name": "CHASE", "last4": "6789"},
            MethodKind.BANK,
            PaymentMethod(type="bank_account", bank="CHASE", last4="6789"),
        ),
        # What a charge tells of its payment method.
        (
            {"type": "ach_debit", "ach_debit": {"bank_name": "CHASE", "last4": "6789"}},
            MethodKind.BANK,
            PaymentMethod(type="ach_debit", bank="CHASE", last4="6789"),
        ),
    ],
)
def test_a_payment_method_is_read_in_each_shape(
    value: dict[str, Any], kind: MethodKind, expected: PaymentMethod
) -> None:
    """Card, bank account, wallet and what is none of them, old shapes and new; nobody's email or codes are taken along."""
    found = to_payment_method(stripe(value))
    assert found == expected
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize("value", [None, "pm_1", {"object": "payment_method"}])
def test_an_id_alone_tells_nothing_of_a_payment_method(value: Any) -> None:
    """What Stripe did not send in full isn't guessed."""
    assert to_payment_method(stripe(value)) is None


@pytest.mark.parametrize(
    ("code", "reason", "needs_new_method"),
    [
        ("insufficient_funds", Decline.INSUFFICIENT_FUNDS, False),
        ("account_closed", Decline.ACCOUNT_CLOSED, True),
        ("bank_account_restricted", Decline.ACCOUNT_CLOSED, True),
        ("payment_method_bank_account_blocked", Decline.ACCOUNT_CLOSED, True),
        ("debit_not_authorized", Decline.NOT_AUTHORIZED, True),
        ("payment_intent_mandate_invalid", Decline.NOT_AUTHORIZED, True),
        ("no_account", Decline.INCORRECT_DETAILS, True),
        ("invalid_account_number", Decline.INCORRECT_DETAILS, False),
        ("generic_could_not_process", Decline.PROCESSING_ERROR, False),
        ("charge_exceeds_source_limit", Decline.PROCESSING_ERROR, False),
        ("refer_to_customer", Decline.DECLINED, False),
    ],
)
def test_a_debit_that_came_back_is_told_by_its_code(
    code: str, reason: Decline, needs_new_method: bool
) -> None:
    """Banks' debits have no decline code; the error's own code says why, and what failed stands beside it."""
    problem = failed(code, ACH)
    assert (problem.reason, problem.needs_new_method) == (reason, needs_new_method)
    assert problem.method is not None
    assert problem.method.bank == "STRIPE TEST BANK"
    assert problem.payment_method == "pm_2"


@pytest.mark.parametrize(
    "intent",
    [
        {"last_payment_error": {"code": "account_closed", "source": ACH}},
        {"last_payment_error": {"code": "account_closed"}, "payment_method": ACH},
        {
            "last_payment_error": {"code": "account_closed"},
            "payment_method": "pm_2",
            "latest_charge": {"id": "py_1", "created": 1, "payment_method_details": ACH},
        },
    ],
)
def test_what_failed_is_found_where_the_error_does_not_tell_it(intent: dict[str, Any]) -> None:
    """The intent's own payment method, or what the charge says of it."""
    found = to_payment_problem([payment(**intent)])
    assert found is not None
    assert found.method is not None
    assert found.method.kind is MethodKind.BANK


def look(invoice: dict[str, Any], *payments: Any) -> Any:
    plain = {
        "id": "in_1",
        "status": "open",
        "currency": "usd",
        "amount_remaining": 100,
        "attempted": True,
    }
    found = stripe(plain | invoice)
    found.payments = SimpleNamespace(data=list(payments))
    return to_look(found)


def test_a_payment_that_nothing_was_ever_charged_for_had_no_payment_method() -> None:
    """Tried by Stripe, and neither an error nor a charge came of it."""
    problem = look({}, payment()).problem
    assert problem.reason is Decline.NO_PAYMENT_METHOD
    assert problem.needs_new_method
    assert problem.method is None


@pytest.mark.parametrize(
    ("invoice", "intent"),
    [
        ({"attempted": False}, {}),
        ({"status": "paid"}, {}),
        ({}, {"status": "processing", "payment_method": "pm_2", "latest_charge": "py_1"}),
        ({}, {"payment_method": "pm_2"}),
    ],
)
def test_what_was_not_tried_or_is_under_way_misses_no_payment_method(
    invoice: dict[str, Any], intent: dict[str, Any]
) -> None:
    """Before Stripe's first try, after it was paid, and while a debit is on its way nothing is missing."""
    assert look(invoice, payment(**intent)).problem is None


def test_a_debit_under_way_tells_what_it_is_made_to() -> None:
    """So that another method, chosen meanwhile, is known to be another."""
    trace = to_payment_trace([payment(status="processing", payment_method="pm_2")])
    assert (trace.processing, trace.debited) == (True, "pm_2")
    assert to_payment_trace([payment(payment_method="pm_2")]).debited is None


def test_an_older_payment_that_failed_tells_more_than_an_empty_one() -> None:
    """The successor of a failed payment is still untouched: the failure before it is what to tell."""
    old = payment(last_payment_error={"code": "account_closed", "payment_method": ACH})
    old.is_default = False
    found = to_payment_problem([payment(), old])
    assert found is not None
    assert found.reason is Decline.ACCOUNT_CLOSED


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("verify_with_microdeposits", Decline.ACCOUNT_UNVERIFIED),
        ("use_stripe_sdk", Decline.AUTHENTICATION_REQUIRED),
        (None, Decline.AUTHENTICATION_REQUIRED),
    ],
)
def test_an_account_that_waits_to_be_verified_is_no_banks_confirmation(
    action: str | None, reason: Decline
) -> None:
    """Both wait for the customer (`requires_action`): what is to be done says the next action, where Stripe names one."""
    waits = payment(
        status="requires_action", payment_method=ACH, next_action=action and {"type": action}
    )
    found = to_payment_problem([waits])
    assert found is not None
    assert (found.reason, found.needs_customer) == (reason, True)
    assert declined(found.reason) == Payment(PayOutcome.AUTHENTICATION_REQUIRED, reason)
