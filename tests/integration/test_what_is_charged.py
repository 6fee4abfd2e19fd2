"""A new payment method, wherever somebody sets it at Stripe, pays what is open: through the real system."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.fixtures.story import BUSINESS, Customer, Story, eventually, next_second


def subscription(story: Story, customer: Customer) -> dict[str, Any]:
    """The customer's subscription as Stripe has it now."""
    found = story.get("/v1/subscriptions", customer=str(customer.stripe_id), status="all")
    first: dict[str, Any] = found["data"][0]
    return first


def is_paid(story: Story, invoice: dict[str, Any]) -> bool:
    return bool(story.invoice(invoice["id"])["status"] == "paid")


def test_a_new_default_source_pays_and_is_charged_from_now_on(story: Story) -> None:
    """A customer of the API before payment methods: the card replaces the subscription's own, too."""
    customer = story.customer()
    path = f"/v1/customers/{customer.stripe_id}"
    story.post(path, **{"invoice_settings[default_payment_method]": ""})
    invoice = story.charge_fails(customer)
    card = story.post(f"{path}/sources", source="tok_visa")["id"]
    story.post(path, default_source=card)
    eventually(lambda: is_paid(story, invoice), what="the payment by source")
    found = subscription(story, customer)
    assert (found["default_source"], found["default_payment_method"]) == (card, None)


def test_a_method_for_one_invoice_pays_it_alone(story: Story) -> None:
    """Set on the invoice in the dashboard: the subscription stays with what it has."""
    customer = story.customer()
    invoice = story.charge_fails(customer)
    before = subscription(story, customer)["default_payment_method"]
    card = story.post(
        "/v1/payment_methods/pm_card_mastercard/attach", customer=str(customer.stripe_id)
    )["id"]
    story.post(f"/v1/invoices/{invoice['id']}", default_payment_method=card)
    eventually(lambda: is_paid(story, invoice), what="the payment of this invoice")
    assert subscription(story, customer)["default_payment_method"] == before


def new_card(story: Story, customer: Customer, card: str) -> None:
    """The customer's new default card, as Stripe's portal sets it: two writes of our own."""
    method = story.post(f"/v1/payment_methods/{card}/attach", customer=str(customer.stripe_id))
    default = {"invoice_settings[default_payment_method]": method["id"]}
    story.post(f"/v1/customers/{customer.stripe_id}", **default)


def sent_invoice(story: Story, customer: Customer) -> dict[str, Any]:
    """An invoice that the business sends to its customer, for nothing that is charged by itself."""
    whose = {"customer": str(customer.stripe_id)}
    story.post("/v1/invoiceitems", amount="50000", currency="usd", **whose)
    by_hand = {"collection_method": "send_invoice", "days_until_due": "14"}
    made = story.post("/v1/invoices", pending_invoice_items_behavior="include", **by_hand, **whose)
    found: dict[str, Any] = story.post(f"/v1/invoices/{made['id']}/finalize")
    return found


def says(customer: Customer, sentence: str) -> bool:
    """Whether the customer's page says that."""
    return sentence in requests.get(customer.link, timeout=10).text


@pytest.mark.parametrize("end", ["pay", "void", "mark_uncollectible"])
def test_nobody_is_all_set_while_an_invoice_that_was_sent_is_open(story: Story, end: str) -> None:
    """Nothing is tried and nothing fails, and yet the page says that it is unpaid, until it is paid or the business lets it go."""
    customer = story.customer()
    invoice = sent_invoice(story, customer)
    eventually(lambda: says(customer, "You have an unpaid invoice"), what="the page's word on it")
    story.post(f"/v1/invoices/{invoice['id']}/{end}")
    eventually(lambda: says(customer, "You’re all set"), what="the page once it is no more owed")
    assert story.mails(customer.email) == []


def test_who_observes_writes_nothing_and_is_charged_nothing_of_it_when_live(
    story: Story, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """A new card while the business observes: no write to Stripe, and what would have been charged is told. Going live releases none of
    it; the next new card is charged again."""
    call, began = story.portico.call, dt.datetime.now(dt.UTC).isoformat()
    customer = story.customer()
    before = subscription(story, customer)["default_payment_method"]
    invoice = story.charge_fails(customer)
    call("portal", "set_mode", business_id=BUSINESS, mode="observe")
    story.delete("/sandbox/requests")
    new_card(story, customer, "pm_card_mastercard")
    (told,) = eventually(
        lambda: call("billing", "observed_charges", since=began)["charges"],
        what="the charge that is observed",
    )
    assert (told["invoice_id"], told["amount"]) == (invoice["id"], invoice["amount_remaining"])
    assert story.get("/sandbox/requests")["changes"] == 2  # ours, in `new_card`
    call("portal", "set_mode", business_id=BUSINESS, mode="live")
    outcomes = "SELECT outcome FROM payment_method_changes WHERE stripe_customer_id = %s"
    eventually(
        lambda: rows("billing", outcomes, customer.stripe_id) == [("observed",)],
        what="the end of the change of card",
    )
    assert subscription(story, customer)["default_payment_method"] == before
    assert not is_paid(story, invoice)
    next_second()
    new_card(story, customer, "pm_card_amex")
    eventually(lambda: is_paid(story, invoice), what="the payment with the next card")
