"""What is done outside the API: portal settings, disputes, cards saved as sources, events out of the story."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import DAY, Stripe


def session(stripe: Stripe, customer: str, **params: Any) -> dict[str, Any]:
    """A portal session."""
    return stripe.post("/v1/billing_portal/sessions", customer=customer, **params)


# --- the portal's default -----------------------------------------------------------------------------------


def test_while_nobody_saved_the_portals_settings_there_is_no_default(stripe: Stripe) -> None:
    """Stripe's 400 says where to save them; a configuration made by API is no default."""
    customer = stripe.customer()
    made = stripe.post("/v1/billing_portal/configurations", features={})
    with pytest.raises(StripeError, match="default configuration has not been created") as caught:
        session(stripe, customer)
    assert caught.value.status == 400
    assert stripe.get("/v1/billing_portal/configurations", is_default=True)["data"] == []
    assert session(stripe, customer, configuration=made["id"])["configuration"] == made["id"]


def test_saved_settings_are_the_default(stripe: Stripe) -> None:
    """They are made once and changed afterwards, with an event each time."""
    customer = stripe.customer()
    saved = stripe.post("/sandbox/portal_default")
    on = {name for name, feature in saved["features"].items() if feature["enabled"]}
    assert on == {
        "customer_update",
        "invoice_history",
        "payment_method_update",
        "subscription_cancel",
    }
    assert session(stripe, customer)["configuration"] == saved["id"]
    changed = stripe.post(
        "/sandbox/portal_default", features={"subscription_cancel": {"enabled": False}}
    )
    assert (changed["id"], changed["is_default"]) == (saved["id"], True)
    told = [e for e in stripe.events if e["type"].startswith("billing_portal.configuration")]
    assert [e["type"].rsplit(".", 1)[1] for e in told] == ["created", "updated"]
    assert told[1]["data"]["previous_attributes"]["features"] == {
        "subscription_cancel": {"enabled": True}
    }
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    flow = {
        "type": "subscription_cancel",
        "subscription_cancel": {"subscription": subscription["id"]},
    }
    with pytest.raises(StripeError, match="requires the subscription_cancel feature"):
        session(stripe, subscription["customer"], flow_data=flow)


# --- sources ------------------------------------------------------------------------------------------------


def test_a_card_saved_as_a_source_is_charged_last(stripe: Stripe) -> None:
    """`default_source` pays where no payment method is named, and a change of it is told."""
    customer = stripe.post("/v1/customers", email="a@b.c", source="tok_visa")
    assert customer["default_source"].startswith("card_")
    subscription = stripe.subscription(customer["id"])
    assert subscription["status"] == "active"
    other = stripe.post(f"/v1/customers/{customer['id']}/sources", source="tok_chargeCustomerFail")
    stripe.events.clear()
    stripe.post(f"/v1/customers/{customer['id']}", default_source=other["id"])
    (told,) = [e for e in stripe.events if e["type"] == "customer.updated"]
    assert told["data"]["previous_attributes"] == {"default_source": customer["default_source"]}
    failed = stripe.post(f"/sandbox/customers/{customer['id']}/charge_now")
    assert failed["status"] == "open"
    good = stripe.post("/v1/payment_methods/pm_card_visa/attach", customer=customer["id"])["id"]
    stripe.post(
        f"/v1/customers/{customer['id']}", invoice_settings={"default_payment_method": good}
    )
    assert stripe.post(f"/v1/invoices/{failed['id']}/pay")["status"] == "paid"


def test_the_order_of_choice(stripe: Stripe) -> None:
    """Invoice, subscription, customer; a payment method before a source."""
    customer = stripe.post("/v1/customers", source="tok_visa")["id"]
    subscription = stripe.subscription(customer)["id"]
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")["id"]
    attached = [
        stripe.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)[
            "id"
        ]
        for _ in range(3)
    ]
    stripe.post(
        f"/v1/customers/{customer}", invoice_settings={"default_payment_method": attached[0]}
    )
    stripe.post(f"/v1/subscriptions/{subscription}", default_payment_method=attached[1])
    for expected, path in (
        (attached[1], None),
        (attached[2], f"/v1/invoices/{invoice}"),
    ):
        if path:
            stripe.post(path, default_payment_method=expected)
        with pytest.raises(StripeError):
            stripe.post(f"/v1/invoices/{invoice}/pay")
        assert stripe.get("/v1/charges", customer=customer)["data"][0]["payment_method"] == expected


