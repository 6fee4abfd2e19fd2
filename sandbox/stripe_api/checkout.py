"""Checkout sessions: paying, subscribing and saving a card at Stripe's hosted page.

There is no page: `complete` does what a customer would do there.
"""

from __future__ import annotations

from typing import Any

from sandbox.stripe_api import payment_methods, payments, pricing, setup_intents, subscriptions
from sandbox.stripe_api.catalogue import price_for
from sandbox.stripe_api.clock import DUE
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.customers import create as create_customer
from sandbox.stripe_api.errors import StripeError, parameter_missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.ids import new_id, secret
from sandbox.stripe_api.listing import narrowed, page
from sandbox.stripe_api.rendering import as_list, public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given, nulls
from sandbox.stripe_api.world import RUN, World

KIND = "checkout.session"
SUBSCRIPTION_DATA = (
    "description",
    "metadata",
    "on_behalf_of",
    "trial_end",
    "trial_period_days",
    "trial_settings",
)
LIVES = 24 * 3600
"""Seconds after which an open session expires."""


@route("POST", "/v1/checkout/sessions", legacy={"payment_method_types": ["list", "string"]})
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A session of mode `payment`, `subscription` or `setup`."""
    mode = params.get("mode", "payment")
    if mode != "setup" and not params.get("line_items"):
        raise parameter_missing("line_items")
    customer = alive(world, params["customer"]) if params.get("customer") else None
    lines = [_line(world, given, n) for n, given in enumerate(params.get("line_items") or [])]
    total = sum(line["amount_total"] for line in lines)
    now = world.now_for(customer)
    id = f"cs_{world.place.mode}_{new_id('x', 48)[2:]}"
    currency = lines[0]["currency"] if lines else params.get("currency")
    session: Object = {
        **world.head(KIND, id, now, params),
        "amount_subtotal": total if lines else None,
        "amount_total": total if lines else None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "currency": currency,
        "customer": customer["id"] if customer else None,
        "expires_at": params.get("expires_at") or now + LIVES,
        "mode": mode,
        "payment_method_collection": params.get("payment_method_collection", "always"),
        "payment_method_types": params.get("payment_method_types") or ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"{world.public_url}/c/pay/{id}#{secret('fid')}",
        **as_given(
            params,
            "cancel_url client_reference_id customer_creation customer_email locale return_url "
            "submit_type success_url",
        ),
        **nulls(
            "client_secret customer_account customer_details invoice payment_intent payment_link "
            "setup_intent subscription"
        ),
        "_clock": customer.get("test_clock") if customer else None,
        "_application": world.application,
        "_lines": lines,
        "_intent_data": params.get("payment_intent_data") or {},
        "_subscription_data": params.get("subscription_data") or {},
    }
    world.save(session)
    return session


def _line(world: World, given: Params, index: int) -> Object:
    price = price_for(world, given, f"line_items[{index}]")
    quantity = given.get("quantity", 1)
    amount = 0 if pricing.is_metered(price) else pricing.cost(price, quantity)
    product = world.store.get(price["product"])
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": product["name"] if product else None,
        "price": public(price),
        "quantity": quantity,
    }


@included(KIND, "line_items")
def _lines(world: World, session: Object) -> Object:
    return _lines_of(world, session["id"])


@route("GET", "/v1/checkout/sessions")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """All, or a customer's, by status, subscription or payment intent."""
    key = narrowed(KIND, params, "subscription", "payment_intent", "customer")

    def wanted(session: Object) -> bool:
        return bool(params.get("status", session["status"]) == session["status"])

    return page(world, key, params, wanted, url="/v1/checkout/sessions")


@route("GET", "/v1/checkout/sessions/{session}/line_items")
def line_items(world: World, ids: dict[str, str], params: Params) -> Object:
    """What is bought."""
    return _lines_of(world, ids["session"])


def _lines_of(world: World, id: str) -> Object:
    session = world.get(KIND, id)
    return as_list(session["_lines"], f"/v1/checkout/sessions/{id}/line_items")


@route_of(KIND, "POST", "/v1/checkout/sessions/{session}/expire")
def expire(world: World, session: Object, params: Params) -> Object:
    """Close an open session."""
    if session["status"] != "open":
        raise StripeError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status '
            f"of {session['status']}."
        )
    _expire(world, session)
    return session


def _expire(world: World, session: Object) -> None:
    session["status"] = "expired"
    session["url"] = None
    world.save(session, "checkout.session.expired")


