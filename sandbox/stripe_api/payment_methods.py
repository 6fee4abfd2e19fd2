"""Payment methods: made from test tokens and numbers, attached, detached, updated."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sandbox.stripe_api import method_shapes, test_methods
from sandbox.stripe_api.declines import CARD_DECLINES
from sandbox.stripe_api.errors import StripeError, missing, parameter_missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.listing import narrowed, page
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given
from sandbox.stripe_api.world import World

NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def make(
    world: World, name: str, params: Params, at: Object | None = None, *, prefix: str = "pm"
) -> Object:
    """A new, unattached payment method that behaves as the test payment method `name`.

    `params` are those of `POST /v1/payment_methods`; `at` is the customer in whose time it is made. One that was made
    as a source has an id of its kind (`card_…`), and works wherever a payment method does.
    """
    spec = test_methods.SPECS[name]
    now = world.now_for(at)
    billing = params.get("billing_details") or {}
    method: Object = {
        **world.head("payment_method", new_id(prefix), now, params),
        "allow_redisplay": params.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": {**NO_ADDRESS, **(billing.get("address") or {})},
            "tax_id": None,
            **as_given(billing, "email name phone"),
        },
        "customer": None,
        "customer_account": None,
        "type": spec.type,
        "_spec": name,
        "_set_up": False,
    }
    method[spec.type] = method_shapes.details(spec, params.get(spec.type) or {}, now)
    world.save(method)
    return method


def expired(method: Object, now: int) -> bool:
    """Whether a card's last month is over."""
    card = method.get("card")
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    return card is not None and (card["exp_year"], card["exp_month"]) < (today.year, today.month)


def resolve(world: World, id: str, param: str, customer: Object | None = None) -> Object:
    """The payment method a parameter names. A magic name (`pm_card_visa`) makes a fresh one each time."""
    name = test_methods.known(id) if id.startswith("pm_") and world.store.get(id) is None else None
    if name is not None:
        return make(world, name, {}, customer)
    return world.get("payment_method", id, param)


def asked_for(world: World, params: Params, customer: Object | None = None) -> Object | None:
    """The `payment_method` of a request; None where it names none."""
    id = params.get("payment_method")
    return resolve(world, id, "payment_method", customer) if id else None


