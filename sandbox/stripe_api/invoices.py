"""Invoices, their lines, and the payments behind them."""

from __future__ import annotations

from sandbox.stripe_api import collection, dunning, endings, payment_methods, sources
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError, parameter_missing
from sandbox.stripe_api.expansion import included
from sandbox.stripe_api.invoice_items import pending_items, put_on_invoice
from sandbox.stripe_api.invoice_objects import (
    DAY,
    new_invoice,
    subscription_of,
    subscription_parent,
)
from sandbox.stripe_api.listing import page
from sandbox.stripe_api.metadata import merged, take
from sandbox.stripe_api.method_choice import chosen_defaults
from sandbox.stripe_api.platform_rules import may_pay, on_behalf_of
from sandbox.stripe_api.rendering import as_list, public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

EDITABLE = (
    "auto_advance",
    "collection_method",
    "custom_fields",
    "description",
    "due_date",
    "footer",
    "statement_descriptor",
)


@route("POST", "/v1/invoices")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A draft; `pending_invoice_items_behavior=include` puts the customer's waiting items on it."""
    if not params.get("customer"):
        raise parameter_missing("customer")
    customer = alive(world, params["customer"])
    subscription = None
    if params.get("subscription"):
        subscription = world.get("subscription", params["subscription"], "subscription")
    method = params.get("collection_method", "charge_automatically")
    if method == "send_invoice" and not (params.get("days_until_due") or params.get("due_date")):
        raise StripeError(
            "If invoices should have a due date, then one of days_until_due or due_date is required.",
            param="days_until_due",
        )
    behavior = params.get("pending_invoice_items_behavior", "exclude")
    items = pending_items(world, customer) if behavior == "include" else []
    currency = params.get("currency") or (
        items[0]["currency"] if items else customer["currency"] or "usd"
    )
    invoice = new_invoice(
        world,
        customer,
        currency.lower(),
        billing_reason="manual",
        collection_method=method,
        days_until_due=params.get("days_until_due"),
        due_date=params.get("due_date"),
        auto_advance=params.get("auto_advance", False),
        parent=subscription_parent(subscription) if subscription else None,
        description=params.get("description"),
        footer=params.get("footer"),
        application=world.application,
        on_behalf_of=on_behalf_of(world, params),
        custom_fields=params.get("custom_fields"),
        **chosen_defaults(world, params, customer),
        metadata=merged({}, params.get("metadata")),
    )
    world.save(invoice)
    for item in items:
        if item["currency"] == invoice["currency"]:
            put_on_invoice(world, item, invoice)
    world.save(invoice, "invoice.created")
    return invoice


@route("GET", "/v1/invoices")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """By customer, status, subscription and collection method; the narrowest index that fits is walked."""
    key: tuple[str, ...] = ("invoice",)
    customer, status = params.get("customer"), params.get("status")
    if params.get("subscription"):
        key = ("invoice", "subscription", params["subscription"])
    elif customer and status:
        key = ("invoice", "customer", customer, "status", status)
    elif customer:
        key = ("invoice", "customer", customer)
    elif status:
        key = ("invoice", "status", status)
    if customer:
        world.get("customer", customer, "customer")

    def wanted(invoice: Object) -> bool:
        return bool(
            params.get("status", invoice["status"]) == invoice["status"]
            and params.get("customer", invoice["customer"]) == invoice["customer"]
            and params.get("collection_method", invoice["collection_method"])
            == invoice["collection_method"]
        )

    return page(world, key, params, wanted, url="/v1/invoices")


@route_of("invoice", "GET", "/v1/invoices/{invoice}/lines")
def lines(world: World, invoice: Object, params: Params) -> Object:
    """All lines of one, on one page."""
    found: Object = invoice["lines"]
    return found


@route_of("invoice", "POST", "/v1/invoices/{invoice}")
def update(world: World, invoice: Object, params: Params) -> Object:
    """Change what is given; an invoice that is paid or void keeps all but its metadata."""
    closed = invoice["status"] in ("paid", "void")
    if closed and set(params) - {"metadata"}:
        raise _is_final()
    defaults = chosen_defaults(world, params, world.get("customer", invoice["customer"]))
    with world.edit(invoice, "invoice.updated"):
        take(invoice, params, *EDITABLE)
        if "on_behalf_of" in params:
            invoice["on_behalf_of"] = on_behalf_of(world, params)
        invoice.update(defaults)
        if params.get("days_until_due") is not None:
            invoice["due_date"] = invoice["created"] + params["days_until_due"] * DAY
        if params.get("auto_advance"):
            dunning.resume(world, invoice)
        elif "auto_advance" in params:
            invoice["automatically_finalizes_at"] = None
            invoice["next_payment_attempt"] = None
    return invoice


