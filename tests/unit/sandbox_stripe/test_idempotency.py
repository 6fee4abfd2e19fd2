"""Idempotency keys: the same answer again, whatever it was."""

from __future__ import annotations

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import Stripe


def test_same_key_same_answer(stripe: Stripe) -> None:
    """A repeated request makes nothing new."""
    one = stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")
    two = stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")
    assert one == two
    assert len(stripe.get("/v1/customers")["data"]) == 1


def test_a_decline_is_replayed_too(stripe: Stripe) -> None:
    """A 402 stays a 402 under its key, though the card would do now: so a key must contain the payment method."""
    customer = stripe.customer("pm_card_chargeCustomerFail")
    invoice = stripe.invoice(customer)["id"]
    path = f"/v1/invoices/{invoice}/pay"
    with pytest.raises(StripeError) as first:
        stripe.world.call("POST", path, {}, "key")
    good = stripe.post("/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": good})
    with pytest.raises(StripeError) as again:
        stripe.world.call("POST", path, {}, "key")
    assert (first.value.status, again.value.status) == (402, 402)
    assert stripe.world.call("POST", path, {}, "other key")["status"] == "paid"


def test_same_key_other_request_is_an_error(stripe: Stripe) -> None:
    """Other parameters or another path under a key are refused."""
    stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")
    for path, params in (("/v1/customers", {"email": "x@y.z"}), ("/v1/products", {"name": "n"})):
        with pytest.raises(StripeError) as caught:
            stripe.world.call("POST", path, params, "key")
        assert (caught.value.status, caught.value.type) == (400, "idempotency_error")


def test_a_refused_request_does_not_use_its_key_up(stripe: Stripe) -> None:
    """What was refused before it began can be sent again under the same key, corrected."""
    with pytest.raises(StripeError):
        stripe.world.call("POST", "/v1/customers", {"foo": "1"}, "key")
    assert stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")["id"]


def test_a_key_is_forgotten_after_a_day(stripe: Stripe) -> None:
    """Then the same request is carried out anew, which is why nobody may send an old key again."""
    one = stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")
    stripe.world.advance(86_399)
    assert stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key") == one
    stripe.world.advance(1)
    assert stripe.world.call("POST", "/v1/customers", {"email": "a@b.c"}, "key")["id"] != one["id"]


def test_events_name_the_key_that_caused_them(stripe: Stripe) -> None:
    """`request.idempotency_key` tells whose doing an event is; what the clock does has none."""
    customer = stripe.customer("pm_card_visa")
    invoice = stripe.invoice(customer)["id"]
    stripe.events.clear()
    stripe.world.call("POST", f"/v1/invoices/{invoice}/pay", {}, "pay:1")
    assert {e["request"]["idempotency_key"] for e in stripe.events} == {"pay:1"}
    stripe.subscription(customer)
    stripe.events.clear()
    stripe.world.advance(32 * 86_400)
    assert {e["request"]["idempotency_key"] for e in stripe.events} == {None}
