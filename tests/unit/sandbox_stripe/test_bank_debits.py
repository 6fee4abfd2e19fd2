"""Bank debits: taken at once, answered days later."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import DAY, START, Stripe

SETTLED = 4 * DAY


def intent_of(stripe: Stripe, invoice: str) -> dict[str, Any]:
    """The payment intent of an invoice, with its latest charge."""
    found = stripe.get(
        "/v1/invoice_payments",
        invoice=invoice,
        expand=["data.payment.payment_intent.latest_charge"],
    )
    intent: dict[str, Any] = found["data"][0]["payment"]["payment_intent"]
    return intent


def debited(stripe: Stripe, account: str) -> tuple[str, str]:
    """(customer, invoice) of a debit that is under way."""
    customer = stripe.customer(account)
    id = stripe.invoice(customer)["id"]
    stripe.post(f"/v1/invoices/{id}/pay")
    return customer, id


def test_meanwhile_nothing_is_decided(stripe: Stripe) -> None:
    """The invoice stays open, the intent is processing, the charge is pending."""
    _, id = debited(stripe, "pm_usBankAccount_success")
    intent = intent_of(stripe, id)
    charge = intent["latest_charge"]
    assert stripe.get(f"/v1/invoices/{id}")["status"] == "open"
    assert (intent["status"], charge["status"]) == ("processing", "pending")
    assert charge["id"].startswith("py_")
    assert {"charge.pending", "payment_intent.processing"} <= set(stripe.types())
    stripe.world.advance(SETTLED)
    assert stripe.get(f"/v1/invoices/{id}")["status"] == "paid"
    assert intent_of(stripe, id)["latest_charge"]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ("pm_usBankAccount_insufficientFunds", "insufficient_funds"),
        ("pm_usBankAccount_accountClosed", "account_closed"),
        ("pm_usBankAccount_noAccount", "no_account"),
        ("pm_usBankAccount_debitNotAuthorized", "debit_not_authorized"),
        ("pm_sepaDebit_failed_at", "generic_could_not_process"),
        ("pm_sepaDebit_insufficientFunds_at", "insufficient_funds"),
        ("pm_acssDebit_accountClosed", "account_closed"),
        ("pm_bacsDebit_insufficientFunds", "insufficient_funds"),
        ("pm_auBecsDebit_noAccount", "no_account"),
    ],
)
def test_it_comes_back_with_a_code_of_the_bank(stripe: Stripe, account: str, code: str) -> None:
    """No card was declined: a code alone, and the account that was debited."""
    _, id = debited(stripe, account)
    stripe.events.clear()
    stripe.world.advance(SETTLED)
    intent = intent_of(stripe, id)
    error = intent["last_payment_error"]
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert "decline_code" not in error
    assert error["payment_method"][error["payment_method"]["type"]]["last4"]
    assert intent["status"] == "requires_payment_method"
    assert intent["latest_charge"]["failure_code"] == code
    types = stripe.types()
    order = ["charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"]
    assert [type for type in types if type in order] == order


@pytest.mark.parametrize(
    ("number", "type", "field"),
    [
        ("AT86 1904 3002 3547 3202", "sepa_debit", "iban"),
        ("000222222227", "us_bank_account", "account_number"),
        ("22222227", "bacs_debit", "account_number"),
    ],
)
def test_accounts_by_number(stripe: Stripe, number: str, type: str, field: str) -> None:
    """A test number behaves like its token."""
    method = stripe.post("/v1/payment_methods", type=type, **{type: {field: number}})["id"]
    customer = stripe.customer()
    stripe.post(f"/v1/payment_methods/{method}/attach", customer=customer)
    id = stripe.invoice(customer)["id"]
    stripe.post(f"/v1/invoices/{id}/pay", payment_method=method)
    stripe.world.advance(SETTLED)
    assert intent_of(stripe, id)["last_payment_error"] is not None


def test_each_try_is_another_charge_of_one_intent(stripe: Stripe) -> None:
    """Paid by API the count stays where it was; what tells two failures apart is the charge."""
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    first = intent_of(stripe, invoice["id"])
    account = stripe.post(
        "/v1/payment_methods/pm_usBankAccount_insufficientFunds/attach", customer=customer
    )
    stripe.post(f"/v1/invoices/{invoice['id']}/pay", payment_method=account["id"])
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["next_payment_attempt"] is None
    stripe.world.advance(SETTLED)
    second = intent_of(stripe, invoice["id"])
    assert first["id"] == second["id"]
    assert first["latest_charge"]["id"] != second["latest_charge"]["id"]
    failed = [e for e in stripe.events if e["type"] == "invoice.payment_failed"]
    assert [e["data"]["object"]["attempt_count"] for e in failed] == [1, 1]
    # The card is charged again on a new date: the same attempt, another failure, another date.
    dates = [e["data"]["object"]["next_payment_attempt"] for e in failed]
    assert dates == [START + 3 * DAY, START + SETTLED + 3 * DAY]


@pytest.mark.parametrize(("retry_debits", "planned"), [(False, False), (True, True)])
def test_banks_are_asked_again_only_where_the_business_opted_in(
    stripe: Stripe, retry_debits: bool, planned: bool
) -> None:
    """Without that no date follows a debit that came back."""
    stripe.post("/sandbox/account", retry_debits=retry_debits)
    customer = stripe.customer("pm_usBankAccount_insufficientFunds")
    subscription = stripe.subscription(customer)
    stripe.world.advance(SETTLED)
    invoice = stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")
    assert (invoice["next_payment_attempt"] is not None) == planned


def test_a_first_debit_makes_the_subscription_active_at_once(stripe: Stripe) -> None:
    """It comes back on day 4, when nobody is at checkout any more, and the subscription is past due."""
    subscription = stripe.subscription(stripe.customer("pm_sepaDebit_failed_at"))
    path = f"/v1/subscriptions/{subscription['id']}"
    assert stripe.get(path)["status"] == "active"
    invoice = stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")
    assert (invoice["status"], invoice["auto_advance"]) == ("open", True)
    stripe.world.advance(SETTLED)
    (failed,) = [e for e in stripe.events if e["type"] == "invoice.payment_failed"]
    told = failed["data"]["object"]
    assert told["billing_reason"] == "subscription_create"
    assert failed["created"] - told["status_transitions"]["finalized_at"] == SETTLED
    assert stripe.get(path)["status"] == "past_due"


def test_an_ordered_decline_comes_days_later(stripe: Stripe) -> None:
    """What a bank will say is ordered like a card's decline, and waits its days."""
    customer = stripe.customer("pm_usBankAccount_success")
    stripe.subscription(customer)
    stripe.world.advance(SETTLED)
    stripe.post(f"/sandbox/customers/{customer}/decline_next", decline_code="account_closed")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert intent_of(stripe, invoice["id"])["status"] == "processing"
    stripe.world.advance(SETTLED)
    assert intent_of(stripe, invoice["id"])["last_payment_error"]["code"] == "account_closed"


