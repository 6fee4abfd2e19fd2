"""A Stripe in memory with a clock that the test sets, and a customer with a subscription in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.config import SandboxConfig
from sandbox.stripe_api import StripeApi

START = 1_790_000_000
DAY = 86_400


@dataclass
class Clock:
    """Real time, as the test has it."""

    at: float = START

    def __call__(self) -> float:
        return self.at


@dataclass
class Stripe:
    """A world, its clock and the events that it told of."""

    world: StripeApi
    clock: Clock
    events: list[dict[str, Any]] = field(default_factory=list)

    def post(self, path: str, /, **params: Any) -> dict[str, Any]:
        return self.world.call("POST", path, params)

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        return self.world.call("GET", path, params)

    def delete(self, path: str, /, **params: Any) -> dict[str, Any]:
        return self.world.call("DELETE", path, params)

    def types(self) -> list[str]:
        """The types of the events since the last look."""
        seen = [event["type"] for event in self.events]
        self.events.clear()
        return seen

    def customer(self, card: str | None = None, **params: Any) -> str:
        """A customer, with a default card if one is named."""
        id: str = self.post("/v1/customers", email="ada@example.com", **params)["id"]
        if card:
            method = self.post(f"/v1/payment_methods/{card}/attach", customer=id)
            self.post(
                f"/v1/customers/{id}", invoice_settings={"default_payment_method": method["id"]}
            )
        return id

    def subscription(self, customer: str, **params: Any) -> dict[str, Any]:
        """A monthly subscription of 49 dollars."""
        price = {
            "currency": "usd",
            "unit_amount": 4900,
            "recurring": {"interval": "month"},
            "product": self.post("/v1/products", name="Weekly clean")["id"],
        }
        id = self.post("/v1/prices", **price)["id"]
        return self.post("/v1/subscriptions", customer=customer, items=[{"price": id}], **params)

    def invoice(self, customer: str, amount: int = 2000, **params: Any) -> dict[str, Any]:
        """A draft over an amount."""
        self.post("/v1/invoiceitems", customer=customer, amount=amount, currency="usd")
        return self.post(
            "/v1/invoices", customer=customer, pending_invoice_items_behavior="include", **params
        )


def build(**config: Any) -> Stripe:
    """A world of its own."""
    clock = Clock()
    stripe = Stripe(StripeApi(SandboxConfig(clock=clock, **config)), clock)
    stripe.world.on_event(stripe.events.append)
    return stripe


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    made = build()
    yield made
    made.world.stop()
