"""What the console's buttons do, and the sentence that says what happened and where to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.pages import wording
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError


@dataclass(frozen=True)
class Notice:
    """What a button did. ``tone`` is empty, ``warn`` or ``bad``; ``links`` are (label, address)."""

    text: str
    tone: str = ""
    links: tuple[tuple[str, str], ...] = ()


Action = Callable[[Any, str, str], Notice]
"""(world, id of the Stripe customer, their name) to what happened."""

INBOX = ("Open the inbox", "/inbox")


def open_invoices(stripe: AccountApi, customer_id: str) -> list[Json]:
    """Invoices that wait for payment, newest first."""
    found = stripe.call(
        "GET", "/v1/invoices", {"customer": customer_id, "status": "open", "limit": 100}
    )
    data: list[Json] = found["data"]
    return data


def subscription_of(stripe: AccountApi, customer_id: str) -> Json | None:
    """The customer's newest subscription that is not over, with its discounts' coupons; None without one."""
    found = stripe.call(
        "GET",
        "/v1/subscriptions",
        {"customer": customer_id, "limit": 1, "expand": ["data.discounts.source.coupon"]},
    )["data"]
    return found[0] if found else None


def amount_of(invoice: Json, field: str = "amount_remaining") -> str:
    """An amount of an invoice in words."""
    return wording.money(invoice[field] or 0, invoice["currency"])


def act(action: Action, world: AccountApi, customer_id: str, name: str) -> Notice:
    """Do what a button says; an error of Stripe's becomes a notice too."""
    try:
        return action(world, customer_id, name)
    except StripeError as error:
        return Notice(f"That did not work for {name}: {error.message}", "bad")
