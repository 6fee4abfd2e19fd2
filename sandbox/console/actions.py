"""What the console's buttons do, and the sentence that says what happened and where to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sandbox.console import people
from sandbox.pages import billing, wording
from sandbox.pages.billing import Json, Stripe
from sandbox.stripe_api.errors import StripeError


class World(Stripe, Protocol):
    """What the console needs of the sandbox's world."""

    def advance(self, seconds: int | None = None, *, to: int | None = None) -> int: ...


@dataclass(frozen=True)
class Notice:
    """What a button did. ``tone`` is empty, ``warn`` or ``bad``; ``links`` are (label, address)."""

    text: str
    tone: str = ""
    links: tuple[tuple[str, str], ...] = ()


EXTRA = "Extra visit"
EXTRA_PRICE = {"amount": 8900, "currency": "usd"}
"""What a customer without a subscription is charged for, in minor units."""
INBOX = ("Open the inbox", "/inbox")


def decline(world: World, customer_id: str, name: str) -> Notice:
    """The customer's bank declines, and Stripe charges now."""
    world.call("POST", f"/sandbox/customers/{customer_id}/decline_next")
    return _charged(world, customer_id, name)


def charge(world: World, customer_id: str, name: str) -> Notice:
    """Stripe charges now what would be charged next."""
    return _charged(world, customer_id, name)


def _charged(world: World, customer_id: str, name: str) -> Notice:
    invoice = _next_invoice(world, customer_id)
    amount = wording.money(invoice.get("total") or 0, invoice["currency"])
    if invoice["status"] == "paid":
        return Notice(f"{name} was charged {amount}, and the card took it.")
    if invoice["status"] != "open":
        return Notice(f"Nothing was charged: {name}’s invoice is {invoice['status']}.")
    return Notice(
        f"{name}’s charge of {amount} was declined. A mail with one button is on its way.",
        "warn",
        (INBOX,),
    )


def _next_invoice(world: World, customer_id: str) -> Json:
    """Charge the next period of a subscription, or an extra visit where there is none."""
    if world.call("GET", "/v1/subscriptions", {"customer": customer_id})["data"]:
        return world.call("POST", f"/sandbox/customers/{customer_id}/charge_now")
    world.call(
        "POST",
        "/v1/invoiceitems",
        {"customer": customer_id, "description": EXTRA, **EXTRA_PRICE},
    )
    draft = world.call(
        "POST",
        "/v1/invoices",
        {"customer": customer_id, "pending_invoice_items_behavior": "include"},
    )
    try:
        return world.call("POST", f"/v1/invoices/{draft['id']}/pay")
    except StripeError as error:
        if error.status != 402:
            raise
        return world.call("GET", f"/v1/invoices/{draft['id']}")


def expire(world: World, customer_id: str, name: str) -> Notice:
    """The card that would be charged next runs out: its expiry moves to the month before."""
    method_id = charged_method(world, customer_id)
    if method_id is None:
        return Notice(f"{name} has no card that could expire.", "bad")
    first = datetime.fromtimestamp(world.now(), UTC).replace(day=1)
    before = first - timedelta(days=1)
    world.call(
        "POST",
        f"/v1/payment_methods/{method_id}",
        {"card": {"exp_month": before.month, "exp_year": before.year}},
    )
    return Notice(
        f"{name}’s card expired in {before:%B %Y}. The next charge is declined for that reason: "
        "“Charge now” shows it.",
        "warn",
    )


def charged_method(world: World, customer_id: str) -> str | None:
    """The payment method that Stripe would charge: the subscription's own, else the default."""
    subscriptions = world.call("GET", "/v1/subscriptions", {"customer": customer_id})["data"]
    for subscription in subscriptions:
        if subscription.get("default_payment_method"):
            return str(subscription["default_payment_method"])
    return billing.default_method_id(world.call("GET", f"/v1/customers/{customer_id}"))


def retry(world: World, customer_id: str, name: str) -> Notice:
    """Run the world's clock to the moment Stripe tries the customer's open invoice again."""
    owed = people.open_invoices(world, customer_id)
    due = [one["next_payment_attempt"] for one in owed if one.get("next_payment_attempt")]
    if not due:
        return Notice(f"No retry is planned for {name}: nothing failed, or all tries are used up.")
    world.advance(to=min(due) + 1)
    still = people.open_invoices(world, customer_id)
    when = wording.day(world.now())
    if len(still) < len(owed):
        return Notice(f"It is {when} now. The retry went through: {name} owes nothing for it.")
    return Notice(
        f"It is {when} now. Stripe tried {name}’s card again, and it was declined again.",
        "warn",
        (INBOX,),
    )


ACTIONS: dict[str, Callable[[Any, str, str], Notice]] = {
    "decline": decline,
    "charge": charge,
    "expire": expire,
    "retry": retry,
}


def act(world: World, action: str, customer_id: str, name: str) -> Notice:
    """Do what a button says; an error of Stripe's becomes a notice too."""
    try:
        return ACTIONS[action](world, customer_id, name)
    except StripeError as error:
        return Notice(f"That did not work for {name}: {error.message}", "bad")