def _is_final() -> StripeError:
    return StripeError(
        "Finalized invoices can't be updated in this way", code="invoice_not_editable"
    )


@route_of("invoice", "POST", "/v1/invoices/{invoice}/finalize")
def finalize(world: World, invoice: Object, params: Params) -> Object:
    """From draft to open. With `auto_advance` the charge follows within the hour."""
    if "auto_advance" in params:
        invoice["auto_advance"] = params["auto_advance"]
    collection.finalize(world, invoice)
    return invoice


@route_of("invoice", "POST", "/v1/invoices/{invoice}/pay")
def pay(world: World, invoice: Object, params: Params) -> Object:
    """Collect now, with the payment method given or the one Stripe would choose."""
    may_pay(world, world.store.get(subscription_of(invoice) or ""))
    method = None
    if invoice["status"] != "paid":
        customer = world.get("customer", invoice["customer"])
        if params.get("payment_method"):
            given = params["payment_method"]
            method = payment_methods.of_customer(world, given, customer, "payment_method")
        elif params.get("source"):
            method = sources.of_customer(world, customer, params["source"], "source")
    collection.pay(
        world,
        invoice,
        method=method,
        out_of_band=params.get("paid_out_of_band", False),
        off_session=params.get("off_session", True),
    )
    return invoice


@route_of("invoice", "POST", "/v1/invoices/{invoice}/attach_payment")
def attach_payment(world: World, invoice: Object, params: Params) -> Object:
    """A payment intent of its customer pays a part of it, or all of it."""
    if not params.get("payment_intent"):
        raise StripeError("This sandbox attaches payment intents alone.", param="payment_record")
    intent = world.get("payment_intent", params["payment_intent"], "payment_intent")
    if invoice["status"] != "open":
        raise StripeError("Payments can only be attached to open invoices.")
    if intent["amount"] > invoice["amount_remaining"]:
        raise StripeError(
            "The PaymentIntent is over more than what remains.", param="payment_intent"
        )
    collection.attach(world, invoice, intent)
    return invoice


@route_of("invoice", "POST", "/v1/invoices/{invoice}/void")
def void(world: World, invoice: Object, params: Params) -> Object:
    """Nothing is owed any more."""
    return _close(world, invoice, "void")


@route_of("invoice", "POST", "/v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible(world: World, invoice: Object, params: Params) -> Object:
    """A bad debt: not asked for any more, but it can still be paid."""
    return _close(world, invoice, "uncollectible")


def _close(world: World, invoice: Object, status: str) -> Object:
    closable = ("open", "uncollectible") if status == "void" else ("open",)
    if invoice["status"] not in closable:
        raise StripeError(
            f"You can only pass in open invoices. This invoice isn't open, it is {invoice['status']}."
        )
    endings.close(world, invoice, status)
    collection.let_go(world, invoice)
    return invoice


@included("invoice", "payments")
def _payments(world: World, invoice: Object) -> Object:
    found = world.store.newest("invoice_payment", "invoice", invoice["id"])
    return as_list([public(payment) for payment in found], "/v1/invoice_payments")


@route("GET", "/v1/invoice_payments")
def list_payments(world: World, ids: dict[str, str], params: Params) -> Object:
    """Of one invoice, or of one payment intent (`payment[type]=payment_intent`)."""
    key: tuple[str, ...] = ("invoice_payment",)
    payment = params.get("payment") or {}
    if params.get("invoice"):
        world.get("invoice", params["invoice"], "invoice")
        key = ("invoice_payment", "invoice", params["invoice"])
    elif payment.get("payment_intent"):
        key = ("invoice_payment", "payment_intent", payment["payment_intent"])

    def wanted(found: Object) -> bool:
        intent = payment.get("payment_intent")
        return params.get("status", found["status"]) == found["status"] and (
            not intent or found["payment"]["payment_intent"] == intent
        )

    return page(world, key, params, wanted, url="/v1/invoice_payments")
