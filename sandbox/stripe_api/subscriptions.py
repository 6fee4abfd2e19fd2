"""Subscriptions."""

from __future__ import annotations

from sandbox.stripe_api import (
    collection,
    discounts,
    endings,
    payments,
    periods,
    pricing,
    subscription_cycle,
)
from sandbox.stripe_api.customers import alive
from sandbox.stripe_api.errors import StripeError, missing, parameter_missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.invoice_objects import intent_of
from sandbox.stripe_api.listing import page
from sandbox.stripe_api.metadata import take
from sandbox.stripe_api.method_choice import charged_method, chosen_defaults
from sandbox.stripe_api.platform_rules import must_have_made, on_behalf_of
from sandbox.stripe_api.rendering import as_list
from sandbox.stripe_api.routing import Params, route, route_of
from sandbox.stripe_api.store import Object, as_given, nulls
from sandbox.stripe_api.subscription_invoices import bill
from sandbox.stripe_api.subscription_items import change_items, new_item
from sandbox.stripe_api.world import World

DAY = 86_400
NOTHING_TO_CHARGE = (
    "This customer has no attached payment source or default payment method. Please consider adding a default "
    "payment method. For more information, visit https://stripe.com/docs/billing/payment-methods#default."
)


@route("POST", "/v1/subscriptions")
def create(world: World, ids: dict[str, str], params: Params) -> Object:
    """A subscription, its first invoice, and the first try to collect it."""
    if not params.get("customer"):
        raise parameter_missing("customer")
    if not params.get("items"):
        raise parameter_missing("items")
    customer = alive(world, params["customer"])
    defaults = chosen_defaults(world, params, customer)
    now = world.now_for(customer)
    id = new_id("sub")
    items = [new_item(world, i, n, id, now) for n, i in enumerate(params["items"])]
    trial_end = _trial_end(params, items, now)
    subscription = _new_subscription(world, customer, id, items, params, now, trial_end)
    subscription.update(defaults)
    automatic = subscription["collection_method"] == "charge_automatically"
    behavior = params.get("payment_behavior", "allow_incomplete")
    if not automatic and not params.get("days_until_due"):
        raise StripeError(
            "Missing required param: days_until_due. It must be set when collection_method is send_invoice.",
            code="parameter_missing",
            param="days_until_due",
        )
    chargeable = charged_method(world, customer, subscription=subscription)
    if automatic and not chargeable and trial_end is None and behavior != "default_incomplete":
        raise StripeError(NOTHING_TO_CHARGE, code="resource_missing")
    periods.next_period(subscription, now)
    if trial_end is not None:
        for item in items:
            item["current_period_end"] = trial_end
    given = params.get("discounts")
    subscription["discounts"] = discounts.redeem_all(world, given, customer, subscription)
    for item, wanted in zip(items, params["items"], strict=True):
        own = wanted.get("discounts")
        item["discounts"] = discounts.redeem_all(world, own, customer, subscription, item)
    world.save(subscription)
    invoice = bill(world, subscription, "subscription_create")
    world.emit("customer.subscription.created", subscription)
    _collect_first(world, subscription, invoice, behavior)
    return subscription


def _currency(world: World, params: Params, items: list[Object]) -> str:
    """What is charged in: one currency, in which each price is sold."""
    own = str(items[0]["price"]["currency"])
    wanted = str(params.get("currency", own)).lower()
    for item in items:
        if pricing.sold_in(world.get("price", item["price"]["id"]), wanted) is None:
            raise StripeError(
                f"The price specified only supports `{item['price']['currency']}`. "
                f"This doesn't match the expected currency: `{wanted}`."
            )
    return wanted


def _trial_end(params: Params, items: list[Object], now: int) -> int | None:
    if params.get("trial_period_days"):
        return int(now + params["trial_period_days"] * DAY)
    end = params.get("trial_end")
    if end is not None and end != "now":
        if int(end) <= now:
            raise StripeError(
                "Invalid timestamp: must be an integer Unix timestamp in the future.",
                param="trial_end",
            )
        return int(end)
    return None


def _new_subscription(
    world: World,
    customer: Object,
    id: str,
    items: list[Object],
    params: Params,
    now: int,
    trial_end: int | None,
) -> Object:
    trial_settings = params.get("trial_settings") or {
        "end_behavior": {"missing_payment_method": "create_invoice"}
    }
    if trial_settings["end_behavior"]["missing_payment_method"] == "pause":
        raise StripeError("This sandbox pauses no subscription.", param="trial_settings")
    method = params.get("collection_method", "charge_automatically")
    return {
        **world.head("subscription", id, now, params),
        "application": world.application,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": trial_end or now,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}},
        "cancel_at_period_end": params.get("cancel_at_period_end", False),
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": method,
        "currency": _currency(world, params, items),
        "customer": customer["id"],
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": as_list(items, f"/v1/subscription_items?subscription={id}"),
        "on_behalf_of": on_behalf_of(world, params),
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
            **(params.get("payment_settings") or {}),
        },
        "start_date": now,
        "status": _first_status(method, trial_end),
        "test_clock": customer.get("test_clock"),
        "trial_end": trial_end,
        "trial_settings": trial_settings,
        "trial_start": now if trial_end else None,
        **as_given(params, "cancel_at days_until_due description"),
        **nulls(
            "application_fee_percent billing_cycle_anchor_config billing_thresholds canceled_at "
            "customer_account default_payment_method default_source ended_at latest_invoice "
            "next_pending_invoice_item_invoice pause_collection pending_invoice_item_interval "
            "pending_setup_intent pending_update schedule transfer_data"
        ),
    }


