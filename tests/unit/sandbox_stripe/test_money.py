"""Collecting invoices: what each card does, and what Stripe says about it."""

from __future__ import annotations

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import DAY, START, Stripe


def test_a_good_card_pays(stripe: Stripe) -> None:
    """`pay` finalizes a draft and collects it."""
    customer = stripe.customer("pm_card_visa")
    draft = stripe.invoice(customer)
    stripe.events.clear()
    paid = stripe.post(f"/v1/invoices/{draft['id']}/pay")
    assert (paid["status"], paid["amount_remaining"], paid["amount_paid"]) == ("paid", 0, 2000)
    assert (paid["attempt_count"], paid["attempted"]) == (1, True)
    types = stripe.types()
    assert types.index("invoice.finalized") < types.index("charge.succeeded")
    assert types[-2:] == ["invoice.paid", "invoice.payment_succeeded"]


def test_paid_twice_is_refused(stripe: Stripe) -> None:
    """The 400 that a retry may take for success."""
    customer = stripe.customer("pm_card_visa")
    id = stripe.invoice(customer)["id"]
    stripe.post(f"/v1/invoices/{id}/pay")
    with pytest.raises(StripeError, match="Invoice is already paid") as caught:
        stripe.post(f"/v1/invoices/{id}/pay")
    assert caught.value.status == 400


def test_a_decline_is_a_402_with_its_reason(stripe: Stripe) -> None:
    """The error, the event and the payment intent say why."""
    customer = stripe.customer("pm_card_chargeCustomerFail")
    id = stripe.invoice(customer)["id"]
    stripe.events.clear()
    with pytest.raises(StripeError) as caught:
        stripe.post(f"/v1/invoices/{id}/pay")
    error = caught.value
    assert (error.status, error.type, error.code) == (402, "card_error", "card_declined")
    assert error.decline_code == "generic_decline"
    seen = stripe.get("/v1/invoice_payments", invoice=id, expand=["data.payment.payment_intent"])
    last = seen["data"][0]["payment"]["payment_intent"]["last_payment_error"]
    assert (last["decline_code"], last["advice_code"]) == ("generic_decline", "try_again_later")
    assert last["payment_method"]["card"]["last4"] == "0341"
    failed = next(e for e in stripe.events if e["type"] == "invoice.payment_failed")
    assert failed["data"]["object"]["attempt_count"] == 1
    assert "charge.failed" in stripe.types()


def test_only_the_schedule_raises_the_count(stripe: Stripe) -> None:
    """A try by hand after the first attempt leaves `attempt_count` and the next date alone."""
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert (invoice["attempt_count"], invoice["next_payment_attempt"]) == (1, START + 3 * DAY)
    stripe.post(f"/sandbox/customers/{customer}/decline_next", decline_code="do_not_honor")
    with pytest.raises(StripeError):
        stripe.post(f"/v1/invoices/{invoice['id']}/pay")
    again = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (again["attempt_count"], again["next_payment_attempt"]) == (1, START + 3 * DAY)


def test_the_subscriptions_card_goes_before_the_customers(stripe: Stripe) -> None:
    """A new default of the customer does not help while the subscription names its own card."""
    customer = stripe.customer("pm_card_visa")
    own = stripe.post("/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    subscription = stripe.subscription(customer, default_payment_method=own)
    bad = stripe.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)
    stripe.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=bad["id"])
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert invoice["status"] == "open"
    stripe.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=own)
    assert stripe.post(f"/v1/invoices/{invoice['id']}/pay")["status"] == "paid"


def test_an_expired_card_is_declined(stripe: Stripe) -> None:
    """Expiry is looked at when the card is charged."""
    customer = stripe.customer("pm_card_visa")
    method = stripe.get(f"/v1/customers/{customer}/payment_methods")["data"][0]["id"]
    stripe.post(f"/v1/payment_methods/{method}", card={"exp_month": 1, "exp_year": 2020})
    with pytest.raises(StripeError) as caught:
        stripe.post(f"/v1/invoices/{stripe.invoice(customer)['id']}/pay")
    assert caught.value.decline_code == "expired_card"


