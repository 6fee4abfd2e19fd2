"""Many customers with a past."""

from __future__ import annotations

import pytest

from sandbox.config import SandboxConfig
from sandbox.stripe_api import StripeApi
from sandbox.stripe_api.errors import StripeError


def test_a_crowd_is_listed_and_told_by_no_event() -> None:
    """Each has an address and a time of its own, the newest first, as Stripe lists them."""
    world = StripeApi(SandboxConfig())
    customer = world.call("POST", "/v1/customers", {"email": "first@example.com"})
    events = len(world.call("GET", "/v1/events", {"limit": 100})["data"])
    made = world.call("POST", "/sandbox/crowd", {"customers": 30, "customer": customer["id"]})
    assert made["customers"] == 30
    listed = world.call("GET", "/v1/customers", {"limit": 100})["data"]
    assert len({one["email"] for one in listed}) == 31
    created = [one["created"] for one in listed if one["id"] != customer["id"]]
    assert created == sorted(created, reverse=True)
    assert len(set(created)) == 30
    assert len(world.call("GET", "/v1/events", {"limit": 100})["data"]) == events


def test_whoever_is_subscribed_is_a_customer() -> None:
    """There are no more subscriptions and invoices than customers."""
    world = StripeApi(SandboxConfig())
    customer = world.call("POST", "/v1/customers", {"email": "first@example.com"})
    for wrong in (
        {"subscriptions": 1},
        {"customers": -1},
        {"customers": "7"},
        {"customers": 10**6},
    ):
        with pytest.raises(StripeError):
            world.call("POST", "/sandbox/crowd", {"customer": customer["id"], **wrong})