def _first_status(collection_method: str, trial_end: int | None) -> str:
    if trial_end is not None:
        return "trialing"
    return "incomplete" if collection_method == "charge_automatically" else "active"


def _collect_first(world: World, subscription: Object, invoice: Object, behavior: str) -> None:
    if subscription["collection_method"] != "charge_automatically":
        return
    collection.finalize(world, invoice)
    if invoice["status"] != "open" or behavior == "default_incomplete":
        return
    # A first payment that fails leaves the subscription incomplete; it is the customer's to finish, not retried.
    result = collection.attempt(world, invoice, off_session=False)
    if result.status == "processing":
        # A bank debit takes days: until it comes back the subscription counts as paid for.
        with world.edit(invoice, "invoice.updated"):
            invoice["auto_advance"] = True
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "active"
    elif behavior == "error_if_incomplete" and not result.succeeded:
        intent = intent_of(world, invoice)
        endings.cancel(world, subscription)
        if intent is not None:
            raise payments.declined(world, intent, result)


@route("GET", "/v1/subscriptions")
def list_all(world: World, ids: dict[str, str], params: Params) -> Object:
    """By default those that are not over; `status=all` shows every one."""
    key: tuple[str, ...] = ("subscription",)
    status = params.get("status")
    if params.get("customer"):
        key = ("subscription", "customer", params["customer"])
        world.get("customer", params["customer"], "customer")
    elif status and status not in ("all", "ended"):
        key = ("subscription", "status", status)

    def wanted(subscription: Object) -> bool:
        mine = subscription["status"]
        over = mine in ("canceled", "incomplete_expired")
        by_status = {None: not over, "all": True, "ended": over}.get(status, mine == status)
        prices = [item["price"]["id"] for item in subscription["items"]["data"]]
        method = params.get("collection_method", subscription["collection_method"])
        return (
            by_status
            and method == subscription["collection_method"]
            and params.get("price", prices[0]) in prices
        )

    return page(world, key, params, wanted, url="/v1/subscriptions")


def _not_over(subscription: Object) -> None:
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise missing("subscription", subscription["id"])


@route_of("subscription", "POST", "/v1/subscriptions/{subscription}")
def update(world: World, subscription: Object, params: Params) -> Object:
    """Change what is given. Items change without proration."""
    must_have_made(world, subscription)
    if subscription["status"] in ("canceled", "incomplete_expired") and set(params) - {
        "metadata",
        "cancellation_details",
    }:
        raise StripeError(
            "A canceled subscription can only update its cancellation_details and metadata."
        )
    customer = world.get("customer", subscription["customer"])
    defaults = chosen_defaults(world, params, customer)
    with world.edit(subscription, "customer.subscription.updated"):
        subscription.update(defaults)
        if "discounts" in params:
            subscription["discounts"] = discounts.redeem_all(
                world, params["discounts"], customer, subscription
            )
        _change(world, subscription, params)
    if params.get("trial_end") == "now" and subscription["status"] == "trialing":
        subscription_cycle.end_trial(world, subscription)
    return subscription


def _change(world: World, subscription: Object, params: Params) -> None:
    take(
        subscription,
        params,
        "description",
        "collection_method",
        "days_until_due",
        "trial_settings",
    )
    if "on_behalf_of" in params:
        subscription["on_behalf_of"] = on_behalf_of(world, params)
    if "payment_settings" in params:
        subscription["payment_settings"].update(params["payment_settings"])
    if "cancellation_details" in params:
        subscription["cancellation_details"].update(params["cancellation_details"])
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = pause and {
            "behavior": pause["behavior"],
            "resumes_at": pause.get("resumes_at"),
        }
    if "cancel_at_period_end" in params:
        ends = params["cancel_at_period_end"]
        subscription["cancel_at_period_end"] = ends
        _plan_end(world, subscription, periods.period_end(subscription) if ends else None)
    elif "cancel_at" in params:
        at = params["cancel_at"]
        _plan_end(world, subscription, int(at) if at is not None and str(at).isdigit() else None)
    if "items" in params:
        change_items(world, subscription, params["items"])


def _plan_end(world: World, subscription: Object, at: int | None) -> None:
    subscription["cancel_at"] = at
    subscription["canceled_at"] = world.now_for(subscription) if at is not None else None
    subscription["cancellation_details"]["reason"] = (
        "cancellation_requested" if at is not None else None
    )


@route_of("subscription", "DELETE", "/v1/subscriptions/{subscription}")
def cancel(world: World, subscription: Object, params: Params) -> Object:
    """End it now."""
    _not_over(subscription)
    must_have_made(world, subscription)
    details = params.get("cancellation_details") or {}
    subscription["cancellation_details"].update(details)
    endings.cancel(world, subscription)
    return subscription
