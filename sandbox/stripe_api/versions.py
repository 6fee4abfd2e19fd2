"""Events in the shape of an older API version: an endpoint hears the version it was made with.

Only what receivers of billing events trip over is turned back: the invoice, the payment intent and the subscription of before
2025-03-31 (https://docs.stripe.com/changelog/basil).
"""

from __future__ import annotations

from typing import Any

from sandbox.stripe_api.store import Object, copy

BASIL = "2025-03-31"
_NO_PAYMENT: Object = {"payment_intent": None, "charge": None}


def render_for(event: Object, version: str | None) -> Object:
    """The event as an endpoint of API version `version` sees it; None means the current one. Thin events have none."""
    if event["object"] != "event" or not version or version[:10] >= BASIL:
        return event
    shown: Object = copy(event)
    shown["api_version"] = version
    obj = shown["data"]["object"]
    if obj.get("object") == "invoice":
        _old_invoice(obj)
        obj.update(event.get("_payment", _NO_PAYMENT))
    elif obj.get("object") == "payment_intent":
        obj["invoice"] = obj.get("payment_details", {}).get("order_reference")
    elif obj.get("object") == "subscription":
        _old_subscription(obj, event.get("_discount"))
    return shown


def _old_invoice(invoice: dict[str, Any]) -> None:
    parent = invoice.pop("parent", None) or {}
    details = parent.get("subscription_details")
    invoice["subscription"] = details["subscription"] if details else None
    invoice["subscription_details"] = {"metadata": details["metadata"] if details else None}
    invoice["paid"] = invoice["status"] == "paid"
    invoice["paid_out_of_band"] = False
    invoice["tax"] = None
    for line in invoice["lines"]["data"]:
        pricing = line.pop("pricing", None) or {}
        line_parent = line.pop("parent", None) or {}
        item = line_parent.get("subscription_item_details") or {}
        price = (pricing.get("price_details") or {}).get("price")
        line["price"] = {"id": price, "object": "price"} if price else None
        line["subscription"] = item.get("subscription")
        line["subscription_item"] = item.get("subscription_item")
        line["type"] = "subscription" if item else "invoiceitem"
        line["proration"] = False


def _plan(price: dict[str, Any]) -> Object:
    """What a price was before there were prices."""
    recurring = price["recurring"]
    packages = price["transform_quantity"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": packages,
        "usage_type": recurring["usage_type"],
    }


def _old_subscription(subscription: dict[str, Any], discount: Object | None) -> None:
    # https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-singular-coupon-promotion-code
    subscription["discount"] = discount
    items = subscription["items"]["data"]
    for item in items:
        item["plan"] = _plan(item["price"])
    single = items[0] if len(items) == 1 else {}
    subscription["plan"], subscription["quantity"] = single.get("plan"), single.get("quantity")
    for name in ("current_period_start", "current_period_end"):
        subscription[name] = items[0][name] if items else None
        for item in items:
            item.pop(name, None)
