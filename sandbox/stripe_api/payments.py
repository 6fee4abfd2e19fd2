"""Taking money: payment intents and charges, and how each test payment method answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.stripe_api import test_methods
from sandbox.stripe_api.declines import (
    CARD_DECLINES,
    DEBIT_FAILURES,
    Decline,
    card_decline,
    debit_failure,
)
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id, secret
from sandbox.stripe_api.metadata import merged
from sandbox.stripe_api.payment_methods import expired, shown
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.store import Object, copy, nulls
from sandbox.stripe_api.world import World

AUTHORIZED: Object = {
    "network_status": "approved_by_network",
    "risk_level": "normal",
    "seller_message": "Payment complete.",
    "type": "authorized",
    **nulls("advice_code network_advice_code network_decline_code reason"),
}
"""`outcome` of a charge that was not refused."""


@dataclass(frozen=True)
class Result:
    """What came of a try: `status` is the intent's, `decline` says why it failed."""

    status: str
    decline: Decline | None = None

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"


def new_intent(
    world: World,
    *,
    amount: int,
    currency: str,
    customer: Object | None = None,
    invoice: str | None = None,
    **fields: Any,
) -> Object:
    """A payment intent that waits for a payment method. `fields` go into the object as they are."""
    id = new_id("pi")
    intent: Object = {
        **world.head("payment_intent", id, world.now_for(customer)),
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": secret(f"{id}_secret"),
        "confirmation_method": "automatic",
        "currency": currency.lower(),
        "customer": customer["id"] if customer else None,
        # https://docs.stripe.com/api/payment_intents/object: not said there, but those of invoices name them here.
        "payment_details": {"customer_reference": None, "order_reference": invoice},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        **nulls(
            "application application_fee_amount automatic_payment_methods canceled_at "
            "cancellation_reason customer_account description last_payment_error latest_charge "
            "next_action on_behalf_of payment_method processing receipt_email review "
            "setup_future_usage shipping statement_descriptor statement_descriptor_suffix "
            "transfer_data transfer_group"
        ),
        "_clock": customer.get("test_clock") if customer else None,
        "_invoice": invoice,
        "_authenticated": False,
        "_comes_back": None,
        "_settles_at": None,
    }
    metadata = fields.pop("metadata", None)
    intent.update({key: value for key, value in fields.items() if value is not None})
    intent["metadata"] = merged({}, metadata)
    world.save(intent, "payment_intent.created")
    return intent


def _verdict(
    world: World, intent: Object, method: Object, customer: Object | None, off_session: bool
) -> Result:
    """What the bank will say; a decline that somebody ordered for this customer is used up by it."""
    spec = test_methods.SPECS[method["_spec"]]
    ordered = customer.pop("_decline_next", None) if customer is not None else None
    if customer is not None and ordered is not None:
        world.save(customer)
    if spec.is_debit:
        # A bank says nothing at once: what was ordered is what it will say.
        intent["_comes_back"] = (
            debit_failure(ordered["decline_code"]).code if ordered else spec.comes_back
        )
        return Result("processing")
    if ordered is not None:
        if ordered["decline_code"] == "authentication_required":
            return Result("requires_action")
        return Result(
            "requires_payment_method", card_decline(ordered["code"], ordered["decline_code"])
        )
    if expired(method, world.now_for(intent)):
        return Result("requires_payment_method", CARD_DECLINES["expired_card"])
    code = spec.on_charge or spec.on_attach
    if code is not None:
        return Result("requires_payment_method", CARD_DECLINES[code])
    asked = spec.authenticate == "always" or (
        spec.authenticate == "unless_set_up" and not method["_set_up"]
    )
    if asked and not intent["_authenticated"]:
        if off_session and intent["_invoice"] is None:
            return Result("requires_payment_method", CARD_DECLINES["authentication_required"])
        return Result("requires_action")
    return Result("succeeded")


def confirm(world: World, intent: Object, method: Object, *, off_session: bool) -> Result:
    """Try to take the intent's amount from a payment method, with the charge and all events that Stripe makes."""
    customer = world.store.get(intent["customer"]) if intent["customer"] else None
    result = _verdict(world, intent, method, customer, off_session)
    intent["payment_method"] = method["id"]
    intent["next_action"] = None
    intent["last_payment_error"] = None
    if result.status == "requires_action":
        ask_customer(world, intent)
    elif result.status == "processing":
        _begin_debit(world, intent, method)
    elif result.decline is not None:
        _decline(world, intent, method, result.decline)
    else:
        _succeed(world, intent, method)
    return result


def ask_customer(world: World, intent: Object) -> None:
    """The bank wants a confirmation, of a payment or of a payment method to be saved: on this page."""
    intent["status"] = "requires_action"
    intent["next_action"] = {
        "type": "redirect_to_url",
        "redirect_to_url": {
            "return_url": None,
            "url": f"{world.public_url}/sandbox/authenticate/{intent['client_secret']}",
        },
    }
    world.save(intent, f"{intent['object']}.requires_action")


