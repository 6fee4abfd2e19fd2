"""What an invoice is to its customer: one story put together from events that come late, twice and in any order.

Stripe promises neither order nor single delivery, and its times have a resolution of one second. So `merge` is
commutative and idempotent: whatever the order in which the observations of one invoice arrive, the state is the same.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

SETTLING_FOR: Final = dt.timedelta(minutes=15)
"""How long after a new payment method we say that the payment is on its way. Cards answer in seconds; after this the
customer is told that the outcome isn't known yet (a bank debit takes days)."""

THANKS_FOR: Final = dt.timedelta(days=1)
"""How long the page says "paid, thank you"."""

SAME_ATTEMPT: Final = dt.timedelta(seconds=10)
"""`payment_failed` and `payment_action_required` of one attempt may be this far apart, in either order."""

_RANK: Final = {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 4}
"""Later states win: a bad debt can still be paid or voided; what is paid or void never opens again."""


class What(StrEnum):
    """What one observation says beyond the invoice's fields."""

    UPDATED = "updated"
    FAILED = "failed"
    ACTION_REQUIRED = "action_required"
    CLOSED = "closed"
    """Paid, voided or given up: `status` tells which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One event about an invoice. Amounts in the currency's minor unit."""

    what: What
    at: dt.datetime
    status: str
    currency: str
    amount_due: int
    amount_remaining: int
    attempt_count: int
    collection_method: str
    billing_reason: str | None = None
    number: str | None = None
    subscription_id: str | None = None
    next_payment_attempt: dt.datetime | None = None
    own_retry: bool = False
    """The attempt was Portico's own, with a new payment method."""


@dataclass(frozen=True, slots=True)
class DeclinedCard:
    """What may be shown of the card that was declined."""

    brand: str
    """Stripe's word: `visa`, `amex`; empty when it isn't known."""
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None

    def expired(self, today: dt.date) -> bool:
        """Whether its last month is over."""
        if self.exp_month is None or self.exp_year is None:
            return False
        return (self.exp_year, self.exp_month) < (today.year, today.month)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What is known of an invoice by now."""

    status: str = "draft"
    currency: str = ""
    amount_due: int = 0
    amount_remaining: int = 0
    attempt_count: int = 0
    collection_method: str = ""
    billing_reason: str | None = None
    number: str | None = None
    subscription_id: str | None = None
    next_payment_attempt: dt.datetime | None = None
    as_of: dt.datetime | None = None
    """When the amounts were true."""
    first_failed_at: dt.datetime | None = None
    last_failed_at: dt.datetime | None = None
    last_failure_own: bool = False
    """The last failure was of our own retry with a new payment method."""
    action_required_at: dt.datetime | None = None
    closed_at: dt.datetime | None = None
    """When it was paid, voided or given up (of the status that won)."""
    method_changed_at: dt.datetime | None = None
    """When the payment method that this invoice is charged to was last replaced."""
    card_brand: str | None = None
    """Stripe's word for it, `visa`; with the three below, the card that was declined, where Stripe tells it."""
    card_last4: str | None = None
    card_exp_month: int | None = None
    card_exp_year: int | None = None
    card_of_failure: dt.datetime | None = None
    """The failure that the card was asked for; an answer without a card is an answer, too."""

    @property
    def declined_card(self) -> DeclinedCard | None:
        """The card of the last failure; None while it isn't known, or another failure came since."""
        if self.card_last4 is None or self.card_of_failure != self.last_failed_at:
            return None
        return DeclinedCard(
            self.card_brand or "", self.card_last4, self.card_exp_month, self.card_exp_year
        )

    @property
    def owed(self) -> bool:
        """Whether the customer is asked for it: an autopay charge that failed, still open, with something due.

        A first payment at checkout is not: the customer is still there, and sees it.
        """
        return (
            self.status == "open"
            and self.amount_remaining > 0
            and self.first_failed_at is not None
            and self.collection_method == "charge_automatically"
            and self.billing_reason != "subscription_create"
        )

    @property
    def retrying_since(self) -> dt.datetime | None:
        """When a new payment method came that no failure has answered yet."""
        changed, first, last = self.method_changed_at, self.first_failed_at, self.last_failed_at
        if changed is None or first is None or last is None or changed < first:
            return None
        # Within one second only our own retry can have come after the change; any other failure came before it.
        if changed > last or (changed == last and not self.last_failure_own):
            return changed
        return None

    @property
    def replacement_failed(self) -> bool:
        """The customer gave a new payment method after the first failure, and it failed too."""
        changed, first = self.method_changed_at, self.first_failed_at
        if changed is None or first is None or changed < first:
            return False
        return self.retrying_since is None

    @property
    def needs_confirmation(self) -> bool:
        """The last attempt waits for the customer to confirm it with their bank."""
        if self.action_required_at is None:
            return False
        last = self.last_failed_at
        return last is None or self.action_required_at + SAME_ATTEMPT >= last


