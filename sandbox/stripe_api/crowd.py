"""Many customers at once, for trying what an account with a past does: `/sandbox/crowd`."""

from __future__ import annotations

from typing import Any, Final

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object, copy
from sandbox.stripe_api.world import World

MOST: Final = 100_000
APART: Final = 600
"""Seconds between two that were made."""


@route("POST", "/sandbox/crowd")
def crowd(world: World, ids: dict[str, str], params: Params) -> Object:
    """Copies of what is there, made in the past and told by no event: `customers` of the customer `customer`; for the first of them
    `subscriptions` of `subscription`, one each; and `invoices` of `invoice`, one each in turn: more of them than customers are several for
    the first ones."""
    wanted = {name: params.get(name, 0) for name in ("customers", "subscriptions", "invoices")}
    if any(type(number) is not int or not 0 <= number <= MOST for number in wanted.values()):
        raise StripeError(f"customers, subscriptions, invoices: expected numbers up to {MOST}")
    if wanted["subscriptions"] > wanted["customers"]:
        raise StripeError("Each subscription has a customer of its own.")
    if wanted["invoices"] and not wanted["customers"]:
        raise StripeError("Each invoice has a customer of the crowd.")
    begin = world.now() - APART * (wanted["customers"] + 1)
    customer = world.get("customer", params.get("customer", ""), "customer")
    made: list[str] = []
    for number in range(wanted["customers"]):
        like = {"email": f"crowd{number}@example.com", "name": f"Crowd {number}"}
        made.append(_copied(world, customer, "cus", begin + APART * number, **like))
    subscriptions: list[str] = []
    for number in range(wanted["subscriptions"]):
        given = world.get("subscription", params.get("subscription", ""), "subscription")
        at = begin + APART * number
        subscriptions.append(_copied(world, given, "sub", at, customer=made[number]))
    many, most = wanted["customers"], max(wanted["invoices"], wanted["customers"])
    for number in range(wanted["invoices"]):
        invoice = world.get("invoice", params.get("invoice", ""), "invoice")
        details: Any = copy(invoice.get("parent"))
        whose = number % many
        if whose < len(subscriptions) and details and details.get("subscription_details"):
            details["subscription_details"]["subscription"] = subscriptions[whose]
        at = begin + APART * many * number // most
        _copied(world, invoice, "in", at, customer=made[whose], parent=details)
    return wanted


def _copied(world: World, like: Object, prefix: str, at: int, **fields: Any) -> str:
    one = {**copy(like), **fields, "id": new_id(prefix, 14), "created": at}
    if "next_payment_attempt" in one:
        one["next_payment_attempt"] = None  # nothing of the crowd moves by itself
    world.save(one)
    return str(one["id"])
