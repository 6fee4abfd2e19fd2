"""What a customer pays with: a card, or a bank account that pays or comes back."""

from __future__ import annotations

from sandbox.console.actions import Notice, subscription_of
from sandbox.pages import billing, wording
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi


def charged_method(world: AccountApi, customer_id: str) -> Json | None:
    """The payment method that Stripe would charge: the subscription's own, else the default."""
    subscription = subscription_of(world, customer_id) or {}
    chosen = subscription.get("default_payment_method") or billing.default_method_id(
        world.call("GET", f"/v1/customers/{customer_id}")
    )
    return world.call("GET", f"/v1/payment_methods/{chosen}") if chosen else None


def card(world: AccountApi, customer_id: str, name: str) -> Notice:
    """A new card that works."""
    return _pay_with(world, customer_id, name, "pm_card_visa", "It works.")


def bank(world: AccountApi, customer_id: str, name: str) -> Notice:
    """A bank account that pays, days later."""
    return _pay_with(
        world,
        customer_id,
        name,
        "pm_usBankAccount_success",
        "A debit takes four days: “Charge now” begins one.",
    )


def empty_bank(world: AccountApi, customer_id: str, name: str) -> Notice:
    """A bank account without money: its debits come back."""
    return _pay_with(
        world,
        customer_id,
        name,
        "pm_usBankAccount_insufficientFunds",
        "There is no money on it: a debit comes back after four days. “Charge now” begins one.",
    )


def _pay_with(world: AccountApi, customer_id: str, name: str, token: str, then: str) -> Notice:
    method = world.call("POST", f"/v1/payment_methods/{token}/attach", {"customer": customer_id})
    # A subscription's own default goes before its customer's, so it must not stay behind.
    subscription = subscription_of(world, customer_id)
    if subscription is not None and subscription["default_payment_method"]:
        world.call(
            "POST",
            f"/v1/subscriptions/{subscription['id']}",
            {"default_payment_method": method["id"]},
        )
    world.call(
        "POST",
        f"/v1/customers/{customer_id}",
        {"invoice_settings": {"default_payment_method": method["id"]}},
    )
    return Notice(f"{name} pays with {wording.method_name(method)} from now on. {then}")
