"""Payment intents as resources of their own."""

from __future__ import annotations

from sandbox.stripe_api import collection, payment_methods, payments
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.platform_rules import on_behalf_of
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

KEPT = (
    "capture_method",
    "confirmation_method",
    "description",
    "payment_method_types",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)


@route("POST", "/v1/payment_intents", legacy={"payment_method_types": ["list", "string"]})
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A payment intent; with `confirm` it is tried at once, and a decline is a 402."""
    customer = alive(world, params["customer"]) if params.get("customer") else None
    method = payment_methods.asked_for(world, params, customer)
    if method and method["customer"] not in (None, customer["id"] if customer else None):
        raise StripeError(
            "The provided PaymentMethod belongs to another Customer.", param="payment_method"
        )
    intent = payments.new_intent(
        world,
        amount=params["amount"],
        currency=params["currency"],
        customer=customer,
        metadata=params.get("metadata"),
        application=world.application,
        on_behalf_of=on_behalf_of(world, params),
        **{field: params.get(field) for field in KEPT},
    )
    if method is not None and not params.get("confirm"):
        intent["payment_method"] = method["id"]
        intent["status"] = "requires_confirmation"
        world.save(intent)
    elif params.get("confirm"):
        _confirm(world, intent, method, params.get("off_session") not in (None, False, "false"))
    return intent


def _unexpected(intent: Object, text: str) -> StripeError:
    return StripeError(text, code="payment_intent_unexpected_state", payment_intent=public(intent))


def _confirm(world: World, intent: Object, method: Object | None, off_session: bool) -> None:
    if intent["status"] in ("succeeded", "processing", "canceled", "requires_capture"):
        raise _unexpected(
            intent, f"This PaymentIntent's status is {intent['status']}, so it can't be confirmed."
        )
    if method is None:
        raise _unexpected(
            intent,
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
        )
    result = payments.confirm(world, intent, method, off_session=off_session)
    saves = intent["setup_future_usage"] and intent["customer"] and result.succeeded
    if saves and method["customer"] is None:
        payment_methods.attach(world, method, world.get("customer", intent["customer"]))
    collection.confirmed(world, intent, result)
    if result.decline is not None:
        raise payments.declined(world, intent, result)


@route_of("payment_intent", "POST", "/v1/payment_intents/{intent}")
def update(world: World, intent: Object, params: Params) -> Object:
    """Change what is given, before it has succeeded."""
    method = payment_methods.asked_for(world, params)
    with world.edit(intent):
        take(intent, params, *KEPT, "amount")
        if method is not None:
            intent["payment_method"] = method["id"]
            if intent["status"] == "requires_payment_method":
                intent["status"] = "requires_confirmation"
    return intent


@route_of("payment_intent", "POST", "/v1/payment_intents/{intent}/confirm")
def confirm(world: World, intent: Object, params: Params) -> Object:
    """Try to take the money, from `payment_method` or the one it has."""
    id = params.get("payment_method") or intent["payment_method"]
    method = payment_methods.resolve(world, id, "payment_method") if id else None
    _confirm(world, intent, method, params.get("off_session") not in (None, False, "false"))
    return intent


@route_of("payment_intent", "POST", "/v1/payment_intents/{intent}/capture")
def capture(world: World, intent: Object, params: Params) -> Object:
    """Take what was authorized with `capture_method=manual`."""
    if intent["status"] != "requires_capture":
        raise _unexpected(
            intent,
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}.",
        )
    amount = params.get("amount_to_capture", intent["amount"])
    charge = world.get("charge", intent["latest_charge"])
    charge.update(captured=True, amount_captured=amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    world.save(charge)
    world.save(intent)
    world.emit("charge.captured", charge)
    world.emit("payment_intent.succeeded", intent)
    return intent


@route_of("payment_intent", "POST", "/v1/payment_intents/{intent}/cancel")
def cancel(world: World, intent: Object, params: Params) -> Object:
    """Give it up."""
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise _unexpected(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
        )
    intent["status"] = "canceled"
    intent["canceled_at"] = world.now_for(intent)
    intent["cancellation_reason"] = params.get("cancellation_reason")
    world.save(intent, "payment_intent.canceled")
    return intent
