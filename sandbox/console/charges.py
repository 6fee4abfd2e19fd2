"""Charges: declined, made now, tried again; and what a bank answers days later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sandbox.console.actions import INBOX, Notice, amount_of, open_invoices, subscription_of
from sandbox.console.methods import charged_method
from sandbox.pages import wording
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError
from shared.l10n.dates import full_month
from shared.l10n.locales import ENGLISH

EXTRA = "Extra visit"
EXTRA_PRICE = {"amount": 8900, "currency": "usd"}
"""What a customer without a subscription is charged for, in minor units."""


def decline(world: AccountApi, customer_id: str, name: str) -> Notice:
    """The customer's bank declines, and Stripe charges now."""
    world.call("POST", f"/sandbox/customers/{customer_id}/decline_next")
    return _charged(world, customer_id, name)


def charge(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Stripe charges now what would be charged next."""
    return _charged(world, customer_id, name)


def _charged(world: AccountApi, customer_id: str, name: str) -> Notice:
    invoice = _next_invoice(world, customer_id)
    amount = amount_of(invoice, "total")
    if invoice["status"] == "paid":
        return Notice(f"{name} was charged {amount}, and it was paid.")
    if invoice["status"] != "open":
        return Notice(f"Nothing was charged: {name}’s invoice is {invoice['status']}.")
    answer = settlement(world, customer_id)
    if answer is not None:
        return Notice(
            f"{name}’s bank was asked for {amount}. It answers on {wording.day(answer)}: “Run the clock to the "
            "bank’s answer” shows it.",
            "warn",
        )
    return Notice(
        f"{name}’s charge of {amount} was declined. An email with one button is on its way.",
        "warn",
        (INBOX,),
    )


def _next_invoice(world: AccountApi, customer_id: str) -> Json:
    """Charge the next period of a subscription, or an extra visit where there is none."""
    if subscription_of(world, customer_id) is not None:
        return world.call("POST", f"/sandbox/customers/{customer_id}/charge_now")
    world.call(
        "POST",
        "/v1/invoiceitems",
        {"customer": customer_id, "description": EXTRA, **EXTRA_PRICE},
    )
    draft = world.call(
        "POST",
        "/v1/invoices",
        {"customer": customer_id, "pending_invoice_items_behavior": "include"},
    )
    try:
        return world.call("POST", f"/v1/invoices/{draft['id']}/pay")
    except StripeError as error:
        if error.status != 402:
            raise
        return world.call("GET", f"/v1/invoices/{draft['id']}")


def settlement(world: AccountApi, customer_id: str) -> int | None:
    """When the bank's answer to a debit of the customer's is due, in epoch seconds; None: no debit is under way."""
    found = world.call("GET", f"/sandbox/customers/{customer_id}/settlement")["at"]
    return int(found) if found is not None else None


def settle(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Run the world's clock to the bank's answer to the debit that is under way."""
    at = settlement(world, customer_id)
    if at is None:
        return Notice(f"No debit of {name}’s is under way.")
    owed = len(open_invoices(world, customer_id))
    when = wording.day(world.advance(to=at))
    if len(open_invoices(world, customer_id)) < owed:
        return Notice(f"It is {when} now. The bank has paid: the debit came in.")
    return Notice(
        f"It is {when} now. The bank has sent {name}’s debit back. An email with one button is on its way.",
        "warn",
        (INBOX,),
    )


def expire(world: AccountApi, customer_id: str, name: str) -> Notice:
    """The card that would be charged next runs out: its expiry moves to the month before."""
    method = charged_method(world, customer_id)
    if method is None or method["type"] != "card":
        return Notice(f"{name} has no card that could expire.", "bad")
    first = datetime.fromtimestamp(world.now(), UTC).replace(day=1)
    before = first - timedelta(days=1)
    world.call(
        "POST",
        f"/v1/payment_methods/{method['id']}",
        {"card": {"exp_month": before.month, "exp_year": before.year}},
    )
    return Notice(
        f"{name}’s card expired in {full_month(before.date(), ENGLISH)}. The next charge is declined for that reason: "
        "“Charge now” shows it.",
        "warn",
    )


def retry(world: AccountApi, customer_id: str, name: str) -> Notice:
    """Run the world's clock to the moment Stripe tries the customer's open invoice again."""
    owed = open_invoices(world, customer_id)
    due = [one["next_payment_attempt"] for one in owed if one.get("next_payment_attempt")]
    if not due:
        return Notice(f"No retry is planned for {name}: nothing failed, or all tries are used up.")
    world.advance(to=min(due) + 1)
    still = open_invoices(world, customer_id)
    when = wording.day(world.now())
    if len(still) < len(owed):
        return Notice(f"It is {when} now. The retry went through: {name} owes nothing for it.")
    return Notice(
        f"It is {when} now. Stripe tried {name}’s payment again, and it was declined again.",
        "warn",
        (INBOX,),
    )
