"""The invoice of a subscription's period: made, and previewed."""

from __future__ import annotations

from sandbox.stripe_api import discounts, periods, pricing, usage
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.invoice_items import pending_items, put_on_invoice
from sandbox.stripe_api.invoice_objects import (
    apply_balance,
    new_invoice,
    new_line,
    subscription_parent,
)
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object, copy
from sandbox.stripe_api.world import World
from shared.l10n.locales import ENGLISH
from shared.l10n.money import money

HOUR = 3600


def bill(world: World, subscription: Object, reason: str) -> Object:
    """A draft for the period that begins now. `reason` is its `billing_reason`."""
    customer = world.get("customer", subscription["customer"])
    now = world.now_for(subscription)
    invoice = compose(world, subscription, customer, reason, until=now)
    world.save(invoice)
    for waiting in pending_items(world, customer):
        if waiting["currency"] == invoice["currency"]:
            put_on_invoice(world, waiting, invoice)
    world.save(invoice)
    if customer["currency"] is None:
        customer["currency"] = invoice["currency"]
        world.save(customer)
    subscription["latest_invoice"] = invoice["id"]
    subscription["_usage_from"] = now
    world.save(subscription)
    world.emit("invoice.created", invoice)
    if invoice["subtotal"]:
        discounts.spend(world, customer, subscription, now)
    return invoice


def compose(
    world: World, subscription: Object, customer: Object, reason: str, *, until: int
) -> Object:
    """The invoice of the current period, not saved: what is licensed in advance, what was used up to `until`."""
    items = subscription["items"]["data"]
    invoice = new_invoice(
        world,
        customer,
        subscription["currency"],
        billing_reason=reason,
        collection_method=subscription["collection_method"],
        days_until_due=subscription["days_until_due"],
        auto_advance=_advances(subscription),
        parent=subscription_parent(subscription),
        payment_settings={
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": subscription["payment_settings"]["payment_method_types"],
        },
        period_start=items[0]["current_period_start"],
        period_end=items[0]["current_period_end"],
        application=subscription["application"],
        on_behalf_of=subscription["on_behalf_of"],
    )
    found = discounts.standing(world, customer, subscription, until)
    invoice["discounts"] = [one["id"] for one in found]
    invoice["_terms"] = discounts.terms(world, found, invoice["currency"])
    for item in items:
        _put_item(world, invoice, subscription, customer, item, until)
    return invoice


def _advances(subscription: Object) -> bool:
    """Whether Stripe finalizes and collects the invoice of a period by itself.

    Not while collection is paused, nor after it has given up (`unpaid`), nor for the first payment, which the
    customer makes at checkout (`incomplete`).
    """
    pause = subscription["pause_collection"]
    held = pause is not None and pause["behavior"] == "keep_as_draft"
    return not held and subscription["status"] not in ("incomplete", "unpaid")


def _put_item(
    world: World, invoice: Object, subscription: Object, customer: Object, item: Object, until: int
) -> None:
    price = world.get("price", item["price"]["id"])
    price = pricing.sold_in(price, invoice["currency"]) or price
    product = world.store.get(price["product"])
    name = product["name"] if product else "Subscription"
    period = (item["current_period_start"], item["current_period_end"])
    quantity = 1 if item.get("quantity") is None else item["quantity"]
    if pricing.is_metered(price):
        period = (subscription.get("_usage_from") or subscription["start_date"], until)
        quantity = usage.used(world, price, customer, *period)
    trial = subscription["status"] == "trialing"
    new_line(
        invoice,
        amount=0 if trial else pricing.cost(price, quantity),
        description=_description(price, quantity, name, trial=trial),
        quantity=quantity,
        period=period,
        price=price,
        subscription=subscription["id"],
        subscription_item=item["id"],
        metadata=subscription["metadata"],
    )


def _description(price: Object, quantity: int, name: str, *, trial: bool) -> str:
    if trial:
        return f"Trial period for {name}"
    unit = price["unit_amount"]
    if unit is None:
        return f"{quantity} × {name}"
    each = money(unit, price["currency"], ENGLISH)
    return f"{quantity} × {name} (at {each} / {price['recurring']['interval']})"


@route("POST", "/v1/invoices/create_preview")
def create_preview(world: World, ids: dict[str, str], params: Params) -> Object:
    """What the next invoice of a `subscription` (or of the `customer`'s first one) will be, as things stand."""
    if unknown := set(params) - {"customer", "subscription", "preview_mode"}:
        raise StripeError(
            "This sandbox previews a subscription as it stands, without changes.",
            param=min(unknown),
        )
    if params.get("subscription"):
        subscription = world.get("subscription", params["subscription"], "subscription")
    elif params.get("customer"):
        customer = world.get("customer", params["customer"], "customer")
        mine = world.store.oldest("subscription", "customer", customer["id"])
        found = next(filter(_goes_on, mine), None)
        if found is None:
            raise _none(customer["id"])
        subscription = found
    else:
        raise StripeError("You must provide customer or subscription.", param="subscription")
    if not _goes_on(subscription):
        raise _none(subscription["customer"])
    return upcoming(world, subscription)


def _none(customer_id: str) -> StripeError:
    return StripeError(
        f"No upcoming invoices for customer: {customer_id}",
        status=404,
        code="invoice_upcoming_none",
    )


def _goes_on(subscription: Object) -> bool:
    """Whether there will be another invoice."""
    if subscription["status"] in ("canceled", "incomplete_expired"):
        return False
    items = subscription["items"]["data"]
    end = min(item["current_period_end"] for item in items)
    ends = subscription["cancel_at_period_end"] or (
        subscription["cancel_at"] is not None and subscription["cancel_at"] <= end
    )
    return not ends or any(pricing.is_metered(item["price"]) for item in items)


def upcoming(world: World, subscription: Object) -> Object:
    """The next period's invoice as it would be; nothing is kept."""
    customer = world.get("customer", subscription["customer"])
    then: Object = copy(subscription)
    start = periods.period_end(then)
    if then["status"] == "trialing":
        then["status"] = "active"
    periods.next_period(then, start)
    invoice = compose(world, then, customer, "upcoming", until=start)
    for waiting in pending_items(world, customer):
        if waiting["currency"] == invoice["currency"]:
            put_on_invoice(world, copy(waiting), invoice, keep=False)
    apply_balance(invoice, customer)
    invoice["id"] = f"upcoming_{invoice['id']}"
    invoice["created"] = invoice["period_start"] = invoice["period_end"] = start
    invoice["automatically_finalizes_at"] = None
    if invoice["collection_method"] == "charge_automatically":
        invoice["next_payment_attempt"] = start + HOUR
    return invoice