def _earliest(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _latest(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)


def merge(known: Invoice, seen: Observation) -> Invoice:
    """What is known after one more observation. Order and repetition of observations don't change the outcome."""
    changes: dict[str, object] = {
        "currency": known.currency or seen.currency,
        "billing_reason": known.billing_reason or seen.billing_reason,
        "number": known.number or seen.number,
        "subscription_id": known.subscription_id or seen.subscription_id,
        "attempt_count": max(known.attempt_count, seen.attempt_count),
        "next_payment_attempt": _next_attempt(known, seen),
    }
    rank, seen_rank = _RANK.get(known.status, 0), _RANK.get(seen.status, 0)
    if seen_rank > rank:
        changes["status"] = seen.status
        changes["closed_at"] = seen.at if seen_rank > _RANK["open"] else None
    elif seen_rank == rank and seen_rank > _RANK["open"]:
        changes["closed_at"] = _earliest(known.closed_at, seen.at)
    if _newer_amounts(known, seen):
        changes["amount_due"] = seen.amount_due
        changes["amount_remaining"] = seen.amount_remaining
        changes["collection_method"] = seen.collection_method
        changes["as_of"] = seen.at
    if seen.what in (What.FAILED, What.ACTION_REQUIRED):
        changes["first_failed_at"] = _earliest(known.first_failed_at, seen.at)
        if known.last_failed_at is None or seen.at > known.last_failed_at:
            changes["last_failed_at"] = seen.at
            changes["last_failure_own"] = seen.own_retry
        elif seen.at == known.last_failed_at:
            changes["last_failure_own"] = known.last_failure_own or seen.own_retry
    if seen.what is What.ACTION_REQUIRED:
        changes["action_required_at"] = _latest(known.action_required_at, seen.at)
    return replace(known, **changes)  # type: ignore[arg-type]


def _newer_amounts(known: Invoice, seen: Observation) -> bool:
    """By attempt, then by time; within one second the smaller remainder is the later one."""
    if known.as_of is None:
        return True
    have = (known.attempt_count, known.as_of, -known.amount_remaining, -known.amount_due)
    return (seen.attempt_count, seen.at, -seen.amount_remaining, -seen.amount_due) > have


def _next_attempt(known: Invoice, seen: Observation) -> dt.datetime | None:
    """The date of the newest attempt that named one: null means *not known yet*, never *none*."""
    if seen.attempt_count > known.attempt_count:
        return seen.next_payment_attempt
    if seen.attempt_count < known.attempt_count:
        return known.next_payment_attempt
    return _latest(known.next_payment_attempt, seen.next_payment_attempt)


def with_method_change(known: Invoice, changed_at: dt.datetime | None) -> Invoice:
    """The invoice after the payment method it is charged to was replaced at `changed_at` (None: never)."""
    return replace(known, method_changed_at=_latest(known.method_changed_at, changed_at))
