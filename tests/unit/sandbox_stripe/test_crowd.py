"""Many customers with a past."""

from __future__ import annotations

from collections import Counter

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


def test_a_crowd_can_owe_several_invoices_each() -> None:
    """In turn: of more invoices than customers the first customers have one more."""
    world = StripeApi(SandboxConfig())
    customer = world.call("POST", "/v1/customers", {"email": "first@example.com"})["id"]
    world.call("POST", "/v1/invoiceitems", {"customer": customer, "amount": 500, "currency": "usd"})
    like = world.call("POST", "/v1/invoices", {"customer": customer})["id"]
    wanted = {"customers": 3, "invoices": 5, "customer": customer, "invoice": like}
    world.call("POST", "/sandbox/crowd", wanted)
    listed = world.call("GET", "/v1/invoices", {"limit": 100})["data"]
    owing = Counter(one["customer"] for one in listed if one["customer"] != customer)
    assert sorted(owing.values()) == [1, 2, 2]
    assert len({one["id"] for one in listed}) == 6
    created = [one["created"] for one in listed if one["id"] != like]
    assert created == sorted(created, reverse=True)


def test_whoever_is_subscribed_is_a_customer() -> None:
    """There are no more subscriptions than customers, and no invoice of nobody."""
    world = StripeApi(SandboxConfig())
    customer = world.call("POST", "/v1/customers", {"email": "first@example.com"})
    for wrong in (
        {"subscriptions": 1},
        {"invoices": 1},
        {"customers": -1},
        {"customers": "7"},
        {"customers": 10**6},
    ):
        with pytest.raises(StripeError):
            world.call("POST", "/sandbox/crowd", {"customer": customer["id"], **wrong})