DUE[KIND] = lambda session: session["expires_at"] if session["status"] == "open" else None
RUN[KIND] = _expire


def complete(world: World, session: Object, method_id: str, params: Params) -> Object:
    """What a customer does at the hosted page; a decline is a 402 and leaves the session open."""
    if session["status"] != "open":
        raise StripeError(f"This Checkout Session is {session['status']}, it can't be paid.")
    customer = _customer(world, session, params)
    method = payment_methods.resolve(world, method_id, "payment_method", customer)
    details = {
        "address": None,
        "email": params.get("email") or method["billing_details"]["email"],
        "name": method["billing_details"]["name"],
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    if customer is not None:
        details["email"] = details["email"] or customer["email"]
        details["name"] = details["name"] or customer["name"]
        session["customer"] = customer["id"]
    handler = {"payment": _pay, "subscription": _subscribe, "setup": _set_up}[session["mode"]]
    with world.engine.acting_as(session.get("_application")):
        handler(world, session, customer, method)
    session["customer_details"] = details
    session["status"] = "complete"
    session["url"] = None
    world.save(session, "checkout.session.completed")
    return session


def _customer(world: World, session: Object, params: Params) -> Object | None:
    if session["customer"]:
        return world.get("customer", session["customer"])
    if session["mode"] == "payment" and session["customer_creation"] != "always":
        return None
    email = params.get("email") or session["customer_email"]
    return create_customer(world, {}, {"email": email} if email else {})


def _pay(world: World, session: Object, customer: Object | None, method: Object) -> None:
    data = session["_intent_data"]
    intent = payments.new_intent(
        world,
        amount=session["amount_total"],
        currency=session["currency"],
        customer=customer,
        payment_method_types=session["payment_method_types"],
        application=world.application,
        **{
            field: data.get(field)
            for field in (
                "description",
                "setup_future_usage",
                "shipping",
                "metadata",
                "on_behalf_of",
            )
        },
    )
    session["payment_intent"] = intent["id"]
    result = payments.confirm(world, intent, method, off_session=False)
    if result.decline is not None:
        raise payments.declined(world, intent, result)
    if result.succeeded:
        session["payment_status"] = "paid"
        if customer is not None and intent["setup_future_usage"]:
            payment_methods.attach(world, method, customer)


def _subscribe(world: World, session: Object, customer: Object | None, method: Object) -> None:
    if customer is None:
        raise StripeError("A subscription needs a customer.")
    payment_methods.attach(world, method, customer)
    data: dict[str, Any] = {
        key: value
        for key, value in session["_subscription_data"].items()
        if key in SUBSCRIPTION_DATA
    }
    lines = session["_lines"]
    items = [{"price": line["price"]["id"], "quantity": line["quantity"]} for line in lines]
    subscription = subscriptions.create(
        world,
        {},
        {
            **data,
            "customer": customer["id"],
            "items": items,
            "default_payment_method": method["id"],
            "payment_behavior": "error_if_incomplete",
        },
    )
    session["subscription"] = subscription["id"]
    session["invoice"] = subscription["latest_invoice"]
    session["payment_status"] = "paid"


def _set_up(world: World, session: Object, customer: Object | None, method: Object) -> None:
    intent = setup_intents.make(world, customer, {})
    # At the hosted page the customer confirms at once what the bank asks for.
    intent["_authenticated"] = True
    setup_intents.confirm_with(world, intent, method)
    session["setup_intent"] = intent["id"]


# The hosted page's own calls, which Stripe's CLI makes in the customer's place (`checkout.session.completed`).


@route_of(KIND, "GET", "/v1/payment_pages/{session}", fields={})
def payment_page(world: World, session: Object, params: Params) -> Object:
    """What the hosted page loads."""
    return {"id": session["id"], "object": "payment_page", "session_id": session["id"]}


@route_of(
    KIND,
    "POST",
    "/v1/payment_pages/{session}/confirm",
    fields={"payment_method": "string", "expected_amount": "integer"},
)
def confirm_payment_page(world: World, session: Object, params: Params) -> Object:
    """What the hosted page's button sends."""
    if not params.get("payment_method"):
        raise parameter_missing("payment_method")
    expected = params.get("expected_amount", session["amount_total"])
    if expected != session["amount_total"]:
        raise StripeError("The amount has changed.", param="expected_amount")
    complete(world, session, params["payment_method"], {})
    return {"id": session["id"], "object": "payment_page", "session_id": session["id"]}