@pytest.mark.parametrize(
    ("name", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "stolen_card"),
        ("pm_card_visa_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_visa_chargeDeclinedProcessingError", "processing_error"),
    ],
)
def test_some_cards_are_refused_when_attached(stripe: Stripe, name: str, decline_code: str) -> None:
    """The 402 comes at attach, and nothing is attached."""
    customer = stripe.customer()
    with pytest.raises(StripeError) as caught:
        stripe.post(f"/v1/payment_methods/{name}/attach", customer=customer)
    assert (caught.value.status, caught.value.decline_code) == (402, decline_code)
    assert stripe.get(f"/v1/customers/{customer}/payment_methods")["data"] == []


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("4242 4242 4242 4242", "visa"),
        ("5555555555554444", "mastercard"),
        ("4000000000000341", "visa"),
        ("4242424242424241", "incorrect_number"),
        ("4111111111111111", "card_declined"),
        ("", "parameter_invalid_empty"),
    ],
)
def test_cards_by_number(stripe: Stripe, number: str, answer: str) -> None:
    """Test numbers are taken, typing errors and real numbers are refused as in test mode."""
    card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    try:
        seen = stripe.post("/v1/payment_methods", type="card", card=card)["card"]["brand"]
    except StripeError as error:
        seen = error.code
    assert seen == answer


def test_sca_asks_for_the_customer(stripe: Stripe) -> None:
    """The intent waits, the event comes, and the customer's confirmation pays the invoice."""
    customer = stripe.customer("pm_card_authenticationRequired")
    id = stripe.invoice(customer)["id"]
    stripe.events.clear()
    with pytest.raises(StripeError) as caught:
        stripe.post(f"/v1/invoices/{id}/pay")
    assert caught.value.code == "invoice_payment_intent_requires_action"
    assert {"invoice.payment_action_required", "payment_intent.requires_action"} <= set(
        stripe.types()
    )
    invoice = stripe.get(f"/v1/invoices/{id}")
    assert invoice["hosted_invoice_url"].startswith("http")
    assert stripe.post(f"/sandbox/invoices/{id}/authenticate")["status"] == "paid"


def test_a_card_set_up_once_is_not_asked_again(stripe: Stripe) -> None:
    """4000002500003155 wants a confirmation unless it was given when the card was saved."""
    customer = stripe.customer()
    card = {"number": "4000002500003155", "exp_month": 12, "exp_year": 2034}
    method = stripe.post("/v1/payment_methods", type="card", card=card)["id"]
    intent = stripe.post(
        "/v1/setup_intents", customer=customer, payment_method=method, confirm=True
    )
    assert intent["status"] == "requires_action"
    stripe.post(f"/sandbox/setup_intents/{intent['id']}/authenticate")
    id = stripe.invoice(customer)["id"]
    assert stripe.post(f"/v1/invoices/{id}/pay", payment_method=method)["status"] == "paid"


@pytest.mark.parametrize(
    ("name", "status", "event"),
    [
        ("pm_usBankAccount", "paid", "invoice.paid"),
        ("pm_usBankAccount_insufficientFunds", "open", "invoice.payment_failed"),
    ],
)
def test_debits_settle_days_later(stripe: Stripe, name: str, status: str, event: str) -> None:
    """Processing is not failure; what comes of it comes with the clock."""
    customer = stripe.customer(name)
    id = stripe.invoice(customer)["id"]
    assert stripe.post(f"/v1/invoices/{id}/pay")["status"] == "open"
    assert "invoice.payment_failed" not in stripe.types()
    stripe.world.advance(5 * DAY)
    assert stripe.get(f"/v1/invoices/{id}")["status"] == status
    assert event in stripe.types()


