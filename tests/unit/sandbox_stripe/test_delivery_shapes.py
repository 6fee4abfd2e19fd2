"""Signatures and the shapes of older API versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import stripe as library  # noqa: TID251  (the real client judges the stand-in)

from sandbox.stripe_api import make_parameters, params
from sandbox.stripe_api.delivery import signature
from sandbox.stripe_api.versions import render_for
from tests.unit.sandbox_stripe.conftest import Stripe


def test_the_library_accepts_the_signature() -> None:
    """What the sandbox signs, stripe-python verifies; another body it refuses."""
    header = signature("whsec_x", b'{"a":1}', 1_000)
    verify = library.WebhookSignature.verify_header
    assert verify('{"a":1}', header, "whsec_x") is True
    with pytest.raises(library.SignatureVerificationError):
        verify('{"a":2}', header, "whsec_x")


@pytest.mark.parametrize("version", ["2020-08-27", "2024-06-20"])
def test_old_endpoints_hear_the_old_shape(stripe: Stripe, version: str) -> None:
    """Before 2025-03-31 the subscription stands on the invoice itself."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    told = next(e for e in stripe.events if e["type"] == "invoice.paid")
    event = stripe.world.get("event", told["id"])
    old = render_for(event, version)
    invoice = old["data"]["object"]
    assert old["api_version"] == version
    assert (invoice["subscription"], invoice["paid"]) == (subscription["id"], True)
    assert invoice["payment_intent"].startswith("pi_")
    assert invoice["charge"].startswith("ch_")
    assert "parent" not in invoice
    assert "parent" in event["data"]["object"]
    assert render_for(event, "2025-04-30.basil") is event


def test_a_payment_names_its_invoice_in_the_shape_of_its_time(stripe: Stripe) -> None:
    """Before 2025-03-31 as its invoice; since then as the reference of its order."""
    stripe.subscription(stripe.customer("pm_card_visa"))
    told = next(e for e in stripe.events if e["type"] == "payment_intent.succeeded")
    now = told["data"]["object"]
    assert "invoice" not in now
    old = render_for(told, "2020-08-27")["data"]["object"]
    assert old["invoice"] == now["payment_details"]["order_reference"]
    assert old["invoice"].startswith("in_")


@pytest.mark.whole
def test_the_table_of_parameters_is_up_to_date() -> None:
    """The committed file is what the installed library's sources say."""
    made = make_parameters.build(Path(library.__file__).parent)
    assert made == params.table()