def attach(world: World, method: Object, customer: Object) -> None:
    """Save a payment method to a customer; raises the 402 of a card that its bank refuses at once."""
    if method["customer"] == customer["id"]:
        return
    if method["customer"] is not None:
        raise StripeError(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    spec = test_methods.SPECS[method["_spec"]]
    if spec.on_attach is not None:
        raise CARD_DECLINES[spec.on_attach].error()
    now = world.now_for(customer)
    if expired(method, now):
        raise CARD_DECLINES["expired_card"].error(param="exp_month")
    method["customer"] = customer["id"]
    method["_clock"] = customer.get("test_clock")
    if method.get("card") and method["card"]["checks"]["cvc_check"] == "unchecked":
        method["card"]["checks"]["cvc_check"] = "pass"
    world.save(method, "payment_method.attached")


def of_customer(world: World, id: str, customer: Object, param: str) -> Object:
    """The payment method a parameter names, attached to the customer; a magic name is attached on the way."""
    method = resolve(world, id, param, customer)
    if method["customer"] is None and test_methods.known(id) is not None:
        attach(world, method, customer)
    if method["customer"] != customer["id"]:
        raise StripeError(
            f"The customer does not have a payment method with the ID {id}. The payment method must be attached to "
            "the customer.",
            code="resource_missing",
            param=param,
        )
    return method


def detach(world: World, method: Object) -> None:
    """Take a payment method from its customer; defaults that named it become null."""
    customer_id = method["customer"]
    if customer_id is None:
        raise StripeError(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            code="payment_method_unexpected_state",
        )
    with world.edit(method):
        method["customer"] = None
    world.emit("payment_method.detached", method, {"customer": customer_id})
    customer = world.get("customer", customer_id)
    with world.edit(customer, "customer.updated"):
        if customer["invoice_settings"]["default_payment_method"] == method["id"]:
            customer["invoice_settings"]["default_payment_method"] = None
        if customer["default_source"] == method["id"]:
            customer["default_source"] = None
    for subscription in world.store.oldest("subscription", "customer", customer_id):
        if subscription["default_payment_method"] == method["id"]:
            with world.edit(subscription, "customer.subscription.updated"):
                subscription["default_payment_method"] = None


@route("POST", "/v1/payment_methods")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """`card[token]=tok_visa`, `card[number]=4242…`, `us_bank_account[account_number]`, `sepa_debit[iban]`, …"""
    type = params.get("type")
    if type is None:
        raise parameter_missing("type")
    if type not in test_methods.TYPES:
        raise StripeError(
            f"The payment method type {type} is not available in this sandbox.", param="type"
        )
    details: Any = params.get(type) or {}
    if type == "card" and details.get("token"):
        name = test_methods.known(details["token"])
        if name is None:
            raise missing("token", details["token"], "card[token]")
    else:
        field = test_methods.NUMBER_FIELD.get(type, "account_number")
        if field not in details:
            raise parameter_missing(f"{type}[{field}]")
        name = test_methods.by_number(details[field], type)
    method = make(world, name, params)
    if params.get("customer"):
        attach(world, method, world.get("customer", params["customer"], "customer"))
    return method


@route("GET", "/v1/payment_methods")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """All, or a customer's, of one type if `type` says so."""
    if params.get("customer"):
        world.get("customer", params["customer"], "customer")
    key = narrowed("payment_method", params, "customer")
    return page(world, key, params, _of_type(params), url="/v1/payment_methods")


@route_of("customer", "GET", "/v1/customers/{customer}/payment_methods")
def list_of_customer(world: World, customer: Object, params: Params) -> Object:
    """What a customer has saved, newest first."""
    key = ("payment_method", "customer", customer["id"])
    url = f"/v1/customers/{customer['id']}/payment_methods"
    return page(world, key, params, _of_type(params), url=url)


def _of_type(params: Params) -> Any:
    wanted = params.get("type")
    return (lambda method: method["type"] == wanted) if wanted else None


@route("GET", "/v1/payment_methods/{payment_method}")
def retrieve(world: World, ids: dict[str, str], params: Params) -> Object:
    """One, attached or not; a magic name shows what it would become."""
    return resolve(world, ids["payment_method"], "")


@route("POST", "/v1/payment_methods/{payment_method}/attach")
def attach_route(world: World, ids: dict[str, str], params: Params) -> Object:
    """Save to a customer. A magic name answers with the fresh `pm_…` that was saved."""
    if not params.get("customer"):
        raise parameter_missing("customer")
    customer = world.get("customer", params["customer"], "customer")
    method = resolve(world, ids["payment_method"], "", customer)
    attach(world, method, customer)
    return method


@route_of("payment_method", "POST", "/v1/payment_methods/{payment_method}/detach")
def detach_route(world: World, method: Object, params: Params) -> Object:
    """Take from its customer."""
    detach(world, method)
    return method


@route_of("payment_method", "POST", "/v1/payment_methods/{payment_method}")
def update(world: World, method: Object, params: Params) -> Object:
    """Billing details, metadata and a card's expiry."""
    if method["customer"] is None:
        raise StripeError(
            "You must save this PaymentMethod to a customer before you can update it.",
            code="payment_method_unexpected_state",
        )
    with world.edit(method, "payment_method.updated"):
        change(method, params)
    return method


def change(method: Object, params: Params) -> None:
    """Put new billing details, metadata or expiry into a payment method (not saved yet)."""
    billing = params.get("billing_details") or {}
    for field, value in billing.items():
        if field == "address":
            method["billing_details"]["address"] = {**NO_ADDRESS, **(value or {})}
        else:
            method["billing_details"][field] = value
    for field in ("exp_month", "exp_year"):
        if method["type"] == "card" and field in (params.get("card") or {}):
            method["card"][field] = params["card"][field]
    take(method, params, "allow_redisplay")


def shown(method: Object | None) -> Object | None:
    """The payment method as it is embedded in errors."""
    return public(method) if method is not None else None
