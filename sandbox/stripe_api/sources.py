"""Cards saved the old way, as sources: `card_…`, of which one is the customer's `default_source`.

https://docs.stripe.com/api/cards
"""

from __future__ import annotations

from typing import Any

from sandbox.stripe_api import payment_methods, test_methods
from sandbox.stripe_api.errors import missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.rendering import diff
from sandbox.stripe_api.routing import Params, route_of
from sandbox.stripe_api.store import Object, as_given
from sandbox.stripe_api.world import World


def attach_new(world: World, customer: Object, token: str) -> Object:
    """Save what a token (`tok_visa`) stands for as a source of the customer."""
    name = test_methods.known(token)
    if name is None:
        raise missing("token", token, "source")
    method = payment_methods.make(world, name, {}, customer, prefix="card")
    payment_methods.attach(world, method, customer)
    return method


def of_customer(world: World, customer: Object, id: str, param: str | None = None) -> Object:
    """The customer's source with an id; raises Stripe's error if there is none."""
    method = world.store.get(id)
    if method is None or not id.startswith("card_") or method["customer"] != customer["id"]:
        raise missing("source", id, param)
    return method


@route_of("customer", "POST", "/v1/customers/{customer}/sources")
def add(world: World, customer: Object, params: Params) -> Object:
    """Save `source=tok_visa`; the first one is the default."""
    method = attach_new(world, customer, str(params.get("source")))
    with world.edit(customer, "customer.updated"):
        if customer["default_source"] is None:
            customer["default_source"] = method["id"]
    source = shown(method)
    world.emit("customer.source.created", source)
    return source


def tell_change(world: World, method: Object, before: Object) -> Object:
    """Tell that a saved card is not what it was `before`; the card now."""
    source = shown(method)
    previous = diff(before, source)
    if previous:
        world.emit("customer.source.updated", source, previous)
    return source


def shown(method: Object) -> Object:
    """A saved card as Stripe shows it."""
    card: dict[str, Any] = method.get("card") or {}
    return {
        "id": method["id"],
        "object": "card",
        "brand": str(card.get("brand", "")).title(),
        "country": "US",
        "customer": method["customer"],
        "funding": "credit",
        "metadata": method["metadata"],
        "name": method["billing_details"]["name"],
        **as_given(card, "exp_month exp_year fingerprint last4"),
    }


def _default_source(world: World, one: Object) -> Object | None:
    method = world.store.get(one["default_source"]) if one["default_source"] else None
    return shown(method) if method else None


for _kind in ("customer", "invoice", "subscription"):
    included(_kind, "default_source")(_default_source)
