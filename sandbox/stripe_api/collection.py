"""Collecting an invoice: finalizing, charging, retrying, and what each outcome does to the subscription.

How Stripe does it: https://docs.stripe.com/billing/revenue-recovery/smart-retries and
https://docs.stripe.com/billing/subscriptions/overview.
"""

from __future__ import annotations

from sandbox.stripe_api import dunning, payment_methods, payments
from sandbox.stripe_api.clock import DUE
from sandbox.stripe_api.customers import invoice_number
from sandbox.stripe_api.declines import CARD_DECLINES
from sandbox.stripe_api.endings import cancel_intent
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import secret
from sandbox.stripe_api.invoice_objects import (
    apply_balance,
    default_payment,
    intent_of,
    new_payment,
    subscription_of,
)
from sandbox.stripe_api.method_choice import charged_method
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import BESIDE, RUN, World

NO_METHOD = (
    "There is no `default_payment_method` set on this Customer or Invoice. Please set either a "
    "`default_payment_method` on the Customer or Invoice, or pass a `payment_method`."
)


def finalize(world: World, invoice: Object) -> None:
    """A draft becomes open: numbered, payable at its hosted page, with a payment intent if anything is due."""
    if invoice["status"] != "draft":
        raise StripeError(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    customer = world.get("customer", invoice["customer"])
    now = world.now_for(invoice)
    key = secret(world.place.mode)
    with world.edit(invoice):
        invoice["status"] = "open"
        invoice["number"] = invoice_number(world, customer)
        invoice["effective_at"] = now
        invoice["status_transitions"]["finalized_at"] = now
        invoice["automatically_finalizes_at"] = None
        apply_balance(invoice, customer)
        invoice["hosted_invoice_url"] = f"{world.public_url}/i/{invoice['id']}/{key}"
        invoice["invoice_pdf"] = f"{world.public_url}/i/{invoice['id']}/{key}/pdf"
        invoice["_secret"] = key
        if invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically":
            invoice["next_payment_attempt"] = now + 3600
    if invoice["ending_balance"] != customer["balance"]:
        with world.edit(customer, "customer.updated"):
            customer["balance"] = invoice["ending_balance"]
    if invoice["amount_remaining"] > 0:
        _new_intent(world, invoice, customer)
    world.emit("invoice.finalized", invoice)
    if invoice["amount_remaining"] <= 0:
        mark_paid(world, invoice)


def _new_intent(world: World, invoice: Object, customer: Object) -> Object:
    intent = payments.new_intent(
        world,
        amount=invoice["amount_remaining"],
        currency=invoice["currency"],
        customer=customer,
        invoice=invoice["id"],
        description=invoice["description"],
        application=invoice["application"],
        on_behalf_of=invoice["on_behalf_of"],
        setup_future_usage="off_session" if subscription_of(invoice) else None,
    )
    new_payment(world, invoice, intent)
    return intent


def payment_of(world: World, invoice: Object) -> Object:
    """What older API versions told of an invoice's payment on the invoice itself."""
    intent = intent_of(world, invoice) if "id" in invoice else None
    return {
        "payment_intent": intent["id"] if intent else None,
        "charge": intent["latest_charge"] if intent else None,
    }


def method_for(world: World, invoice: Object) -> Object | None:
    """What Stripe would charge for an invoice."""
    return charged_method(
        world,
        world.get("customer", invoice["customer"]),
        subscription=world.store.get(subscription_of(invoice) or ""),
        invoice=invoice,
    )


def attempt(
    world: World,
    invoice: Object,
    *,
    method: Object | None = None,
    scheduled: bool = True,
    off_session: bool = True,
) -> payments.Result:
    """Try to collect an open invoice once. `scheduled` tries belong to the retry schedule and raise attempt_count."""
    if invoice["amount_remaining"] <= 0:
        mark_paid(world, invoice)
        return payments.Result("succeeded")
    intent = intent_of(world, invoice)
    if intent is None or intent["status"] == "canceled":
        intent = _new_intent(world, invoice, world.get("customer", invoice["customer"]))
    if intent["status"] == "processing":
        return payments.Result("processing")
    method = method or method_for(world, invoice)
    if method is None:
        result = payments.Result("requires_payment_method")
    elif scheduled and dunning.is_pointless(invoice, method):
        with world.edit(invoice, "invoice.updated"):
            dunning.count(world, invoice, scheduled=True)
        dunning.after_failure(world, invoice)
        return payments.Result("requires_payment_method")
    else:
        result = payments.confirm(world, intent, method, off_session=off_session)
    with world.edit(invoice, None if result.succeeded else "invoice.updated"):
        dunning.count(world, invoice, scheduled=scheduled)
        invoice["_last_method"] = method["id"] if method else None
        invoice["_last_decline"] = result.decline.reason if result.decline else None
        if result.status == "requires_action":
            invoice["_last_decline"] = "authentication_required"
        if result.succeeded or result.status == "processing":
            invoice["next_payment_attempt"] = None
        else:
            dunning.hold_date(world, invoice)
    after_intent(world, invoice, result)
    return result


def after_intent(world: World, invoice: Object, result: payments.Result) -> None:
    """What the outcome of a try, a settlement or a customer's confirmation means for the invoice."""
    if result.succeeded:
        mark_paid(world, invoice)
    elif result.status == "requires_action":
        world.emit("invoice.payment_action_required", invoice)
        dunning.failed(world, invoice)
    elif result.status == "requires_payment_method":
        dunning.failed(world, invoice)


def mark_paid(world: World, invoice: Object, *, by: str = "charge") -> None:
    """Nothing is owed any more `by` a `charge`, several in `parts`, money `out_of_band`, or a `credit` note: then nothing was paid.

    Subscription and customer are in good standing again.
    """
    _close_payment(world, invoice, paid=by == "charge")
    with world.edit(invoice, "invoice.updated"):
        if by != "credit":
            invoice["amount_paid"] = invoice["amount_due"]
        if by == "out_of_band":
            invoice["amount_paid_off_stripe"] = invoice["amount_remaining"]
        invoice["status"] = "paid"
        invoice["amount_remaining"] = 0
        invoice["attempted"] = True
        invoice["auto_advance"] = False
        invoice["next_payment_attempt"] = None
        invoice["status_transitions"]["paid_at"] = world.now_for(invoice)
    world.emit("invoice.paid", invoice)
    if by in ("charge", "parts"):
        world.emit("invoice.payment_succeeded", invoice)
    subscription = world.store.get(subscription_of(invoice) or "")
    if subscription is not None:
        _revive(world, subscription, invoice)
    _in_good_standing(world, invoice["customer"])


def _close_payment(world: World, invoice: Object, *, paid: bool) -> None:
    payment = default_payment(world, invoice)
    if payment is None:
        return
    now = world.now_for(invoice)
    with world.edit(payment):
        if paid:
            payment["status"] = "paid"
            payment["amount_paid"] = payment["amount_requested"]
            payment["status_transitions"]["paid_at"] = now
        else:
            payment["status"] = "canceled"
            payment["status_transitions"]["canceled_at"] = now
    if paid:
        world.emit("invoice_payment.paid", payment)


def ask_for(world: World, invoice: Object, intent: Object) -> None:
    """The payment intent asks for what is left."""
    with world.edit(intent):
        intent["amount"] = invoice["amount_remaining"]
    payment = default_payment(world, invoice)
    if payment is not None:
        with world.edit(payment):
            payment["amount_requested"] = intent["amount"]


def attach(world: World, invoice: Object, intent: Object) -> None:
    """Another payment intent pays the invoice, or a part of it, as soon as it succeeds."""
    new_payment(world, invoice, intent, is_default=False)
    with world.edit(intent):
        intent["_pays_part_of"] = invoice["id"]
    _take_part(world, intent)


def _take_part(world: World, intent: Object) -> None:
    invoice = world.store.get(intent.get("_pays_part_of") or "")
    if invoice is None or intent["status"] != "succeeded":
        return
    payments_ = world.store.newest("invoice_payment", "payment_intent", intent["id"])
    payment = next(one for one in payments_ if one["status"] == "open")
    with world.edit(payment):
        payment.update(status="paid", amount_paid=intent["amount"])
        payment["status_transitions"]["paid_at"] = world.now_for(invoice)
    world.emit("invoice_payment.paid", payment)
    with world.edit(invoice, "invoice.updated"):
        invoice["amount_paid"] += intent["amount"]
        invoice["amount_remaining"] -= intent["amount"]
    own = intent_of(world, invoice)
    if invoice["amount_remaining"] <= 0:
        mark_paid(world, invoice, by="parts")
    elif own is not None:
        ask_for(world, invoice, own)


def let_go(world: World, invoice: Object) -> None:
    """After the business gave an invoice up: Stripe goes by the newest invoice that is not void, and a subscription that is
    past due for none is active again. https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
    """
    subscription = world.store.get(subscription_of(invoice) or "")
    if subscription is None or subscription["status"] != "past_due":
        return
    mine = world.store.oldest("invoice", "subscription", subscription["id"])
    newest = [one["status"] for one in mine if one["status"] not in ("draft", "void")][-1:]
    if newest in (["paid"], ["uncollectible"]):
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "active"


def _revive(world: World, subscription: Object, invoice: Object) -> None:
    if subscription["status"] == "incomplete" or (
        subscription["status"] in ("past_due", "unpaid")
        and subscription["latest_invoice"] == invoice["id"]
    ):
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "active"


def _in_good_standing(world: World, customer_id: str) -> None:
    customer = world.get("customer", customer_id)
    if not customer["delinquent"]:
        return
    open_ones = world.store.oldest("invoice", "customer", customer_id, "status", "open")
    if not any(i["attempted"] for i in open_ones):
        with world.edit(customer, "customer.updated"):
            customer["delinquent"] = False


def pay(
    world: World,
    invoice: Object,
    *,
    method: Object | None = None,
    out_of_band: bool = False,
    off_session: bool = True,
) -> None:
    """`POST /v1/invoices/:id/pay`: finalizes a draft, charges now, raises the 402 of a decline."""
    if invoice["status"] == "paid":
        raise StripeError("Invoice is already paid")
    if invoice["status"] == "void":
        raise StripeError(
            "You can only pay an invoice that is open or uncollectible. This invoice is void."
        )
    if invoice["status"] == "draft":
        finalize(world, invoice)
        if invoice["status"] == "paid":
            return
    if out_of_band:
        cancel_intent(world, invoice)
        mark_paid(world, invoice, by="out_of_band")
        return
    if method is None and method_for(world, invoice) is None:
        raise StripeError(NO_METHOD, code="missing")
    result = attempt(world, invoice, method=method, scheduled=False, off_session=off_session)
    intent = intent_of(world, invoice)
    if intent is not None and result.status in ("requires_payment_method", "requires_action"):
        raise payments.declined(world, intent, result)


def authenticate(world: World, intent: Object, *, agreed: bool = True) -> payments.Result:
    """The customer confirms at the bank's page (or refuses) what an intent has asked for."""
    if intent["status"] != "requires_action":
        raise StripeError("This PaymentIntent does not wait for the customer.", param="intent")
    method = world.get("payment_method", intent["payment_method"])
    if agreed:
        intent["_authenticated"] = True
        method["_set_up"] = True
        world.save(method)
        result = payments.confirm(world, intent, method, off_session=False)
    else:
        decline = CARD_DECLINES["authentication_required"]
        with world.edit(intent):
            intent["status"] = "requires_payment_method"
            intent["next_action"] = None
            error = decline.error(payment_method=payment_methods.shown(method))
            intent["last_payment_error"] = error.body()["error"]
        world.emit("payment_intent.payment_failed", intent)
        result = payments.Result("requires_payment_method", decline)
    _tell_invoice(world, intent, result)
    return result


def _tell_invoice(world: World, intent: Object, result: payments.Result) -> None:
    invoice = world.store.get(intent["_invoice"] or "")
    if invoice is not None and invoice["status"] in ("open", "uncollectible"):
        after_intent(world, invoice, result)
    _take_part(world, intent)


def confirmed(world: World, intent: Object, result: payments.Result) -> None:
    """A client confirmed an invoice's payment intent itself."""
    _tell_invoice(world, intent, result)


def _settle(world: World, intent: Object) -> None:
    result = payments.settle(world, intent)
    invoice = world.store.get(intent["_invoice"] or "")
    if invoice is not None and result.decline is not None:
        invoice["_last_decline"] = result.decline.reason
        dunning.plan_after_debit(world, invoice, method_for(world, invoice), result.decline.reason)
    _tell_invoice(world, intent, result)
    session = world.store.first("checkout.session", "payment_intent", intent["id"])
    if session is not None:
        word = "succeeded" if result.succeeded else "failed"
        session["payment_status"] = "paid" if result.succeeded else "unpaid"
        world.save(session, f"checkout.session.async_payment_{word}")


def _invoice_due(invoice: Object) -> int | None:
    if invoice["status"] == "draft":
        due: int | None = invoice["automatically_finalizes_at"] if invoice["auto_advance"] else None
        return due
    if dunning.collected_by_stripe(invoice):
        at: int | None = invoice["next_payment_attempt"]
        return at
    return dunning.due_by_hand(invoice)


def _invoice_falls_due(world: World, invoice: Object) -> None:
    if invoice["status"] == "draft":
        finalize_and_collect(world, invoice)
    elif dunning.collected_by_stripe(invoice):
        attempt(world, invoice)
    else:
        dunning.falls_overdue(world, invoice)


def finalize_and_collect(world: World, invoice: Object) -> None:
    """What Stripe does by itself with a draft whose hour has come."""
    finalize(world, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        attempt(world, invoice)


DUE["invoice"] = _invoice_due
RUN["invoice"] = _invoice_falls_due
DUE["payment_intent"] = lambda intent: intent["_settles_at"]
RUN["payment_intent"] = _settle
BESIDE["invoice"] = ("_payment", payment_of)
