"""Disputes: a customer has a charge taken back by the bank. https://docs.stripe.com/disputes"""

from __future__ import annotations

from sandbox.stripe_api import endings, subscription_cycle
from sandbox.stripe_api.account_settings import chosen
from sandbox.stripe_api.clock import DUE
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.invoice_objects import subscription_of
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import RUN, World

KIND = "dispute"
DAYS_FOR_EVIDENCE = 7


def begin(world: World, charge: Object, reason: str | None = None) -> Object:
    """The customer disputes a charge. A card's can be answered; a bank debit is gone at once."""
    charge["_dispute_at"] = None
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise StripeError("Only a charge that succeeded can be disputed, and only once.")
    now = world.now_for(charge)
    method = charge["payment_method_details"]["type"]
    is_card = method == "card"
    dispute: Object = {
        **world.head(KIND, new_id("du"), now),
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": now + DAYS_FOR_EVIDENCE * 86_400 if is_card else None,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "network_reason_code": None,
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {"type": method, method: {}},
        "reason": reason or ("fraudulent" if is_card else "debit_not_authorized"),
        "status": "needs_response" if is_card else "lost",
        "_clock": charge["_clock"],
    }
    world.save(dispute)
    with world.edit(charge, "charge.updated"):
        charge["disputed"] = True
    world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    if not is_card:
        world.emit("charge.dispute.closed", dispute)
    elif chosen(world).cancel_on_dispute:
        _cancel_subscription(world, charge)
    return dispute


def _cancel_subscription(world: World, charge: Object) -> None:
    intent = world.store.get(charge["payment_intent"] or "")
    invoice = world.store.get(intent["_invoice"] or "") if intent is not None else None
    subscription = world.store.get(subscription_of(invoice) or "") if invoice else None
    if subscription is not None and subscription["status"] in subscription_cycle.LIVING:
        endings.cancel(world, subscription, reason="payment_disputed")


@route("POST", "/sandbox/charges/{charge}/dispute")
def dispute_charge(world: World, ids: dict[str, str], params: Params) -> Object:
    """The customer disputes the charge now, for a `reason`."""
    return begin(world, world.get("charge", ids["charge"]), params.get("reason"))


def _fall_due(world: World, charge: Object) -> None:
    begin(world, charge)


DUE["charge"] = lambda charge: charge.get("_dispute_at")
RUN["charge"] = _fall_due
