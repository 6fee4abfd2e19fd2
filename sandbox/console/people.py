"""The demo customers and how each stands with Stripe right now."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.console.actions import open_invoices, subscription_of
from sandbox.pages import billing, wording
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError


@dataclass(frozen=True)
class Person:
    """A demo customer as the seeder announced it. The link is a secret: it lives in memory only."""

    name: str
    description: str
    link: str = field(repr=False)
    stripe_customer_id: str | None = None


class Unreadable(Exception):
    """The announced demo customers are not a list of names, descriptions, links and Stripe ids."""


class DemoCustomers:
    """Who the seeder announced; forgotten when the process ends."""

    def __init__(self) -> None:
        self._people: tuple[Person, ...] = ()
        self._lock = threading.Lock()

    def show(self, announced: Any) -> int:
        """Take a new list; raises :class:`Unreadable` and changes nothing if it is not one."""
        if not isinstance(announced, list):
            raise Unreadable("expected a list of customers")
        people = tuple(_person(index, entry) for index, entry in enumerate(announced))
        with self._lock:
            self._people = people
        return len(people)

    def all(self) -> tuple[Person, ...]:
        """The announced customers, in the order they were announced."""
        with self._lock:
            return self._people


def _person(index: int, entry: Any) -> Person:
    if not isinstance(entry, Mapping):
        raise Unreadable(f"{index}: expected an object")
    for name in ("name", "description", "link"):
        if not isinstance(entry.get(name), str):
            raise Unreadable(f"{index}.{name}: expected a string")
    stripe_id = entry.get("stripe_customer_id")
    if stripe_id is not None and not isinstance(stripe_id, str):
        raise Unreadable(f"{index}.stripe_customer_id: expected a string or null")
    if not entry["link"].startswith(("http://", "https://")):
        raise Unreadable(f"{index}.link: expected an http address")
    return Person(entry["name"], entry["description"], entry["link"], stripe_id)


@dataclass(frozen=True)
class Standing:
    """A Stripe customer in a few words. ``tone`` colours ``state``: good, warn, bad or empty.

    ``method`` is the type of what pays (``card``, ``us_bank_account``, …), empty when nothing does; ``settles_at``
    is when the bank answers to a debit that is under way; ``owes`` says that an invoice is open, ``collected`` that
    Stripe collects it by itself.
    """

    id: str
    name: str
    email: str
    plan: str
    discount: str
    pays_with: str
    method: str
    card_expired: bool
    state: str
    tone: str
    detail: str
    next_retry: int | None
    settles_at: int | None
    owes: bool
    collected: bool
    autopay: bool
    paused: bool


def standing(stripe: AccountApi, customer_id: str) -> Standing | None:
    """How a customer stands; None when Stripe has no such customer (any more)."""
    try:
        seen = billing.overview(stripe, customer_id)
        if seen.customer.get("deleted"):
            return None
        owed = open_invoices(stripe, customer_id)
        subscription = subscription_of(stripe, customer_id)
        settles_at = stripe.call("GET", f"/sandbox/customers/{customer_id}/settlement")["at"]
    except StripeError:
        return None
    plan = seen.plans[0] if seen.plans else None
    used = next((m for m in seen.methods if plan and m.plans), None)
    used = used or next((m for m in seen.methods if m.default), None)
    state, tone, detail = _state(owed, plan, settles_at)
    retries = [one["next_payment_attempt"] for one in owed if one.get("next_payment_attempt")]
    return Standing(
        id=customer_id,
        name=seen.customer.get("name") or "",
        email=seen.customer.get("email") or "",
        plan=f"{plan.name}, {plan.price}" if plan else "",
        discount=_discount(subscription),
        pays_with=_pays_with(used),
        method=used.kind if used else "",
        card_expired=bool(used and used.expired),
        state=state,
        tone=tone,
        detail=detail,
        next_retry=min(retries) if retries else None,
        settles_at=settles_at,
        owes=bool(owed),
        collected=any(one["auto_advance"] for one in owed),
        autopay=plan is not None,
        paused=bool(subscription and subscription["pause_collection"]),
    )


def _pays_with(used: billing.Method | None) -> str:
    if used is None:
        return ""
    return f"{used.name}, {used.expires.replace(' ', '')}" if used.expires else used.name


def _discount(subscription: Json | None) -> str:
    discounts = subscription["discounts"] if subscription else []
    coupons = [discount["source"]["coupon"] for discount in discounts]
    return ", ".join(coupon["name"] or coupon["id"] for coupon in coupons)


def _state(
    owed: list[Json], plan: billing.Plan | None, settles_at: int | None
) -> tuple[str, str, str]:
    if settles_at:
        return "Debit under way", "warn", f"The bank answers on {wording.day(settles_at)}"
    failed = [one for one in owed if one.get("attempt_count")]
    if failed:
        total = sum(one.get("amount_remaining") or 0 for one in failed)
        tries = max(one["attempt_count"] for one in failed)
        amount = wording.money(total, failed[0]["currency"])
        stopped = "" if any(one["auto_advance"] for one in failed) else ", not collected any more"
        return "Payment failed", "bad", f"{amount} open after {tries} {_tries(tries)}{stopped}"
    if owed:
        total = sum(one.get("amount_remaining") or 0 for one in owed)
        return "Due", "warn", f"{wording.money(total, owed[0]['currency'])} open"
    if plan is not None:
        return plan.state, plan.tone, plan.note
    return "Nothing owed", "", ""


def _tries(count: int) -> str:
    return "try" if count == 1 else "tries"
