"""What a subscription consists of: prices and quantities."""

from __future__ import annotations

from sandbox.stripe_api import pricing
from sandbox.stripe_api.catalogue import price_for
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.metadata import merged
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


def new_item(world: World, given: Params, index: int, subscription: str, now: int) -> Object:
    """The item that the `index`th of the parameters `items` describes; a metered one has no quantity."""
    price = price_for(world, given, f"items[{index}]")
    if price.get("recurring") is None:
        raise StripeError(
            f"The price specified is set to `type=one_time` but this field only accepts prices with "
            f"`type=recurring`. Price: {price['id']}",
            param=f"items[{index}][price]",
        )
    item: Object = {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": now,
        "current_period_end": now,
        "current_period_start": now,
        "discounts": [],
        "metadata": merged({}, given.get("metadata")),
        "price": public(price),
        "quantity": given.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": [],
    }
    if pricing.is_metered(price):
        del item["quantity"]
    return item


def change_items(world: World, subscription: Object, given: list[Params]) -> None:
    """Add, change and delete items, without proration (not saved here)."""
    now = world.now_for(subscription)
    items: list[Object] = subscription["items"]["data"]
    for index, change in enumerate(given):
        known = next((item for item in items if item["id"] == change.get("id")), None)
        if known is None:
            new = new_item(world, change, index, subscription["id"], now)
            new["current_period_start"] = items[0]["current_period_start"]
            new["current_period_end"] = items[0]["current_period_end"]
            items.append(new)
        elif change.get("deleted"):
            items.remove(known)
        else:
            if change.get("price"):
                known["price"] = public(price_for(world, change, f"items[{index}]"))
            if "quantity" in change:
                known["quantity"] = change["quantity"]


@route("GET", "/v1/subscription_items")
def list_items(world: World, ids: dict[str, str], params: Params) -> Object:
    """What a subscription consists of."""
    subscription = world.get("subscription", params["subscription"], "subscription")
    found: Object = subscription["items"]
    return found
