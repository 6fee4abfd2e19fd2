"""Cards saved the old way, as sources: `card_…`, of which one is the customer's `default_source`.

https://docs.stripe.com/api/cards
"""

from __future__ import annotations

from typing import Any

from sandbox.stripe_api import payment_methods, test_methods
from sandbox.stripe_api.errors import missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.rendering import as_list, deleted, diff
from sandbox.stripe_api.routing import Params, route, route_of
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


def _saved(world: World, customer_id: str) -> list[Object]:
    """The customer's sources, newest first."""
    methods = world.store.newest("payment_method", "customer", customer_id)
    return [method for method in methods if method["id"].startswith("card_")]


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


@route("GET", "/v1/customers/{customer}/sources/{source}")
def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
    """One."""
    return shown(of_customer(world, world.get("customer", ids["customer"]), ids["source"]))


@route("POST", "/v1/customers/{customer}/sources/{source}")
def update(world: World, ids: dict[str, str], params: Params) -> Object:
    """Change a saved card's expiry, name or metadata."""
    world.get("customer", ids["customer"])
    method = world.get("payment_method", ids["source"])
    change = {key: value for key, value in params.items() if key == "metadata"}
    card = {key: int(params[key]) for key in ("exp_month", "exp_year") if params.get(key)}
    before = shown(method)
    with world.edit(method, "payment_method.updated"):
        payment_methods.change(method, {**change, "card": card})
    return tell_change(world, method, before)


def tell_change(world: World, method: Object, before: Object) -> Object:
    """Tell that a saved card is not what it was `before`; the card now."""
    source = shown(method)
    previous = diff(before, source)
    if previous:
        world.emit("customer.source.updated", source, previous)
    return source


@route("DELETE", "/v1/customers/{customer}/sources/{source}")
def delete(world: World, ids: dict[str, str], params: Params) -> Object:
    """Gone; the one that was saved last becomes the default, if this was it."""
    customer = world.get("customer", ids["customer"])
    method = of_customer(world, customer, ids["source"])
    was_default = customer["default_source"] == method["id"]
    payment_methods.detach(world, method)
    left = _saved(world, customer["id"])
    if was_default and left:
        with world.edit(customer, "customer.updated"):
            customer["default_source"] = left[0]["id"]
    world.emit("customer.source.deleted", shown(method))
    return deleted(shown(method))


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


@included("customer", "sources")
def _sources(world: World, customer: Object) -> Object:
    found = [shown(method) for method in _saved(world, customer["id"])]
    return as_list(found, f"/v1/customers/{customer['id']}/sources")


def _default_source(world: World, one: Object) -> Object | None:
    method = world.store.get(one["default_source"]) if one["default_source"] else None
    return shown(method) if method else None


for _kind in ("customer", "invoice", "subscription"):
    included(_kind, "default_source")(_default_source)
