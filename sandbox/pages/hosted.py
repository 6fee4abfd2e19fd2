"""Stripe's other hosted pages: an invoice to pay, the bank's confirmation, a receipt.

An invoice's ``hosted_invoice_url`` is where a customer goes whose bank wants a confirmation.
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, abort, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.pages import billing, wording
from sandbox.pages.answers import answer
from sandbox.pages.billing import Json
from sandbox.pages.typed_card import TEST_CARDS, TypedCard, example
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError


def add(pages: Blueprint, world: AccountApi) -> None:
    """Put the routes ``/i/…``, ``/sandbox/authenticate/…`` and ``/sandbox/receipts/…`` on ``pages``."""
    _invoice(pages, world)
    _confirmation(pages, world)

    @pages.get("/sandbox/receipts/<charge_id>")
    def receipt(charge_id: str) -> AnyResponse:
        return _page(world, "portal/receipt.html", **_receipt(world, charge_id))


def _invoice(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/i/<invoice_id>/<key>")
    def hosted_invoice(invoice_id: str, key: str) -> AnyResponse:
        found = _payable(world, invoice_id, key)
        typed = example(request.args.get("fill", ""), world.now())
        return _invoice_page(world, found, typed)

    @pages.get("/i/<invoice_id>/<key>/pdf")
    def hosted_pdf(invoice_id: str, key: str) -> AnyResponse:
        # The sandbox prints no paper: the page says the same.
        _payable(world, invoice_id, key)
        return redirect(f"{world.prefix}/i/{invoice_id}/{key}", 303)

    @pages.post("/i/<invoice_id>/<key>")
    def pay_hosted_invoice(invoice_id: str, key: str) -> AnyResponse:
        found = _payable(world, invoice_id, key)
        typed = TypedCard.of(request.form, world.now())
        if typed.errors:
            return _invoice_page(world, found, typed, 422)
        try:
            _pay(world, found, typed)
        except StripeError as error:
            found = _payable(world, invoice_id, key)
            if not _asks(world, found):
                return _invoice_page(world, found, typed.refused(error.code, error.message), 402)
        return redirect(f"{world.prefix}/i/{invoice_id}/{key}", 303)


def _pay(world: AccountApi, invoice: Json, typed: TypedCard) -> None:
    method = billing.save_card(world, typed.params(), invoice["customer"])
    world.call(
        "POST",
        f"/v1/invoices/{invoice['id']}/pay",
        {"payment_method": method["id"], "off_session": False},
    )


def _payable(world: AccountApi, invoice_id: str, key: str) -> Json:
    """The invoice behind a hosted URL; 404 when the key is not its own."""
    found = _read(world, "invoices", invoice_id)
    url = str(found.get("hosted_invoice_url") or "")
    if not secrets.compare_digest(url.rpartition("/")[2].encode(), key.encode()):
        abort(404)
    return found


def _asks(world: AccountApi, invoice: Json) -> str | None:
    """Where the customer confirms the payment, when the bank asks for it."""
    for intent in billing.intents_of(world, invoice["id"]):
        if intent["status"] == "requires_action":
            action = (intent.get("next_action") or {}).get("redirect_to_url") or {}
            return str(action["url"]) if action.get("url") else None
    return None


def _invoice_page(
    world: AccountApi, invoice: Json, typed: TypedCard, status: int = 200
) -> AnyResponse:
    charges = billing.charges_of(world, invoice["id"])
    return _page(
        world,
        "portal/paying.html",
        status,
        invoice=invoice,
        about=billing.about(invoice),
        state=billing.bill_state(invoice, charges),
        charges=charges,
        on_behalf_of=invoice.get("on_behalf_of"),
        typed=typed,
        hints=TEST_CARDS,
        asks=_asks(world, invoice) if invoice["status"] == "open" else None,
        refused=request.args.get("confirmed") == "no",
        here=request.path,
    )


def _confirmation(pages: Blueprint, world: AccountApi) -> None:
    @pages.get("/sandbox/authenticate/<client_secret>")
    def ask_to_confirm(client_secret: str) -> AnyResponse:
        _, intent = _intent(world, client_secret)
        amount = intent.get("amount")
        return _page(
            world,
            "portal/confirm.html",
            waits=intent["status"] == "requires_action",
            succeeded=intent["status"] == "succeeded",
            amount=wording.money(amount, intent["currency"]) if amount else "",
        )

    @pages.post("/sandbox/authenticate/<client_secret>")
    def confirm(client_secret: str) -> AnyResponse:
        kind, intent = _intent(world, client_secret)
        agreed = request.form.get("answer") == "yes"
        try:
            path = f"/sandbox/{kind}/{intent['id']}/authenticate"
            world.call("POST", path, {"succeed": agreed})
        except StripeError:
            # Already answered, in another window: the page says how it stands.
            return redirect(request.path, 303)
        back = _invoice_url(world, intent["id"]) if kind == "payment_intents" else None
        if back:
            return redirect(back if agreed else f"{back}?confirmed=no", 303)
        return redirect(request.path, 303)


def _intent(world: AccountApi, client_secret: str) -> tuple[str, Json]:
    """The payment or setup intent behind its client secret; 404 when there is none."""
    intent_id = client_secret.partition("_secret_")[0]
    kind = "setup_intents" if intent_id.startswith("seti_") else "payment_intents"
    found = _read(world, kind, intent_id)
    known = str(found.get("client_secret") or "")
    if not secrets.compare_digest(known.encode(), client_secret.encode()):
        abort(404)
    return kind, found


def _invoice_url(world: AccountApi, intent_id: str) -> str | None:
    """The hosted page of the invoice that a payment intent pays."""
    payments = world.call(
        "GET",
        "/v1/invoice_payments",
        {"payment": {"type": "payment_intent", "payment_intent": intent_id}},
    )["data"]
    if not payments:
        return None
    url = _read(world, "invoices", payments[0]["invoice"]).get("hosted_invoice_url")
    return str(url) if url else None


def _read(world: AccountApi, kind: str, object_id: str) -> Json:
    try:
        return world.call("GET", f"/v1/{kind}/{object_id}")
    except StripeError:
        abort(404)


def _receipt(world: AccountApi, charge_id: str) -> Json:
    charge = _read(world, "charges", charge_id)
    return {"charges": [charge], "on_behalf_of": charge.get("on_behalf_of")}


def _page(
    world: AccountApi,
    template: str,
    status: int = 200,
    on_behalf_of: str | None = None,
    **values: Any,
) -> AnyResponse:
    brand = billing.brand(world, on_behalf_of)
    return answer(template, status, visit=None, brand=brand, **values)
