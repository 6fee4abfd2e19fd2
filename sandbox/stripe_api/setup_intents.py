"""Setup intents: saving a payment method for later, with the customer's confirmation where the bank wants it."""

from __future__ import annotations

from sandbox.stripe_api import payment_methods, payments, test_methods
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.declines import CARD_DECLINES
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id, secret
from sandbox.stripe_api.platform_rules import on_behalf_of
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, nulls
from sandbox.stripe_api.world import World


def make(world: World, customer: Object | None, params: Params) -> Object:
    """A setup intent that waits for a payment method."""
    id = new_id("seti")
    intent: Object = {
        **world.head("setup_intent", id, world.now_for(customer), params),
        "application": world.application,
        "client_secret": secret(f"{id}_secret"),
        "customer": customer["id"] if customer else None,
        "description": params.get("description"),
        "on_behalf_of": on_behalf_of(world, params),
        "payment_method_options": {},
        "payment_method_types": params.get("payment_method_types") or ["card"],
        "status": "requires_payment_method",
        "usage": params.get("usage", "off_session"),
        **nulls(
            "automatic_payment_methods cancellation_reason customer_account flow_directions "
            "last_setup_error latest_attempt mandate next_action payment_method single_use_mandate"
        ),
        "_clock": customer.get("test_clock") if customer else None,
        "_authenticated": False,
    }
    world.save(intent, "setup_intent.created")
    return intent


def confirm_with(world: World, intent: Object, method: Object) -> None:
    """Set the payment method up; raises the 402 of a card that its bank refuses."""
    spec = test_methods.SPECS[method["_spec"]]
    if spec.on_attach is not None:
        error = CARD_DECLINES[spec.on_attach].error(payment_method=public(method))
        with world.edit(intent):
            intent["last_setup_error"] = error.body()["error"]
            intent["status"] = "requires_payment_method"
        world.emit("setup_intent.setup_failed", intent)
        error.extra["setup_intent"] = public(intent)
        raise error
    intent["payment_method"] = method["id"]
    if spec.authenticate != "never" and not intent["_authenticated"]:
        payments.ask_customer(world, intent)
        return
    method["_set_up"] = True
    world.save(method)
    if intent["customer"]:
        payment_methods.attach(world, method, world.get("customer", intent["customer"]))
    intent["status"] = "succeeded"
    intent["next_action"] = None
    world.save(intent, "setup_intent.succeeded")


def authenticate(world: World, intent: Object, *, agreed: bool = True) -> None:
    """The customer confirms at the bank's page, or refuses."""
    if intent["status"] != "requires_action":
        raise StripeError("This SetupIntent does not wait for the customer.", param="intent")
    if agreed:
        intent["_authenticated"] = True
        confirm_with(world, intent, world.get("payment_method", intent["payment_method"]))
        return
    error = CARD_DECLINES["authentication_required"].error()
    with world.edit(intent):
        intent["status"] = "requires_payment_method"
        intent["next_action"] = None
        intent["last_setup_error"] = error.body()["error"]
    world.emit("setup_intent.setup_failed", intent)


@route("POST", "/v1/setup_intents", legacy={"payment_method_types": ["list", "string"]})
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """With `confirm`, it is set up at once."""
    customer = alive(world, params["customer"]) if params.get("customer") else None
    method = payment_methods.asked_for(world, params, customer)
    intent = make(world, customer, params)
    if method is not None and params.get("confirm"):
        confirm_with(world, intent, method)
    elif method is not None:
        intent["payment_method"] = method["id"]
        intent["status"] = "requires_confirmation"
        world.save(intent)
    return intent


@route_of("setup_intent", "POST", "/v1/setup_intents/{intent}/confirm")
def confirm(world: World, intent: Object, params: Params) -> Object:
    """Set up `payment_method`, or the one it has."""
    id = params.get("payment_method") or intent["payment_method"]
    if not id or intent["status"] in ("succeeded", "canceled"):
        raise StripeError(
            f"You cannot confirm this SetupIntent because it has a status of {intent['status']}.",
            code="setup_intent_unexpected_state",
        )
    confirm_with(world, intent, payment_methods.resolve(world, id, "payment_method"))
    return intent
