"""Credit notes: what the business forgives or gives back of a finalized invoice.

https://docs.stripe.com/api/credit_notes: first `amount_due` and `amount_remaining` are lowered (`pre_payment`), down to
nothing, when the invoice is paid without any money; what is beyond was paid already and is given back (`post_payment`).
"""

from __future__ import annotations

from sandbox.stripe_api import collection, endings, refunds
from sandbox.stripe_api.errors import StripeError, missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.invoice_objects import intent_of
from sandbox.stripe_api.rendering import as_list
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given, nulls
from sandbox.stripe_api.world import World

KIND = "credit_note"
GIVEN_BACK = ("refund_amount", "credit_amount", "out_of_band_amount")


@route("POST", "/v1/credit_notes")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """An `amount`, or `lines`; for what was paid already the sum of refund, balance and other credits."""
    invoice = world.get("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise StripeError(
            f"You cannot create a credit note for an invoice whose status is {invoice['status']}.",
            param="invoice",
        )
    intent = intent_of(world, invoice)
    if intent is not None and intent["status"] == "processing":
        raise StripeError(
            "You cannot create a credit note for an invoice while a payment is processing.",
            param="invoice",
        )
    lines = _lines(invoice, params)
    amount = sum(line["amount"] for line in lines)
    notes = list(world.store.oldest(KIND, "invoice", invoice["id"]))
    left = invoice["total"] - sum(n["amount"] for n in notes if n["status"] == "issued")
    if not 0 < amount <= left:
        raise StripeError(
            f"The sum of credit notes for this invoice would exceed its total: {left} can be credited.",
            param="amount",
        )
    before = min(amount, invoice["amount_remaining"])
    _check_given_back(params, amount - before)
    note = _new_note(world, invoice, params, lines, before, number=len(notes) + 1)
    _give_back(world, invoice, note, params)
    world.save(note, "credit_note.created")
    _lower(world, invoice, intent, before, amount - before)
    return note


def _lines(invoice: Object, params: Params) -> list[Object]:
    if (params.get("amount") is None) == (not params.get("lines")):
        raise StripeError("You must pass exactly one of amount or lines.", param="amount")
    if params.get("amount") is not None:
        return [_line(invoice, params["amount"], "Credit", "custom_line_item")]
    billed = {line["id"]: line for line in invoice["lines"]["data"]}
    lines = []
    for index, given in enumerate(params["lines"]):
        line = billed.get(given.get("invoice_line_item", ""))
        if given["type"] == "invoice_line_item" and line is None:
            where = f"lines[{index}][invoice_line_item]"
            raise missing("invoice line item", str(given.get("invoice_line_item")), where)
        quantity = given.get("quantity")
        amount = given.get("amount")
        if amount is None and line is not None:
            whole = line["quantity"] or 1
            amount = line["amount"] * (quantity or whole) // whole
        elif amount is None:
            amount = (given.get("unit_amount") or 0) * (quantity or 1)
        text = given.get("description") or (line["description"] if line else None)
        lines.append(
            _line(invoice, amount, text, given["type"], line["id"] if line else None, quantity)
        )
    return lines


def _line(
    invoice: Object,
    amount: int,
    description: str | None,
    type: str,
    invoice_line: str | None = None,
    quantity: int | None = None,
) -> Object:
    return {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": invoice_line,
        "livemode": invoice["livemode"],
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": type,
        "unit_amount": None,
        "unit_amount_decimal": None,
    }


def _check_given_back(params: Params, after: int) -> None:
    given = sum(params.get(field) or 0 for field in GIVEN_BACK)
    if given != after:
        raise StripeError(
            f"The sum of credit amount, refund amount and out of band amount ({given}) must equal the post-payment "
            f"amount of the credit note ({after}).",
            param="refund_amount" if given < after else "amount",
        )


def _new_note(
    world: World, invoice: Object, params: Params, lines: list[Object], before: int, *, number: int
) -> Object:
    amount = sum(line["amount"] for line in lines)
    now = world.now_for(invoice)
    id = new_id("cn")
    return {
        **world.head(KIND, id, now, params),
        "amount": amount,
        "amount_shipping": 0,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": params.get("effective_at") or now,
        "invoice": invoice["id"],
        "lines": as_list(lines, f"/v1/credit_notes/{id}/lines"),
        "number": f"{invoice['number']}-CN-{number:02d}",
        "pdf": f"{world.public_url}/sandbox/credit_notes/{id}/pdf",
        "post_payment_amount": amount - before,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "refunds": [],
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": "mixed" if 0 < before < amount else ("pre_payment" if before else "post_payment"),
        **as_given(params, "memo out_of_band_amount reason"),
        **nulls("customer_account customer_balance_transaction shipping_cost voided_at"),
        "_clock": invoice.get("test_clock"),
    }


def _give_back(world: World, invoice: Object, note: Object, params: Params) -> None:
    if params.get("refund_amount"):
        intent = intent_of(world, invoice)
        if intent is None or intent["status"] != "succeeded":
            raise StripeError(
                "This invoice was not paid by a charge that could be refunded.",
                param="refund_amount",
            )
        refund = refunds.create(
            world, {}, {"payment_intent": intent["id"], "amount": params["refund_amount"]}
        )
        note["refunds"] = [
            {
                "amount_refunded": refund["amount"],
                "payment_record_refund": None,
                "refund": refund["id"],
                "type": "refund",
            }
        ]
    if params.get("credit_amount"):
        customer = world.get("customer", invoice["customer"])
        note["customer_balance_transaction"] = new_id("cbtxn")
        with world.edit(customer, "customer.updated"):
            customer["balance"] -= params["credit_amount"]


def _lower(world: World, invoice: Object, intent: Object | None, before: int, after: int) -> None:
    with world.edit(invoice, "invoice.updated"):
        invoice["amount_due"] -= before
        invoice["amount_remaining"] -= before
        invoice["pre_payment_credit_notes_amount"] += before
        invoice["post_payment_credit_notes_amount"] += after
    if not before:
        return
    if invoice["amount_remaining"] == 0:
        endings.cancel_intent(world, invoice)
        collection.mark_paid(world, invoice, by="credit")
    elif intent is not None:
        collection.ask_for(world, invoice, intent)


@route_of(KIND, "POST", "/v1/credit_notes/{note}/void")
def void(world: World, note: Object, params: Params) -> Object:
    """Only while the invoice is open: then all that was forgiven is owed again."""
    invoice = world.get("invoice", note["invoice"])
    if note["status"] != "issued" or invoice["status"] != "open":
        raise StripeError(
            f"You can only void credit notes of open invoices. This invoice is {invoice['status']}."
            if note["status"] == "issued"
            else "This credit note is already void."
        )
    with world.edit(note):
        note["status"] = "void"
        note["voided_at"] = world.now_for(note)
    world.emit("credit_note.voided", note)
    with world.edit(invoice, "invoice.updated"):
        invoice["amount_due"] += note["pre_payment_amount"]
        invoice["amount_remaining"] += note["pre_payment_amount"]
        invoice["pre_payment_credit_notes_amount"] -= note["pre_payment_amount"]
    intent = intent_of(world, invoice)
    if intent is not None:
        collection.ask_for(world, invoice, intent)
    return note