def test_some_debits_never_end(stripe: Stripe) -> None:
    """Stripe has an account whose debits stay under way."""
    _, id = debited(stripe, "pm_usBankAccount_processing")
    stripe.world.advance(60 * DAY)
    assert intent_of(stripe, id)["status"] == "processing"


def test_a_debit_that_an_earlier_release_began_goes_on(stripe: Stripe) -> None:
    """Its intent was kept without the bank's answer; its test account knows it."""
    _, id = debited(stripe, "pm_usBankAccount_noAccount")
    stored = stripe.world.get("payment_intent", intent_of(stripe, id)["id"])
    del stored["_comes_back"]
    stripe.world.advance(SETTLED)
    assert intent_of(stripe, id)["last_payment_error"]["code"] == "no_account"


def test_a_test_clock_lets_debits_settle(stripe: Stripe) -> None:
    """They live in their customer's time."""
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=START)["id"]
    customer = stripe.customer("pm_usBankAccount_success", test_clock=clock)
    id = stripe.invoice(customer)["id"]
    stripe.post(f"/v1/invoices/{id}/pay")
    stripe.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=START + SETTLED)
    assert stripe.get(f"/v1/invoices/{id}")["status"] == "paid"


def test_a_default_of_a_type_that_is_not_taken_is_passed_over(stripe: Stripe) -> None:
    """`payment_settings.payment_method_types` decides what may be charged."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(
        customer, payment_settings={"payment_method_types": ["card"]}
    )
    account = stripe.post("/v1/payment_methods/pm_usBankAccount_success/attach", customer=customer)
    stripe.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=account["id"])
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert invoice["status"] == "paid"


def test_unknown_choices_of_the_account_are_refused(stripe: Stripe) -> None:
    """A wrong word changes nothing."""
    for wrong in ({"after_last_retry": "explode"}, {"colour": "red"}):
        with pytest.raises(StripeError):
            stripe.post("/sandbox/account", **wrong)
    assert stripe.get("/sandbox/account")["after_last_retry"] == "cancel"
