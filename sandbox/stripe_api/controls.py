"""What the console and the tests make happen: `/sandbox/…`, over HTTP as JSON or through `world.call`."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox.stripe_api import (
    collection,
    dunning,
    payment_methods,
    setup_intents,
    sources,
    subscription_cycle,
)
from sandbox.stripe_api.checkout import complete
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.declines import card_decline
from sandbox.stripe_api.delivery import Weather
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.invoice_objects import intent_of
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


@route("POST", "/sandbox/customers/{customer}/decline_next")
def decline_next(world: World, ids: dict[str, str], params: Params) -> Object:
    """The customer's next charge is declined, with `code` and `decline_code` (default: insufficient funds)."""
    customer = alive(world, ids["customer"], "id")
    decline = card_decline(params.get("code"), params.get("decline_code"))
    customer["_decline_next"] = {"code": decline.code, "decline_code": decline.decline_code}
    world.save(customer)
    return {"customer": customer["id"], **customer["_decline_next"]}


@route("POST", "/sandbox/customers/{customer}/charge_now")
def charge_now(world: World, ids: dict[str, str], params: Params) -> Object:
    """The next cycle of the customer's subscription begins now and is charged; answers with its invoice."""
    customer = alive(world, ids["customer"], "id")
    for subscription in world.store.newest("subscription", "customer", customer["id"]):
        if subscription["status"] in subscription_cycle.LIVING:
            return subscription_cycle.charge_now(world, subscription)
    raise StripeError("This customer has no subscription that could be charged.", param="customer")


@route("GET", "/sandbox/customers/{customer}/settlement")
def settlement(world: World, ids: dict[str, str], params: Params) -> Object:
    """`at`: when the bank's answer to the first of the customer's debits is due; null when none is under way."""
    customer = alive(world, ids["customer"], "id")
    due = [
        intent["_settles_at"]
        for intent in world.store.oldest("payment_intent", "customer", customer["id"])
        if intent["_settles_at"]
    ]
    return {"at": min(due, default=None)}


@route("POST", "/sandbox/clock")
def clock(world: World, ids: dict[str, str], params: Params) -> Object:
    """Run the world's clock forward: `advance_seconds`, or `to` a time in seconds or `next_retry`."""
    to = params.get("to")
    if to == "next_retry":
        to = next_retry(world)
        if to is None:
            raise StripeError("No retry is planned.", param="to")
    seconds = params.get("advance_seconds")
    if to is None and not isinstance(seconds, int):
        raise StripeError("Give advance_seconds, or to.", param="advance_seconds")
    return {"now": world.advance(seconds, to=int(to) if to is not None else None)}


@route("GET", "/sandbox/clock")
def read_clock(world: World, ids: dict[str, str], params: Params) -> Object:
    """The world's time and when the next retry is due."""
    return {"now": world.now(), "next_retry": next_retry(world)}


def next_retry(world: World) -> int | None:
    """When the first open invoice in the world's time is tried again; never a customer's on a test clock."""
    due = [
        invoice["next_payment_attempt"]
        for invoice in world.store.oldest("invoice", "status", "open")
        if invoice["next_payment_attempt"] and not invoice["test_clock"]
    ]
    return min(due, default=None)


@route("POST", "/sandbox/webhooks", takes=Weather)
def webhooks(world: World, ids: dict[str, str], params: Params) -> Object:
    """How deliveries behave from now on: `duplicate`, `shuffle`, `delay_seconds`, `enabled`, `drop`."""
    world.delivery.change_weather(msgspec.structs.replace(world.delivery.weather, **params))
    return read_webhooks(world, ids, {})


@route("GET", "/sandbox/webhooks")
def read_webhooks(world: World, ids: dict[str, str], params: Params) -> Object:
    """How deliveries behave now."""
    shown: Object = msgspec.to_builtins(world.delivery.weather)
    return shown


@route_of("event", "POST", "/sandbox/events/{event}/resend")
def resend(world: World, event: Object, params: Params) -> Object:
    """Deliver an event again to every endpoint that heard of it (or to all, if none did)."""
    endpoints = list(event["_deliveries"]) or [
        endpoint["id"] for endpoint in world.store.oldest("webhook_endpoint")
    ]
    return {"event": event["id"], "endpoints": world.delivery.resend(world.store, event, endpoints)}


@route_of("payment_intent", "POST", "/sandbox/payment_intents/{intent}/authenticate")
def authenticate(world: World, intent: Object, params: Params) -> Object:
    """The customer confirms at the bank (`{"succeed": false}`: refuses)."""
    collection.authenticate(world, intent, agreed=params.get("succeed", True) is not False)
    return intent


@route_of("setup_intent", "POST", "/sandbox/setup_intents/{intent}/authenticate")
def authenticate_setup(world: World, intent: Object, params: Params) -> Object:
    """The same for a card that is being saved."""
    setup_intents.authenticate(world, intent, agreed=params.get("succeed", True) is not False)
    return intent


@route_of("invoice", "POST", "/sandbox/invoices/{invoice}/authenticate")
def authenticate_invoice(world: World, invoice: Object, params: Params) -> Object:
    """The customer confirms the payment of an invoice."""
    intent = intent_of(world, invoice)
    if intent is None:
        raise StripeError("This invoice asks for no payment.")
    collection.authenticate(world, intent, agreed=params.get("succeed", True) is not False)
    return invoice


@route_of("invoice", "POST", "/sandbox/invoices/{invoice}/reschedule")
def reschedule(world: World, invoice: Object, params: Params) -> Object:
    """Stripe changes its mind about the next try: to the time `next_payment_attempt`, or to none (null)."""
    at = params.get("next_payment_attempt")
    if not dunning.collected_by_stripe(invoice) or (at is not None and type(at) is not int):
        raise StripeError("Only an open invoice that Stripe collects has a next try.")
    with world.edit(invoice, "invoice.updated"):
        invoice["next_payment_attempt"] = at
    return invoice


@route_of("payment_method", "POST", "/sandbox/payment_methods/{method}/automatically_update")
def automatically_update(world: World, method: Object, params: Params) -> Object:
    """The bank has sent a new card and the network tells Stripe its expiry (default: four years from now)."""
    card: dict[str, Any] = method["card"]
    before = {"card": {"exp_month": card["exp_month"], "exp_year": card["exp_year"]}}
    source = sources.shown(method)
    card["exp_month"] = int(params.get("exp_month", card["exp_month"]))
    card["exp_year"] = int(params.get("exp_year", card["exp_year"] + 4))
    world.save(method)
    if method["id"].startswith("card_"):
        sources.tell_change(world, method, source)
    else:
        world.emit("payment_method.automatically_updated", method, before)
    return payment_methods.shown(method) or {}


@route_of("checkout.session", "POST", "/sandbox/checkout/{session}/complete")
def complete_checkout(world: World, session: Object, params: Params) -> Object:
    """The customer pays at the hosted checkout, with `payment_method` (default `pm_card_visa`)."""
    return complete(world, session, params.get("payment_method", "pm_card_visa"), params)
