"""Coupons, and the discounts that they become when a customer or a subscription redeems them.

https://docs.stripe.com/billing/subscriptions/coupons. A subscription's own discounts go before its customer's; those of
its items are taken off first.
"""

from __future__ import annotations

from sandbox.stripe_api.clock import add_interval
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.platform_rules import must_have_made
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given, nulls
from sandbox.stripe_api.world import BESIDE, World


@route("POST", "/v1/coupons")
def create_coupon(world: World, ids: dict[str, str], params: Params) -> Object:
    """`percent_off`, or `amount_off` of a `currency`; `once`, `forever`, or `repeating` for some months."""
    duration = params.get("duration", "once")
    if (params.get("percent_off") is None) == (params.get("amount_off") is None):
        raise StripeError(
            "You must pass exactly one of percent_off or amount_off.", param="percent_off"
        )
    if (duration == "repeating") != bool(params.get("duration_in_months")):
        raise StripeError(
            "You must pass duration_in_months when, and only when, passing a repeating duration.",
            param="duration_in_months",
        )
    percent = params.get("percent_off")
    coupon: Object = {
        **world.head("coupon", params.get("id") or new_id("x", 8)[2:], world.now(), params),
        "duration": duration,
        "percent_off": float(percent) if percent is not None else None,
        "times_redeemed": 0,
        "valid": True,
        **as_given(params, "amount_off currency duration_in_months max_redemptions name redeem_by"),
    }
    world.save(coupon, "coupon.created")
    return coupon


def redeem(
    world: World,
    coupon_id: str,
    param: str,
    customer: Object,
    subscription: Object | None = None,
    item: Object | None = None,
) -> Object:
    """A discount for the customer, for one subscription, or for an item of one; raises Stripe's 400 of a coupon that is
    spent."""
    coupon = world.get("coupon", coupon_id, param)
    if not coupon["valid"]:
        raise StripeError(f"Coupon expired: {coupon_id}", code="coupon_expired", param=param)
    now = world.now_for(customer)
    months = coupon["duration_in_months"]
    discount: Object = {
        "id": new_id("di"),
        "object": "discount",
        "customer": customer["id"],
        "end": add_interval(now, "month", months) if months else None,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": now,
        "subscription": subscription["id"] if subscription and not item else None,
        "subscription_item": item["id"] if item else None,
        **nulls("checkout_session customer_account invoice invoice_item promotion_code"),
        "_clock": customer.get("test_clock"),
    }
    coupon["times_redeemed"] += 1
    if coupon["times_redeemed"] == coupon["max_redemptions"]:
        coupon["valid"] = False
    world.save(coupon)
    world.save(discount, "customer.discount.created")
    return discount


def redeem_all(
    world: World,
    given: list[Params] | None,
    customer: Object,
    subscription: Object,
    item: Object | None = None,
) -> list[str]:
    """The ids for the `discounts` of a subscription or an item, of what `discounts` asks for: new coupons, or discounts to
    keep."""
    chosen = []
    for index, wanted in enumerate(given or []):
        if wanted.get("discount"):
            chosen.append(
                world.get("discount", wanted["discount"], f"discounts[{index}][discount]")["id"]
            )
        elif wanted.get("coupon"):
            where = f"discounts[{index}][coupon]"
            new = redeem(world, wanted["coupon"], where, customer, subscription, item)
            chosen.append(new["id"])
        else:
            raise StripeError(
                "This sandbox knows discounts by coupon or by discount only.",
                param=f"discounts[{index}]",
            )
    return chosen


def standing(world: World, customer: Object, subscription: Object, at: int) -> list[Object]:
    """The discounts that an invoice of the subscription has at a time: those of its items go first."""
    ids = [id for item in subscription["items"]["data"] for id in item["discounts"]]
    ids += subscription["discounts"] or (
        [customer["discount"]["id"]] if customer["discount"] else []
    )
    found = [world.store.get(id) for id in ids]
    return [one for one in found if one is not None and (one["end"] is None or one["end"] > at)]


def terms(world: World, discounts: list[Object], currency: str) -> list[Object]:
    """What an invoice has to know of its discounts to add itself up; an amount is off in its own currency only."""
    found = []
    for discount in discounts:
        coupon = world.get("coupon", discount["source"]["coupon"])
        if coupon["amount_off"] is None or coupon["currency"] == currency:
            off = {key: coupon[key] for key in ("percent_off", "amount_off")}
            item = discount["subscription_item"]
            found.append({"discount": discount["id"], "item": item, **off})
    return found


def spend(world: World, customer: Object, subscription: Object, at: int) -> None:
    """An invoice has been made: what was for once, or is over, is taken from whoever had it."""
    of_items = [id for item in subscription["items"]["data"] for id in item["discounts"]]
    for id in [*of_items, *subscription["discounts"]]:
        if _is_spent(world, id, at):
            remove(world, id, customer, subscription)
    if customer["discount"] and _is_spent(world, customer["discount"]["id"], at):
        remove(world, customer["discount"]["id"], customer)


def _is_spent(world: World, id: str, at: int) -> bool:
    discount = world.get("discount", id)
    coupon = world.get("coupon", discount["source"]["coupon"])
    return coupon["duration"] == "once" or (discount["end"] is not None and discount["end"] <= at)


def with_coupon(world: World, subscription: Object) -> Object | None:
    """The last discount that was given, as it stood whole on a subscription before 2025-03-31; its coupon stood in it."""
    ids = subscription["discounts"]
    found = world.store.get(ids[-1]) if ids else None
    if found is None:
        return None
    shown = public(found)
    source = shown.pop("source")
    return {**shown, "coupon": public(world.get("coupon", source["coupon"]))}


def remove(world: World, id: str, customer: Object, subscription: Object | None = None) -> Object:
    """Take a discount away again."""
    discount = world.get("discount", id)
    if subscription is not None:
        with world.edit(subscription, "customer.subscription.updated"):
            for bearer in (subscription, *subscription["items"]["data"]):
                bearer["discounts"] = [one for one in bearer["discounts"] if one != id]
    else:
        with world.edit(customer, "customer.updated"):
            customer["discount"] = None
    world.emit("customer.discount.deleted", discount)
    return {**public(discount), "deleted": True}


@route("POST", "/sandbox/customers/{customer}/discount")
def give(world: World, ids: dict[str, str], params: Params) -> Object:
    """The business gives a customer the `coupon`, which no parameter of the current API does."""
    customer = alive(world, ids["customer"], "id")
    discount = redeem(world, str(params.get("coupon")), "coupon", customer)
    with world.edit(customer, "customer.updated"):
        customer["discount"] = public(discount)
    return discount


@route("DELETE", "/v1/customers/{customer}/discount")
def remove_from_customer(world: World, ids: dict[str, str], params: Params) -> Object:
    """Invoices to come cost what they cost."""
    customer = alive(world, ids["customer"], "id")
    if not customer["discount"]:
        raise StripeError(
            f"No active discount for customer: {customer['id']}",
            status=404,
            code="resource_missing",
        )
    return remove(world, customer["discount"]["id"], customer)


@route_of("subscription", "DELETE", "/v1/subscriptions/{subscription}/discount")
def remove_from_subscription(world: World, subscription: Object, params: Params) -> Object:
    """The last discount that was given goes."""
    must_have_made(world, subscription)
    if not subscription["discounts"]:
        raise StripeError(
            f"No active discount for subscription: {subscription['id']}",
            status=404,
            code="resource_missing",
        )
    customer = world.get("customer", subscription["customer"])
    return remove(world, subscription["discounts"][-1], customer, subscription)


BESIDE["subscription"] = ("_discount", with_coupon)
