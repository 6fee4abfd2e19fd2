"""The life of a subscription: its first invoice, its renewals, its end."""

from __future__ import annotations

from sandbox.stripe_api import collection, endings
from sandbox.stripe_api.clock import DUE
from sandbox.stripe_api.method_choice import charged_method
from sandbox.stripe_api.periods import next_period, period_end
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.subscription_invoices import bill
from sandbox.stripe_api.world import RUN, World

LIVING = ("active", "past_due", "trialing", "unpaid")
INCOMPLETE_FOR = 23 * 3600
"""Seconds after which a subscription that was never paid for expires."""


def renew(world: World, subscription: Object, *, at: int | None = None) -> Object:
    """The next period begins at `at` (by default where the last one ends) and is billed; returns the draft."""
    start = at if at is not None else period_end(subscription)
    with world.edit(subscription, "customer.subscription.updated"):
        if at is not None:
            subscription["billing_cycle_anchor"] = at
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        next_period(subscription, start)
        invoice = bill(world, subscription, "subscription_cycle")
    pause = subscription["pause_collection"]
    if pause is not None and pause["behavior"] in ("void", "mark_uncollectible"):
        collection.finalize(world, invoice)
        if invoice["status"] == "open":
            endings.close(
                world, invoice, "void" if pause["behavior"] == "void" else "uncollectible"
            )
    return invoice


def charge_now(world: World, subscription: Object) -> Object:
    """Begin the next cycle at once and try to collect it, as Stripe does an hour after a renewal."""
    invoice = renew(world, subscription, at=world.now_for(subscription))
    if invoice["status"] == "draft":
        collection.finalize_and_collect(world, invoice)
    return invoice


def end_trial(world: World, subscription: Object) -> None:
    """The trial is over: billed, or cancelled if there is nothing to charge."""
    customer = world.get("customer", subscription["customer"])
    method = charged_method(world, customer, subscription=subscription)
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    now = world.now_for(subscription)
    subscription["trial_end"] = min(subscription["trial_end"], now)
    if method is None and behavior == "cancel":
        endings.cancel(world, subscription)
    else:
        renew(world, subscription, at=now)


def _due(subscription: Object) -> int | None:
    status = subscription["status"]
    if status == "incomplete":
        return int(subscription["created"]) + INCOMPLETE_FOR
    if status not in LIVING:
        return None
    times = [period_end(subscription)]
    if subscription["cancel_at"]:
        times.append(subscription["cancel_at"])
    pause = subscription["pause_collection"]
    if pause is not None and pause["resumes_at"]:
        times.append(pause["resumes_at"])
    return min(times)


def _fall_due(world: World, subscription: Object) -> None:
    now = world.now_for(subscription)
    if subscription["status"] == "incomplete":
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["status"] = "incomplete_expired"
            subscription["ended_at"] = now
        for invoice in list(world.store.oldest("invoice", "subscription", subscription["id"])):
            if invoice["status"] == "open":
                endings.close(world, invoice, "void")
        return
    pause = subscription["pause_collection"]
    if pause is not None and pause["resumes_at"] and pause["resumes_at"] <= now:
        with world.edit(subscription, "customer.subscription.updated"):
            subscription["pause_collection"] = None
        return
    ends = subscription["cancel_at"]
    if (ends is not None and ends <= now) or subscription["cancel_at_period_end"]:
        endings.cancel(world, subscription)
    elif subscription["status"] == "trialing":
        end_trial(world, subscription)
    else:
        renew(world, subscription)


DUE["subscription"] = _due
RUN["subscription"] = _fall_due
