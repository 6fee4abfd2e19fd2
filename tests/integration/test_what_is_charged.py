"""A new payment method, wherever somebody sets it at Stripe, pays what is open: through the real system."""

from __future__ import annotations

from typing import Any

from tests.fixtures.story import Customer, Story, eventually


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
