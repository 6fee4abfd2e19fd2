"""A customer's billing as the portal page shows it, read through Stripe's own API."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.pages import wording
from sandbox.stripe_api import AccountApi, StripeError

RECENT = 12
ALL = 100

Json = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A saved payment method of a ``kind`` (``card``, …); ``plans`` are the subscriptions that name it as their own."""

    id: str
    kind: str
    name: str
    brand: str
    expires: str
    expired: bool
    default: bool
    plans: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A subscription. ``tone`` colours its state: good, warn, bad or empty."""

    id: str
    name: str
    price: str
    state: str
    tone: str
    note: str
    paid_with: str
    ending: bool
    paused: bool
    over: bool


@dataclass(frozen=True)
class Bill:
    """One line of the billing history."""

    id: str
    number: str
    date: str
    about: str
    amount: str
    state: str
    tone: str
    paid: bool


@dataclass(frozen=True)
class Overview:
    """Everything the portal's first page shows."""

    customer: Json
    plans: tuple[Plan, ...]
    methods: tuple[Method, ...]
    bills: tuple[Bill, ...]
    more_bills: bool


def overview(
    stripe: AccountApi,
    customer_id: str,
    *,
    every_bill: bool = False,
    on_behalf_of: str | None = None,
) -> Overview:
    """Read a customer's plans, payment methods and invoices; raises ``StripeError`` when it is gone.

    ``on_behalf_of`` leaves only what is billed on behalf of that account.
    """
    customer = stripe.call("GET", f"/v1/customers/{customer_id}")
    subscriptions = stripe.call(
        "GET",
        "/v1/subscriptions",
        {"customer": customer_id, "status": "all", "limit": 100},
    )["data"]
    methods = stripe.call("GET", "/v1/payment_methods", {"customer": customer_id, "limit": 100})[
        "data"
    ]
    recent = RECENT if on_behalf_of is None else ALL
    limit = ALL if every_bill else recent
    invoices = stripe.call("GET", "/v1/invoices", {"customer": customer_id, "limit": limit})
    if on_behalf_of is not None:
        subscriptions = [one for one in subscriptions if one["on_behalf_of"] == on_behalf_of]
        invoices["data"] = [i for i in invoices["data"] if i["on_behalf_of"] == on_behalf_of]
    return Overview(
        customer=customer,
        plans=tuple(
            plan(stripe, one, customer, methods) for one in subscriptions if _worth_showing(one)
        ),
        methods=_methods(stripe, customer, methods, subscriptions),
        bills=tuple(
            bill(stripe, one)
            for one in invoices["data"]
            if one.get("status") not in (None, "draft")
        ),
        more_bills=bool(invoices["has_more"]) and not every_bill,
    )


def _worth_showing(subscription: Json) -> bool:
    return subscription["status"] not in ("incomplete_expired", "canceled")


def default_method_id(customer: Json) -> str | None:
    """The customer's default payment method, expanded or not."""
    default = (customer.get("invoice_settings") or {}).get("default_payment_method")
    return default["id"] if isinstance(default, dict) else default


def _methods(
    stripe: AccountApi, customer: Json, methods: list[Json], subscriptions: list[Json]
) -> tuple[Method, ...]:
    default = default_method_id(customer)
    today = datetime.fromtimestamp(stripe.now(), UTC)
    shown = []
    for one in methods:
        card = one.get("card") or {}
        year, month = card.get("exp_year"), card.get("exp_month")
        shown.append(
            Method(
                id=one["id"],
                kind=one["type"],
                name=wording.method_name(one),
                brand=str(card.get("brand") or one["type"]),
                expires=f"{month:02d} / {year}" if year else "",
                expired=bool(year) and (year, month) < (today.year, today.month),
                default=one["id"] == default,
                plans=tuple(
                    plan_name(stripe, subscription)
                    for subscription in subscriptions
                    if subscription.get("default_payment_method") == one["id"]
                    and _worth_showing(subscription)
                ),
            )
        )
    return tuple(sorted(shown, key=lambda method: not method.default))


def plan_name(stripe: AccountApi, subscription: Json) -> str:
    """What the customer subscribed to: the products' names."""
    names = []
    for item in subscription["items"]["data"]:
        product = (item.get("price") or {}).get("product")
        try:
            found = product if isinstance(product, dict) else _product(stripe, product)
            names.append(found.get("name") or "Subscription")
        except StripeError:
            names.append("Subscription")
    return " + ".join(names) or "Subscription"


def _product(stripe: AccountApi, product_id: str | None) -> Json:
    return stripe.call("GET", f"/v1/products/{product_id}") if product_id else {}