def test_a_source_that_the_bank_renewed_is_told_as_a_source(stripe: Stripe) -> None:
    """No payment method is told of it; what it was is told, too."""
    customer = stripe.post("/v1/customers", source="tok_visa")["id"]
    card = stripe.get(f"/v1/customers/{customer}")["default_source"]
    stripe.events.clear()
    stripe.post(f"/sandbox/payment_methods/{card}/automatically_update", exp_year=2040)
    stripe.post(f"/sandbox/payment_methods/{card}/automatically_update", exp_year=2041)
    told = [e["data"] for e in stripe.events if e["type"] == "customer.source.updated"]
    assert [one["object"]["exp_year"] for one in told] == [2040, 2041]
    assert told[1]["previous_attributes"] == {"exp_year": 2040}
    assert "payment_method.automatically_updated" not in stripe.types()


# --- disputes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cancels", "status", "reason"),
    [(False, "active", None), (True, "canceled", "payment_disputed")],
)
def test_a_dispute_ends_the_subscription_only_where_the_business_chose_so(
    stripe: Stripe, cancels: bool, status: str, reason: str | None
) -> None:
    """The card of a test token is disputed as soon as it was charged."""
    stripe.post("/sandbox/account", cancel_on_dispute=cancels)
    subscription = stripe.subscription(stripe.customer("pm_card_createDispute"))
    stripe.events.clear()
    stripe.world.advance(DAY)
    assert "charge.dispute.created" in stripe.types()
    seen = stripe.get(f"/v1/subscriptions/{subscription['id']}")
    assert (seen["status"], seen["cancellation_details"]["reason"]) == (status, reason)


def test_a_disputed_debit_is_lost_at_once(stripe: Stripe) -> None:
    """The bank has taken it back; the invoice stays paid."""
    customer = stripe.customer("pm_usBankAccount_dispute")
    id = stripe.invoice(customer)["id"]
    stripe.post(f"/v1/invoices/{id}/pay")
    stripe.world.advance(5 * DAY)
    (dispute,) = stripe.get("/v1/disputes")["data"]
    assert (dispute["status"], dispute["reason"]) == ("lost", "debit_not_authorized")
    assert stripe.get(f"/v1/charges/{dispute['charge']}")["disputed"] is True
    assert stripe.get(f"/v1/invoices/{id}")["status"] == "paid"
    with pytest.raises(StripeError):
        stripe.post(f"/sandbox/charges/{dispute['charge']}/dispute")


# --- events out of the story --------------------------------------------------------------------------------


def test_an_event_of_a_connected_account(stripe: Stripe) -> None:
    """It names the account, and is not in this account's list."""
    customer = stripe.customer()
    told = stripe.post(
        "/sandbox/events", type="customer.updated", object=customer, account="acct_connected"
    )
    assert (told["account"], told["data"]["object"]["id"]) == ("acct_connected", customer)
    assert stripe.events[-1]["account"] == "acct_connected"
    assert told["id"] not in [e["id"] for e in stripe.get("/v1/events")["data"]]


def test_a_thin_event_names_the_object_only(stripe: Stripe) -> None:
    """What it is has to be fetched, or read from the log, where the snapshot stands; the event itself can be, too."""
    invoice = stripe.invoice(stripe.customer())["id"]
    told = stripe.post("/sandbox/events", type="invoice.payment_failed", object=invoice, thin=True)
    assert (told["object"], told["type"]) == ("v2.core.event", "v1.invoice.payment_failed")
    assert "data" not in told
    assert told["related_object"] == {
        "id": invoice,
        "type": "invoice",
        "url": f"/v1/invoices/{invoice}",
    }
    (logged,) = stripe.get("/v1/events", type="invoice.payment_failed")["data"]
    assert (logged["id"], logged["data"]["object"]["id"]) == (told["snapshot_event"], invoice)
    assert stripe.get(f"/v2/core/events/{told['id']}")["changes"] is None
    with pytest.raises(StripeError) as caught:
        stripe.get("/v2/core/events/evt_x")
    assert caught.value.status == 404


def test_an_event_needs_a_type_and_an_object(stripe: Stripe) -> None:
    """Nothing is told about what is not there."""
    for wrong in ({"type": "invoice.paid"}, {"object": stripe.customer()}):
        with pytest.raises(StripeError):
            stripe.post("/sandbox/events", **wrong)
