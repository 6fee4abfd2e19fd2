"""After a failed payment: the schedule of further tries, its end, and the end of collecting.

https://docs.stripe.com/billing/revenue-recovery/smart-retries and
https://docs.stripe.com/billing/subscriptions/cancel: a cancelled subscription's invoices are no longer collected.
"""

from __future__ import annotations

from sandbox.stripe_api import endings, test_methods
from sandbox.stripe_api.account_settings import chosen
from sandbox.stripe_api.declines import HARD_DECLINES, RETRIABLE_DEBITS
from sandbox.stripe_api.invoice_objects import subscription_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

RETRY_DAYS = (3, 5, 7)
"""Between the attempts at an unpaid invoice, as Stripe's smart retries space them."""


def collected_by_stripe(invoice: Object) -> bool:
    """Whether Stripe goes on by itself with an open invoice."""
    return bool(
        invoice["status"] == "open"
        and invoice["auto_advance"]
        and invoice["collection_method"] == "charge_automatically"
    )


def is_pointless(invoice: Object, method: Object) -> bool:
    """After a hard decline the schedule goes on, but nothing is charged until there is a new payment method."""
    return invoice["_last_decline"] in HARD_DECLINES and invoice["_last_method"] == method["id"]


def count(world: World, invoice: Object, *, scheduled: bool) -> None:
    """Only the schedule's attempts raise attempt_count, except that the first attempt always counts."""
    first = not invoice["attempted"]
    invoice["attempted"] = True
    if first or scheduled:
        invoice["attempt_count"] += 1
        plan_next(world, invoice)


def plan_next(world: World, invoice: Object) -> None:
    """Set the date of the next try, or note that the tries are used up (not saved here)."""
    invoice["next_payment_attempt"] = None
    if not collected_by_stripe(invoice):
        return
    tries = invoice["attempt_count"]
    if not 0 < tries <= len(RETRY_DAYS):
        invoice["_exhausted"] = tries > len(RETRY_DAYS)
        return
    invoice["next_payment_attempt"] = world.now_for(invoice) + RETRY_DAYS[tries - 1] * 86_400


def plan_after_debit(world: World, invoice: Object, method: Object | None, reason: str) -> None:
    """A debit came back: there is a next date where a card would be charged, or the account retries debits."""
    if not collected_by_stripe(invoice) or invoice["_exhausted"] or method is None:
        return
    spec = test_methods.SPECS[method["_spec"]]
    if not spec.is_debit or (chosen(world).retry_debits and reason in RETRIABLE_DEBITS):
        with world.edit(invoice, "invoice.updated"):
            plan_next(world, invoice)
            hold_date(world, invoice)


def hold_date(world: World, invoice: Object) -> None:
    """An automation names the date only after the failure has been told (not saved here)."""
    if chosen(world).automations:
        invoice["_held_date"] = invoice["next_payment_attempt"]
        invoice["next_payment_attempt"] = None


def failed(world: World, invoice: Object) -> None:
    """Tell of a failed try, and what it means for customer and subscription."""
    world.emit("invoice.payment_failed", invoice)
    held = invoice.pop("_held_date", None)
    if held is not None:
        with world.edit(invoice, "invoice.updated"):
            invoice["next_payment_attempt"] = held
    customer = world.get("customer", invoice["customer"])
    if not customer["delinquent"] and invoice["collection_method"] == "charge_automatically":
        with world.edit(customer, "customer.updated"):
            customer["delinquent"] = True
    after_failure(world, invoice)


def after_failure(world: World, invoice: Object) -> None:
    """The subscription is past due; after the last try it becomes what the business has chosen."""
    subscription = world.store.get(subscription_of(invoice) or "")
    if subscription is None or invoice["collection_method"] != "charge_automatically":
        return
    if subscription["status"] in ("active", "trialing"):
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "past_due"
    if invoice["_exhausted"] and subscription["status"] == "past_due":
        _give_up(world, subscription, invoice)


def _give_up(world: World, subscription: Object, invoice: Object) -> None:
    wanted = chosen(world).after_last_retry
    if wanted == "cancel":
        endings.cancel(world, subscription, reason="payment_failed")
    elif wanted == "unpaid":
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "unpaid"
    if chosen(world).after_last_retry_invoice == "uncollectible":
        endings.close(world, invoice, "uncollectible")


def due_by_hand(invoice: Object) -> int | None:
    """The day by which an invoice that was sent is to be paid, while that has not passed."""
    waits = invoice["status"] == "open" and invoice["collection_method"] == "send_invoice"
    day: int | None = invoice["due_date"] if waits and not invoice.get("_overdue") else None
    return day


def falls_overdue(world: World, invoice: Object) -> None:
    """Its day has passed: nobody is charged, and its subscription is past due.
    https://docs.stripe.com/api/subscriptions/object#subscription_object-status"""
    with world.edit(invoice):
        invoice["_overdue"] = True
    world.emit("invoice.overdue", invoice)
    subscription = world.store.get(subscription_of(invoice) or "")
    if subscription is not None and subscription["status"] == "active":
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "past_due"


def resume(world: World, invoice: Object) -> None:
    """Stripe collects again by itself (changed by `invoices.update`; not saved here)."""
    now = world.now_for(invoice)
    if invoice["status"] == "draft":
        invoice["automatically_finalizes_at"] = now + 3600
    elif invoice["attempted"]:
        plan_next(world, invoice)
    elif collected_by_stripe(invoice):
        invoice["next_payment_attempt"] = now + 3600
