"""The shapes of invoices, their lines and their payments (API version 2026-10-28), and their sums."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.store import Object, nulls
from sandbox.stripe_api.world import World

DAY = 86_400


def subscription_of(invoice: Object) -> str | None:
    """The id of the subscription that an invoice bills, or None."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return details["subscription"] if details else None


def subscription_parent(subscription: Object) -> Object:
    """`parent` of a subscription's invoice."""
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }


def new_invoice(
    world: World,
    customer: Object,
    currency: str,
    *,
    billing_reason: str,
    collection_method: str = "charge_automatically",
    days_until_due: int | None = None,
    due_date: int | None = None,
    auto_advance: bool = False,
    parent: Object | None = None,
    **fields: Any,
) -> Object:
    """A draft without lines, not saved yet. `fields` go into the object as they are."""
    now = world.now_for(customer)
    if collection_method == "send_invoice" and due_date is None and days_until_due is not None:
        due_date = now + days_until_due * DAY
    id = new_id("in")
    invoice: Object = {
        **world.head("invoice", id, now),
        "account_country": "US",
        "account_name": world.business_name,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": auto_advance,
        "automatic_tax": {
            "enabled": False,
            **nulls("disabled_reason liability provider status"),
        },
        "automatically_finalizes_at": now + 3600 if auto_advance else None,
        "billing_reason": billing_reason,
        "collection_method": collection_method,
        "currency": currency,
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "due_date": due_date,
        "issuer": {"type": "self"},
        "lines": {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/invoices/{id}/lines",
        },
        "parent": parent,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": nulls("finalized_at marked_uncollectible_at paid_at voided_at"),
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": customer.get("test_clock"),
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        **nulls(
            "account_tax_ids application custom_fields customer_account default_payment_method "
            "default_source description effective_at ending_balance footer from_invoice "
            "hosted_invoice_url invoice_pdf last_finalization_error latest_revision "
            "next_payment_attempt number on_behalf_of receipt_number rendering shipping_cost "
            "shipping_details statement_descriptor threshold_reason webhooks_delivered_at"
        ),
        "_last_decline": None,
        "_last_method": None,
        "_exhausted": False,
        "_terms": [],
    }
    invoice.update({key: value for key, value in fields.items() if value is not None})
    return invoice


def new_line(
    invoice: Object,
    *,
    amount: int,
    description: str | None,
    quantity: int,
    period: tuple[int, int],
    price: Object | None = None,
    invoice_item: str | None = None,
    subscription: str | None = None,
    subscription_item: str | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Append a line to an invoice."""
    kind = "subscription_item_details" if subscription_item else "invoice_item_details"
    common = {
        "invoice_item": invoice_item,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription,
    }
    if subscription_item:
        common["subscription_item"] = subscription_item
    other = {"subscription_item_details": None, "invoice_item_details": None}
    unit = (
        price["unit_amount_decimal"] if price else str(amount // quantity if quantity else amount)
    )
    line: Object = {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": invoice["livemode"],
        "metadata": dict(metadata or {}),
        "parent": {**other, kind: common, "type": kind},
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]} if price else None,
            "type": "price_details",
            "unit_amount_decimal": unit,
        },
        "quantity": quantity,
        "subscription": subscription,
        "subtotal": amount,
        "taxes": [],
    }
    invoice["lines"]["data"].append(line)
    retotal(invoice)


def retotal(invoice: Object) -> None:
    """Add the lines up, and take off what the discounts are worth."""
    lines = invoice["lines"]
    lines["total_count"] = len(lines["data"])
    subtotal = sum(line["amount"] for line in lines["data"])
    total = subtotal - _take_off(invoice, subtotal)
    invoice["subtotal"] = invoice["subtotal_excluding_tax"] = subtotal
    invoice["total"] = invoice["total_excluding_tax"] = total
    invoice["amount_due"] = max(total, 0)
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]


def _take_off(invoice: Object, subtotal: int) -> int:
    """What the discounts take off, one after another; each line that a discount is for bears its share."""
    lines = invoice["lines"]["data"]
    for line in lines:
        line["discount_amounts"] = []
    amounts = []
    for term in invoice.get("_terms", ()):
        bearing = [
            (line, left)
            for line in lines
            if term["item"] in (None, _item_of(line)) and (left := _left_of(line)) > 0
        ]
        left = sum(each for _, each in bearing)
        amount = min(term["amount_off"] or 0, left)
        if term["percent_off"] is not None:
            share = Decimal(left) * Decimal(str(term["percent_off"])) / 100
            amount = int(share.quantize(Decimal(1), ROUND_HALF_UP))
        amounts.append({"amount": amount, "discount": term["discount"]})
        rest = amount
        for line, each in bearing:
            part = rest if line is bearing[-1][0] else amount * each // left
            rest -= part
            line["discount_amounts"].append({"amount": part, "discount": term["discount"]})
    invoice["total_discount_amounts"] = amounts
    return int(min(sum(each["amount"] for each in amounts), max(subtotal, 0)))


def _item_of(line: Object) -> str | None:
    details = line["parent"]["subscription_item_details"]
    return details["subscription_item"] if details else None


def _left_of(line: Object) -> int:
    """What a line comes to with the discounts before."""
    return int(line["amount"] - sum(each["amount"] for each in line["discount_amounts"]))


def apply_balance(invoice: Object, customer: Object) -> None:
    """Take what the customer has in credit (a negative balance) off what is due, and add what they owe besides; what the invoice gives
    back is left as credit (https://docs.stripe.com/billing/customer/balance). The customer's balance stays."""
    left = invoice["total"] + customer["balance"]
    invoice["amount_due"] = invoice["amount_remaining"] = max(left, 0)
    invoice["starting_balance"] = customer["balance"]
    invoice["ending_balance"] = min(left, 0)


def new_payment(
    world: World, invoice: Object, intent: Object, *, is_default: bool = True
) -> Object:
    """The invoice payment that ties an invoice to a payment intent: its own (`is_default`), or another one that pays a part."""
    payment: Object = {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": intent["amount"],
        "created": world.now_for(invoice),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": is_default,
        "livemode": world.livemode,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
        "_clock": invoice.get("test_clock"),
    }
    world.save(payment)
    return payment


def default_payment(world: World, invoice: Object) -> Object | None:
    """The invoice payment of an invoice's own payment intent."""
    payments = world.store.newest("invoice_payment", "invoice", invoice["id"])
    return next((one for one in payments if one["is_default"]), None)


def intent_of(world: World, invoice: Object) -> Object | None:
    """The payment intent of an open invoice."""
    payment = default_payment(world, invoice)
    return world.store.get(payment["payment"]["payment_intent"]) if payment else None
