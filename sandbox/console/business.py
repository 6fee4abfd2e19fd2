"""What the business does in its dashboard: forgive, discount, pause, cancel, stop collecting, choose."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.console.actions import Notice, amount_of, open_invoices, subscription_of
from sandbox.pages import wording
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError

COUPON = "half-price"


def credit(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Forgive all of the oldest open invoice."""
    return _credit(world, customer_id, name, part=1)


def credit_half(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Forgive half of the oldest open invoice."""
    return _credit(world, customer_id, name, part=2)


def _credit(world: AccountApi, customer_id: str, name: str, *, part: int) -> Notice:
    owed = open_invoices(world, customer_id)
    if not owed:
        return Notice(f"{name} has no open invoice that could be forgiven.")
    note = world.call(
        "POST",
        "/v1/credit_notes",
        {"invoice": owed[-1]["id"], "amount": owed[-1]["amount_remaining"] // part},
    )
    forgiven = wording.money(note["amount"], note["currency"])
    left = world.call("GET", f"/v1/invoices/{owed[-1]['id']}")
    if left["status"] == "paid":
        return Notice(f"{forgiven} were forgiven: the invoice is closed, and nobody paid anything.")
    return Notice(f"{forgiven} were forgiven. {name} owes {amount_of(left)}.")


def stop_collecting(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Turn automatic collection off on all open invoices."""
    return _collect(world, customer_id, name, on=False)


def collect_again(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Turn it on again."""
    return _collect(world, customer_id, name, on=True)


def _collect(world: AccountApi, customer_id: str, name: str, *, on: bool) -> Notice:
    owed = open_invoices(world, customer_id)
    for invoice in owed:
        world.call("POST", f"/v1/invoices/{invoice['id']}", {"auto_advance": on})
    if not owed:
        return Notice(f"{name} has no open invoice.")
    if on:
        return Notice(f"Stripe collects {name}’s open invoices by itself again.")
    return Notice(
        f"Nothing of what {name} owes is collected any more, and no try is planned.", "warn"
    )


def coupon(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Half price for three months."""
    subscription = _subscription(world, customer_id, name)
    try:
        world.call("GET", f"/v1/coupons/{COUPON}")
    except StripeError:
        world.call(
            "POST",
            "/v1/coupons",
            {
                "id": COUPON,
                "name": "Half price for three months",
                "percent_off": 50,
                "duration": "repeating",
                "duration_in_months": 3,
            },
        )
    world.call(
        "POST", f"/v1/subscriptions/{subscription['id']}", {"discounts": [{"coupon": COUPON}]}
    )
    preview = world.call(
        "POST", "/v1/invoices/create_preview", {"subscription": subscription["id"]}
    )
    return Notice(f"{name} pays half for three months: {amount_of(preview, 'total')} next time.")


def pause(world: AccountApi, customer_id: str, name: str) -> Notice:
    """New invoices are voided until it goes on."""
    subscription = _subscription(world, customer_id, name)
    world.call(
        "POST",
        f"/v1/subscriptions/{subscription['id']}",
        {"pause_collection": {"behavior": "void"}},
    )
    return Notice(
        f"New invoices of {name}’s are voided from now on. What was open before is still tried."
    )


def resume(world: AccountApi, customer_id: str, name: str) -> Notice:
    """The end of a pause."""
    subscription = _subscription(world, customer_id, name)
    world.call("POST", f"/v1/subscriptions/{subscription['id']}", {"pause_collection": ""})
    return Notice(f"{name}’s invoices are collected again.")


def cancel(world: AccountApi, customer_id: str, name: str) -> Notice:
    """End the subscription now."""
    subscription = _subscription(world, customer_id, name)
    world.call("DELETE", f"/v1/subscriptions/{subscription['id']}")
    return Notice(
        f"{name}’s subscription has ended. Stripe collects its open invoices no more.", "warn"
    )


def _subscription(world: AccountApi, customer_id: str, name: str) -> Json:
    found = subscription_of(world, customer_id)
    if found is None:
        raise StripeError(f"{name} has no subscription.")
    return found


# --- the account's own choices ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """What the business has chosen. ``ending`` is what the end of the tries does to a subscription; ``portal`` says
    what customers may do in the portal that the dashboard has saved, or is None while it never has."""

    ending: str
    portal: str | None


ENDINGS = {
    "cancel": "Cancel it",
    "unpaid": "Leave it unpaid",
    "past_due": "Leave it past due",
}
"""By Stripe's word what is done with a subscription whose last retry fails."""


def account(stripe: AccountApi) -> Account:
    """The business's choices as they are."""
    found = stripe.call("GET", "/v1/billing_portal/configurations", {"is_default": True})["data"]
    portal = None
    if found:
        cancels = found[0]["features"]["subscription_cancel"]["enabled"]
        portal = "Customers may cancel" if cancels else "Customers may not cancel"
    return Account(stripe.call("GET", "/sandbox/account")["after_last_retry"], portal)


def choose_ending(stripe: AccountApi, ending: str) -> Notice:
    """Choose what becomes of a subscription whose last retry fails."""
    stripe.call("POST", "/sandbox/account", {"after_last_retry": ending})
    return Notice(f"When the last retry of a subscription fails: {ENDINGS[ending].lower()}.")


def save_portal(stripe: AccountApi, *, cancels: bool) -> Notice:
    """Save the portal's settings in the dashboard."""
    stripe.call(
        "POST",
        "/sandbox/portal_default",
        {"features": {"subscription_cancel": {"enabled": cancels}}},
    )
    may = "may cancel there" if cancels else "may not cancel there"
    return Notice(f"The dashboard’s portal settings are saved: customers {may}.")
