"""Refunds: money given back."""

from __future__ import annotations

from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.metadata import merged
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


@route("POST", "/v1/refunds")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """Give back all that is left of a charge, or `amount` of it."""
    if params.get("payment_intent"):
        intent = world.get("payment_intent", params["payment_intent"], "payment_intent")
        if intent["latest_charge"] is None:
            raise StripeError(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = world.get("charge", intent["latest_charge"])
    elif params.get("charge"):
        charge = world.get("charge", params["charge"], "charge")
    else:
        raise StripeError(
            "One of the following params should be provided: payment_intent or charge."
        )
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left <= 0:
        raise StripeError(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 0 < amount <= left:
        raise StripeError(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    refund: Object = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn"),
        "charge": charge["id"],
        "created": world.now_for(charge),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"type": "card", "card": {"type": "refund"}},
        "metadata": merged({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
        "_clock": charge["_clock"],
    }
    world.save(refund)
    with world.edit(charge):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund
