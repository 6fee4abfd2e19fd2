"""Credit notes: what is forgiven before it is paid, and given back after."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import DAY, Stripe


def failed(stripe: Stripe) -> dict[str, Any]:
    """The open invoice of a renewal that was declined."""
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    return stripe.post(f"/sandbox/customers/{customer}/charge_now")


def paid(stripe: Stripe) -> dict[str, Any]:
    """A paid invoice of 2000."""
    customer = stripe.customer("pm_card_visa")
    return stripe.post(f"/v1/invoices/{stripe.invoice(customer)['id']}/pay")


def test_a_part_lowers_what_is_due(stripe: Stripe) -> None:
    """The invoice stays open for the rest, and the rest alone is charged."""
    invoice = failed(stripe)
    stripe.events.clear()
    note = stripe.post("/v1/credit_notes", invoice=invoice["id"], amount=900)
    assert (note["pre_payment_amount"], note["post_payment_amount"]) == (900, 0)
    assert note["number"] == f"{invoice['number']}-CN-01"
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert seen["status"] == "open"
    assert (seen["amount_due"], seen["amount_remaining"]) == (4000, 4000)
    assert (seen["total"], seen["pre_payment_credit_notes_amount"]) == (4900, 900)
    assert stripe.types() == ["credit_note.created", "invoice.updated"]
    stripe.post("/sandbox/clock", to="next_retry")
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["status"], seen["amount_paid"]) == ("paid", 4000)
    assert stripe.get("/v1/charges", customer=seen["customer"])["data"][0]["amount"] == 4000


def test_the_whole_ends_it_without_any_money(stripe: Stripe) -> None:
    """`invoice.paid` with nothing paid, nothing tried any more, and the subscription active again."""
    invoice = failed(stripe)
    stripe.events.clear()
    stripe.post("/v1/credit_notes", invoice=invoice["id"], amount=4900, reason="order_change")
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["status"], seen["amount_paid"], seen["amount_due"]) == ("paid", 0, 0)
    assert (seen["pre_payment_credit_notes_amount"], seen["auto_advance"]) == (4900, False)
    types = stripe.types()
    assert "invoice.paid" in types
    assert "invoice.payment_succeeded" not in types
    assert "charge.succeeded" not in types
    details = seen["parent"]["subscription_details"]
    assert stripe.get(f"/v1/subscriptions/{details['subscription']}")["status"] == "active"
    stripe.world.advance(20 * DAY)
    assert "charge.succeeded" not in stripe.types()


def test_lines_are_credited(stripe: Stripe) -> None:
    """A line of the invoice, or an amount with a text."""
    invoice = failed(stripe)
    (line,) = invoice["lines"]["data"]
    given = [
        {"type": "custom_line_item", "description": "Sorry", "quantity": 2, "unit_amount": 100},
        {"type": "invoice_line_item", "invoice_line_item": line["id"], "amount": 1000},
    ]
    note = stripe.post("/v1/credit_notes", invoice=invoice["id"], lines=given)
    assert note["amount"] == 1200
    assert [each["amount"] for each in note["lines"]["data"]] == [200, 1000]


def test_a_void_note_is_owed_again(stripe: Stripe) -> None:
    """Only while the invoice is open."""
    invoice = failed(stripe)
    note = stripe.post("/v1/credit_notes", invoice=invoice["id"], amount=900)
    stripe.events.clear()
    assert stripe.post(f"/v1/credit_notes/{note['id']}/void")["status"] == "void"
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["amount_remaining"], seen["pre_payment_credit_notes_amount"]) == (4900, 0)
    assert stripe.types() == ["credit_note.voided", "invoice.updated"]
    note = stripe.post("/v1/credit_notes", invoice=invoice["id"], amount=4900)
    with pytest.raises(StripeError, match="open invoices"):
        stripe.post(f"/v1/credit_notes/{note['id']}/void")


def test_what_was_paid_is_given_back(stripe: Stripe) -> None:
    """By a refund, to the balance, or outside; the invoice stays paid."""
    invoice = paid(stripe)
    note = stripe.post(
        "/v1/credit_notes",
        invoice=invoice["id"],
        amount=1000,
        refund_amount=600,
        credit_amount=300,
        out_of_band_amount=100,
    )
    assert (note["type"], note["refunds"][0]["amount_refunded"]) == ("post_payment", 600)
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["status"], seen["post_payment_credit_notes_amount"]) == ("paid", 1000)
    assert seen["amount_paid"] == 2000
    assert stripe.get(f"/v1/customers/{invoice['customer']}")["balance"] == -300
    assert stripe.get("/v1/refunds")["data"][0]["amount"] == 600


def test_a_balance_pays_for_the_next_invoice(stripe: Stripe) -> None:
    """What was credited is due no more; only the rest is charged."""
    invoice = paid(stripe)
    stripe.post("/v1/credit_notes", invoice=invoice["id"], amount=1500, credit_amount=1500)
    next_one = stripe.invoice(invoice["customer"], 2000)
    seen = stripe.post(f"/v1/invoices/{next_one['id']}/pay")
    assert (seen["starting_balance"], seen["ending_balance"]) == (-1500, 0)
    assert (seen["amount_due"], seen["amount_paid"], seen["total"]) == (500, 500, 2000)
    assert stripe.get(f"/v1/customers/{invoice['customer']}")["balance"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 2001, "refund_amount": 2001},
        {"amount": 1000},
        {"amount": 1000, "refund_amount": 999},
        {},
        {"amount": 0},
    ],
)
def test_sums_that_can_not_be_are_refused(stripe: Stripe, wrong: dict[str, int]) -> None:
    """More than the invoice, or not given back in full: nothing happens."""
    invoice = paid(stripe)
    stripe.events.clear()
    with pytest.raises(StripeError):
        stripe.post("/v1/credit_notes", invoice=invoice["id"], **wrong)
    assert stripe.types() == []


def test_a_draft_and_a_debit_under_way_can_not_be_credited(stripe: Stripe) -> None:
    """A draft is changed; a payment that is under way may still come in."""
    customer = stripe.customer("pm_usBankAccount_success")
    draft = stripe.invoice(customer)["id"]
    with pytest.raises(StripeError):
        stripe.post("/v1/credit_notes", invoice=draft, amount=100)
    stripe.post(f"/v1/invoices/{draft}/pay")
    with pytest.raises(StripeError, match="processing"):
        stripe.post("/v1/credit_notes", invoice=draft, amount=100)
