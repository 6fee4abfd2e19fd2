"""Events, portal sessions, checkout, persistence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import Stripe, build


def test_updated_tells_what_was(stripe: Stripe) -> None:
    """`previous_attributes` holds the old values of what changed, nested where the change is."""
    customer = stripe.customer("pm_card_visa")
    old = stripe.get(f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"]
    new = stripe.post("/v1/payment_methods/pm_card_amex/attach", customer=customer)["id"]
    stripe.events.clear()
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": new})
    event = stripe.events[-1]
    assert event["type"] == "customer.updated"
    assert event["data"]["previous_attributes"] == {
        "invoice_settings": {"default_payment_method": old}
    }


def test_nothing_changed_nothing_said(stripe: Stripe) -> None:
    """An update without a change makes no event."""
    customer = stripe.customer(name="Ada")
    stripe.events.clear()
    stripe.post(f"/v1/customers/{customer}", name="Ada")
    assert stripe.types() == []


def test_detaching_the_default_clears_it(stripe: Stripe) -> None:
    """Neither the customer nor a subscription goes on naming a card that is gone."""
    customer = stripe.customer("pm_card_visa")
    method = stripe.get(f"/v1/customers/{customer}/payment_methods")["data"][0]["id"]
    subscription = stripe.subscription(customer, default_payment_method=method)
    stripe.post(f"/v1/payment_methods/{method}/detach")
    seen = stripe.get(f"/v1/subscriptions/{subscription['id']}", expand=["customer"])
    assert seen["default_payment_method"] is None
    assert seen["customer"]["invoice_settings"]["default_payment_method"] is None


def test_deleting_a_customer_ends_everything(stripe: Stripe) -> None:
    """Subscriptions end, and what remains says that it is deleted."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    stripe.events.clear()
    assert stripe.delete(f"/v1/customers/{customer}")["deleted"] is True
    assert stripe.types() == ["customer.subscription.deleted", "customer.deleted"]
    assert stripe.get(f"/v1/customers/{customer}") == {
        "id": customer,
        "object": "customer",
        "deleted": True,
    }
    assert stripe.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "canceled"
    with pytest.raises(StripeError):
        stripe.post("/v1/billing_portal/sessions", customer=customer)


def test_events_are_found_by_type(stripe: Stripe) -> None:
    """Several types, endings, and the time."""
    stripe.customer("pm_card_visa")

    def types(**params: object) -> list[str]:
        return [e["type"] for e in stripe.get("/v1/events", **params)["data"]]

    assert types(types=["customer.created", "customer.updated"]) == [
        "customer.updated",
        "customer.created",
    ]
    assert types(type="payment_method.*") == ["payment_method.attached"]
    assert types(created={"gt": stripe.world.now()}) == []
    assert types(delivery_success=False) == []


def test_the_event_log_is_bounded() -> None:
    """The oldest events are forgotten."""
    stripe = build(max_events=5)
    for _ in range(9):
        stripe.customer()
    assert len(stripe.get("/v1/events", limit=100)["data"]) == 5


def test_portal_sessions_die(stripe: Stripe) -> None:
    """Unused after five minutes, used after an hour; each is a fresh URL."""
    stripe.post("/sandbox/portal_default")
    customer = stripe.customer()
    urls = [stripe.post("/v1/billing_portal/sessions", customer=customer)["url"] for _ in range(2)]
    unused, used = (url.rsplit("/", 1)[1] for url in urls)
    assert unused != used
    assert stripe.world.portal_session(used, use=True) is not None
    stripe.clock.at += 299
    seen = stripe.world.portal_session(unused)
    assert seen is not None
    assert seen["expired"] is False
    stripe.clock.at += 1
    assert stripe.world.portal_session(unused, use=True) is None
    assert stripe.world.portal_session(used, use=True) is not None
    stripe.clock.at += 3600
    assert stripe.world.portal_session(used, use=True) is None
    assert stripe.world.portal_session("test_nothing") is None


def test_a_portal_configuration_is_off_unless_switched_on(stripe: Stripe) -> None:
    """What is not named is not allowed, and a flow needs its feature."""
    made = stripe.post(
        "/v1/billing_portal/configurations",
        features={"invoice_history": {"enabled": True}},
        metadata={"a": "b"},
    )
    on = {name for name, feature in made["features"].items() if feature["enabled"]}
    assert on == {"invoice_history"}
    customer = stripe.customer()
    session = {"customer": customer, "configuration": made["id"]}
    with pytest.raises(StripeError):
        stripe.post(
            "/v1/billing_portal/sessions", **session, flow_data={"type": "payment_method_update"}
        )
    path = f"/v1/billing_portal/configurations/{made['id']}"
    stripe.post(path, features={"payment_method_update": {"enabled": True}})
    flow = stripe.post(
        "/v1/billing_portal/sessions", **session, flow_data={"type": "payment_method_update"}
    )
    assert flow["flow"]["type"] == "payment_method_update"
    stripe.post(path, active=False)
    with pytest.raises(StripeError, match="inactive"):
        stripe.post("/v1/billing_portal/sessions", **session)
    with pytest.raises(StripeError, match="No such configuration: 'bpc_x'") as caught:
        stripe.post("/v1/billing_portal/sessions", customer=customer, configuration="bpc_x")
    assert caught.value.status == 400


def test_a_subscription_by_checkout(stripe: Stripe) -> None:
    """The completed session names the customer, the subscription and the shop's own reference."""
    product = stripe.post("/v1/products", name="Clean")["id"]
    price = stripe.post(
        "/v1/prices",
        product=product,
        unit_amount=900,
        currency="usd",
        recurring={"interval": "month"},
    )
    session = stripe.post(
        "/v1/checkout/sessions",
        mode="subscription",
        line_items=[{"price": price["id"], "quantity": 2}],
        client_reference_id="ours-1",
        success_url="https://example.com",
    )
    done = stripe.post(f"/sandbox/checkout/{session['id']}/complete", email="ada@example.com")
    assert (done["status"], done["client_reference_id"]) == ("complete", "ours-1")
    assert stripe.get(f"/v1/subscriptions/{done['subscription']}")["status"] == "active"
    assert stripe.get(f"/v1/customers/{done['customer']}")["email"] == "ada@example.com"
    assert stripe.types()[-1] == "checkout.session.completed"


def test_a_stopped_world_starts_again(tmp_path: Path) -> None:
    """Objects, remembered answers and the clock survive, and what was due still falls due."""
    path = str(tmp_path / "state.sqlite3")
    first = build(state_path=path)
    customer = first.customer("pm_card_visa")
    subscription = first.subscription(customer)
    first.world.advance(86_400)
    first.world.call("POST", "/v1/products", {"name": "kept"}, "key")
    first.world.stop()
    second = build(state_path=path)
    assert second.world.now() == first.clock.at + 86_400
    assert second.get(f"/v1/customers/{customer}")["id"] == customer
    second.world.call("POST", "/v1/products", {"name": "kept"}, "key")
    assert len(second.get("/v1/products")["data"]) == 2
    second.world.advance(33 * 86_400)
    assert len(second.get("/v1/invoices", subscription=subscription["id"])["data"]) == 2
    second.world.stop()