def test_void_and_uncollectible(stripe: Stripe) -> None:
    """Both end collection; only the bad debt can still be paid."""
    customer = stripe.customer("pm_card_visa")
    void, bad = (stripe.invoice(customer)["id"] for _ in range(2))
    for id, action in ((void, "void"), (bad, "mark_uncollectible")):
        stripe.post(f"/v1/invoices/{id}/finalize")
        stripe.post(f"/v1/invoices/{id}/{action}")
    assert {"invoice.voided", "invoice.marked_uncollectible"} <= set(stripe.types())
    with pytest.raises(StripeError):
        stripe.post(f"/v1/invoices/{void}/pay")
    assert stripe.post(f"/v1/invoices/{bad}/pay")["status"] == "paid"


def test_invoices_are_found_by_what_is_asked(stripe: Stripe) -> None:
    """Customer, status and subscription filters meet."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    draft = stripe.invoice(customer)["id"]
    stripe.invoice(stripe.customer())

    def found(**params: str) -> list[str]:
        return [i["id"] for i in stripe.get("/v1/invoices", **params)["data"]]

    assert found(customer=customer) == [draft, subscription["latest_invoice"]]
    assert found(customer=customer, status="draft") == [draft]
    assert found(subscription=subscription["id"]) == [subscription["latest_invoice"]]
    assert found(customer=customer, collection_method="send_invoice") == []


def test_a_refund_gives_back_once(stripe: Stripe) -> None:
    """What is refunded can't be refunded again."""
    intent = stripe.post(
        "/v1/payment_intents",
        amount=100,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
    )
    assert stripe.post("/v1/refunds", payment_intent=intent["id"])["amount"] == 100
    with pytest.raises(StripeError) as caught:
        stripe.post("/v1/refunds", payment_intent=intent["id"])
    assert caught.value.code == "charge_already_refunded"


def test_the_invoice_has_the_current_shape(stripe: Stripe) -> None:
    """Since 2025-03-31 the subscription stands in `parent`, and the old fields are gone."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"), metadata={"k": "v"})
    invoice = stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")
    details = invoice["parent"]["subscription_details"]
    assert details == {"metadata": {"k": "v"}, "subscription": subscription["id"]}
    gone = {"subscription", "payment_intent", "charge", "paid", "subscription_details"}
    assert not gone & invoice.keys()


def test_an_invoice_is_paid_in_parts(stripe: Stripe) -> None:
    """A payment intent that is attached takes off what it brought in; the invoice's own asks for the rest.
    https://docs.stripe.com/api/invoices/attach_payment"""
    customer = stripe.customer("pm_card_chargeCustomerFail")
    id = stripe.invoice(customer)["id"]
    with pytest.raises(StripeError):
        stripe.post(f"/v1/invoices/{id}/pay")
    due = stripe.get(f"/v1/invoices/{id}")["amount_due"]
    for part in (due // 4, due - due // 4):
        method = stripe.post(
            "/v1/payment_methods/pm_usBankAccount_success/attach", customer=customer
        )
        intent = stripe.post(
            "/v1/payment_intents",
            customer=customer,
            amount=part,
            currency="usd",
            payment_method=method["id"],
            confirm=True,
        )
        stripe.post(f"/v1/invoices/{id}/attach_payment", payment_intent=intent["id"])
        before = stripe.get(f"/v1/invoices/{id}")["amount_remaining"]
        stripe.world.advance(4 * DAY)
        assert stripe.get(f"/v1/invoices/{id}")["amount_remaining"] == before - part
    paid = stripe.get(f"/v1/invoices/{id}")
    assert (paid["status"], paid["amount_paid"], paid["amount_remaining"]) == ("paid", due, 0)
    parts = stripe.get("/v1/invoice_payments", invoice=id)["data"]
    assert sorted((one["status"], one["is_default"]) for one in parts) == [
        ("canceled", True),
        ("paid", False),
        ("paid", False),
    ]
