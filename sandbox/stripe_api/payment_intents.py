"""Payment intents as resources of their own."""

from __future__ import annotations

from sandbox.stripe_api import collection, payment_methods, payments
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.platform_rules import on_behalf_of
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

KEPT = (
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
    if params.get("capture_method") == "manual":
        raise StripeError("This sandbox captures at once.", param="capture_method")
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
    intent["payment_details"].update(params.get("payment_details") or {})
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
    if intent["status"] in ("succeeded", "processing", "canceled"):
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


@route_of("payment_intent", "POST", "/v1/payment_intents/{intent}/confirm")
def confirm(world: World, intent: Object, params: Params) -> Object:
    """Try to take the money, from `payment_method` or the one it has."""
    id = params.get("payment_method") or intent["payment_method"]
    method = payment_methods.resolve(world, id, "payment_method") if id else None
    _confirm(world, intent, method, params.get("off_session") not in (None, False, "false"))
    return intent