def plan(stripe: AccountApi, subscription: Json, customer: Json, methods: list[Json]) -> Plan:
    """One subscription as the page shows it."""
    items = subscription["items"]["data"]
    until = subscription.get("current_period_end") or (
        items[0].get("current_period_end") if items else None
    )
    ending = bool(subscription.get("cancel_at_period_end") or subscription.get("cancel_at"))
    paused = bool(subscription.get("pause_collection")) or subscription["status"] == "paused"
    state, tone = {
        "active": ("Active", "good"),
        "trialing": ("Trial", "good"),
        "past_due": ("Past due", "bad"),
        "unpaid": ("Unpaid", "bad"),
        "incomplete": ("Incomplete", "warn"),
        "canceled": ("Canceled", ""),
        "paused": ("Paused", "warn"),
    }.get(subscription["status"], (subscription["status"], ""))
    note = f"Renews on {wording.day(until)}." if until else ""
    if ending:
        state, tone = "Cancels soon", "warn"
        end = subscription.get("cancel_at") or until
        note = f"Ends on {wording.day(end)}. Nothing more is charged after that."
    elif paused:
        state, tone = "Paused", "warn"
        note = "No payments are collected while it is paused."
    own = subscription.get("default_payment_method")
    used = own or default_method_id(customer)
    paid_with = next((wording.method_name(one) for one in methods if one["id"] == used), "")
    return Plan(
        id=subscription["id"],
        name=plan_name(stripe, subscription),
        price=", ".join(
            wording.recurring(item["price"], item.get("quantity") or 1) for item in items
        ),
        state=state,
        tone=tone,
        note=note,
        paid_with=paid_with,
        ending=ending,
        paused=paused,
        over=subscription["status"] == "canceled",
    )


def intents_of(stripe: AccountApi, invoice_id: str) -> list[Json]:
    """The payment intents of an invoice, newest first, each with its latest charge."""
    payments = stripe.call(
        "GET",
        "/v1/invoice_payments",
        {
            "invoice": invoice_id,
            "limit": 20,
            "expand": ["data.payment.payment_intent.latest_charge"],
        },
    )["data"]
    intents = [(payment.get("payment") or {}).get("payment_intent") for payment in payments]
    return [intent for intent in intents if isinstance(intent, dict)]


def charges_of(stripe: AccountApi, invoice_id: str) -> list[Json]:
    """The charges that paid, or last tried to pay, an invoice, newest first."""
    charges = [intent.get("latest_charge") for intent in intents_of(stripe, invoice_id)]
    return [charge for charge in charges if isinstance(charge, dict)]


def save_card(stripe: AccountApi, card: Json, customer_id: str) -> Json:
    """Save a card to a customer; the payment method. Raises ``StripeError`` where its bank refuses it."""
    method = stripe.call("POST", "/v1/payment_methods", {"type": "card", "card": card})
    path = f"/v1/payment_methods/{method['id']}/attach"
    return stripe.call("POST", path, {"customer": customer_id})


@dataclass(frozen=True)
class Brand:
    """Whose page it is: the public name, empty when there is none, and the brand's colour (``#rrggbb``), or None."""

    name: str
    color: str | None


def brand(stripe: AccountApi, on_behalf_of: str | None = None) -> Brand:
    """The brand of the account on whose behalf something is billed, by default of the one whose Stripe this is."""
    account = stripe.call("GET", "/v1/account")
    if on_behalf_of is not None:
        # Where it is not connected any more, the page stays the platform's.
        with suppress(StripeError):
            account = stripe.call("GET", f"/v1/accounts/{on_behalf_of}")
    settings = account.get("settings") or {}
    profile = account.get("business_profile") or {}
    name = profile.get("name") or (settings.get("dashboard") or {}).get("display_name") or ""
    return Brand(str(name), (settings.get("branding") or {}).get("primary_color"))


def bill(stripe: AccountApi, invoice: Json) -> Bill:
    """One invoice as a line of the history."""
    paid = invoice["status"] == "paid"
    state, tone = bill_state(invoice, charges_of(stripe, invoice["id"]) if paid else [])
    return Bill(
        id=invoice["id"],
        number=invoice.get("number") or "",
        date=wording.day(_dated(invoice)),
        about=about(invoice),
        amount=wording.money(invoice.get("total") or 0, invoice["currency"]),
        state=state,
        tone=tone,
        paid=paid,
    )


def about(invoice: Json) -> str:
    """What an invoice is for: its first line, and how many more there are."""
    lines = (invoice.get("lines") or {}).get("data") or []
    first = lines[0].get("description") if lines else None
    text = wording.line(first or invoice.get("description"))
    return text + (f" and {len(lines) - 1} more" if len(lines) > 1 else "")


def bill_state(invoice: Json, charges: list[Json]) -> tuple[str, str]:
    """The words for an invoice's state and their tone; of a paid one by its ``charges``, which may have been refunded."""
    if invoice["status"] == "paid":
        refunded = sum(charge.get("amount_refunded") or 0 for charge in charges)
        if refunded and refunded >= (invoice.get("amount_paid") or 0):
            return "Refunded", ""
        if refunded:
            return f"{wording.money(refunded, invoice['currency'])} refunded", ""
        return "Paid", "good"
    if invoice["status"] == "open":
        return ("Payment failed", "bad") if invoice.get("attempt_count") else ("Due", "warn")
    words = {"void": "Void", "uncollectible": "Uncollectible"}
    return words.get(invoice["status"], str(invoice["status"])), ""


def _dated(invoice: Json) -> int:
    moments = invoice.get("status_transitions") or {}
    return int(moments.get("finalized_at") or invoice["created"])