def _begin_debit(world: World, intent: Object, method: Object) -> None:
    charge = new_charge(world, intent, method, "pending")
    intent["status"] = "processing"
    intent["latest_charge"] = charge["id"]
    if not test_methods.SPECS[method["_spec"]].stuck:
        intent["_settles_at"] = world.now_for(intent) + world.config.settlement_delay
    world.save(intent)
    world.emit("charge.pending", charge)
    world.emit("payment_intent.processing", intent)


def _decline(world: World, intent: Object, method: Object, decline: Decline) -> None:
    charge = new_charge(world, intent, method, "failed", decline)
    _come_back(world, intent, charge, method, decline)


def _succeed(world: World, intent: Object, method: Object) -> None:
    charge = new_charge(world, intent, method, "succeeded")
    intent["latest_charge"] = charge["id"]
    _take_in(world, intent, charge, method)


def settle(world: World, intent: Object) -> Result:
    """A bank debit that was processing comes in, or comes back."""
    intent["_settles_at"] = None
    method = world.get("payment_method", intent["payment_method"])
    charge = world.get("charge", intent["latest_charge"])
    # A debit that an earlier release began does as its test account does.
    comes_back = intent.get("_comes_back", test_methods.SPECS[method["_spec"]].comes_back)
    if comes_back is None:
        charge.update(status="succeeded", paid=True, captured=True)
        charge["amount_captured"] = charge["amount"]
        charge["balance_transaction"] = new_id("txn")
        world.save(charge)
        _take_in(world, intent, charge, method)
        return Result("succeeded")
    failure = DEBIT_FAILURES[comes_back]
    charge.update(status="failed", paid=False, captured=False, outcome=failure.outcome())
    charge.update(failure_code=failure.code, failure_message=failure.message)
    world.save(charge)
    _come_back(world, intent, charge, method, failure)
    return Result("requires_payment_method", failure)


def _come_back(
    world: World, intent: Object, charge: Object, method: Object, decline: Decline
) -> None:
    """The charge failed: the intent waits for another payment method."""
    intent["status"] = "requires_payment_method"
    intent["payment_method"] = None
    intent["latest_charge"] = charge["id"]
    error = decline.error(charge=charge["id"], payment_method=shown(method)).body()["error"]
    intent["last_payment_error"] = copy(error)
    world.save(intent)
    world.emit("charge.failed", charge)
    world.emit("payment_intent.payment_failed", intent)


def _take_in(world: World, intent: Object, charge: Object, method: Object) -> None:
    """The money is there, until the customer disputes it."""
    if test_methods.SPECS[method["_spec"]].disputed:
        charge["_dispute_at"] = world.now_for(charge) + 1
        world.save(charge)
    intent["status"] = "succeeded"
    intent["amount_received"] = intent["amount"]
    world.save(intent)
    world.emit("charge.succeeded", charge)
    world.emit("payment_intent.succeeded", intent)


_SAVED = ("networks", "status_details", "generated_from")
"""What only a saved payment method has, and a charge's copy of its details has not."""


def new_charge(
    world: World,
    intent: Object,
    method: Object,
    status: str,
    decline: Decline | None = None,
) -> Object:
    """The charge of one try: `succeeded`, `pending` or `failed`."""
    paid = status == "succeeded"
    debit = test_methods.SPECS[method["_spec"]].is_debit
    id = new_id("py" if debit else "ch")
    details = {key: value for key, value in method[method["type"]].items() if key not in _SAVED}
    if debit:
        details["mandate"] = None
    charge: Object = {
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0,
        "amount_refunded": 0,
        "application": intent["application"],
        "balance_transaction": new_id("txn") if paid else None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "PORTICO SANDBOX",
        "captured": paid,
        "created": world.now_for(intent),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": world.livemode,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": intent["on_behalf_of"],
        "outcome": decline.outcome() if decline else AUTHORIZED,
        "paid": status != "failed",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: details},
        "receipt_email": intent["receipt_email"],
        "receipt_url": f"{world.public_url}/sandbox/receipts/{id}" if paid else None,
        "refunded": False,
        "shipping": intent["shipping"],
        "statement_descriptor": intent["statement_descriptor"],
        "status": status,
        **nulls(
            "application_fee application_fee_amount failure_balance_transaction receipt_number "
            "review source statement_descriptor_suffix transfer_data transfer_group"
        ),
        "_clock": intent["_clock"],
        "_dispute_at": None,
    }
    world.save(charge)
    return charge


def declined(world: World, intent: Object, result: Result) -> StripeError:
    """The 402 of a try that failed, with the intent in it."""
    if result.decline is None:
        return StripeError(
            "This payment requires additional user action before it can be completed successfully. Payment can be "
            "completed using the PaymentIntent associated with the invoice. For more details see: "
            "https://stripe.com/docs/billing/subscriptions/overview#requires-action",
            status=402,
            type="card_error",
            code="invoice_payment_intent_requires_action"
            if intent["_invoice"]
            else "authentication_required",
            payment_intent=public(intent),
        )
    last = intent["last_payment_error"] or {}
    return result.decline.error(
        charge=intent["latest_charge"],
        payment_intent=public(intent),
        payment_method=last.get("payment_method"),
    )
