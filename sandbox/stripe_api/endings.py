"""What ends: the collecting of an invoice, an invoice that is never paid, a subscription.

A cancelled subscription's invoices are no longer collected: https://docs.stripe.com/billing/subscriptions/cancel.
"""

from __future__ import annotations

from sandbox.stripe_api.invoice_objects import intent_of
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World

_ENDINGS = {
    "void": ("voided_at", "invoice.voided"),
    "uncollectible": ("marked_uncollectible_at", "invoice.marked_uncollectible"),
}


def stop(world: World, invoice: Object) -> None:
    """Stripe collects a draft or open invoice no more by itself; the date of the next try is withdrawn."""
    with world.edit(invoice, "invoice.updated"):
        invoice["auto_advance"] = False
        invoice["next_payment_attempt"] = None
        invoice["automatically_finalizes_at"] = None


def cancel_intent(world: World, invoice: Object) -> None:
    """The invoice's payment intent can't be paid any more."""
    intent = intent_of(world, invoice)
    if intent is not None and intent["status"] not in ("succeeded", "canceled"):
        with world.edit(intent):
            intent["status"] = "canceled"
            intent["canceled_at"] = world.now_for(invoice)
            intent["_settles_at"] = None
        world.emit("payment_intent.canceled", intent)


def close(world: World, invoice: Object, status: str) -> None:
    """`void` or `uncollectible`: Stripe asks for it no more. A bad debt keeps its payment intent: it can be paid."""
    if status == "void":
        cancel_intent(world, invoice)
    stamp, event = _ENDINGS[status]
    with world.edit(invoice, "invoice.updated"):
        invoice["status"] = status
        invoice["auto_advance"] = False
        invoice["next_payment_attempt"] = None
        invoice["status_transitions"][stamp] = world.now_for(invoice)
    world.emit(event, invoice)


def cancel(world: World, subscription: Object, *, reason: str = "cancellation_requested") -> None:
    """The end. Drafts and open invoices are no longer collected automatically."""
    now = world.now_for(subscription)
    subscription["status"] = "canceled"
    subscription["canceled_at"] = subscription["canceled_at"] or now
    subscription["ended_at"] = now
    subscription["cancellation_details"]["reason"] = reason
    world.save(subscription)
    for invoice in list(world.store.oldest("invoice", "subscription", subscription["id"])):
        if invoice["status"] in ("draft", "open") and invoice["auto_advance"]:
            stop(world, invoice)
    world.emit("customer.subscription.deleted", subscription)
