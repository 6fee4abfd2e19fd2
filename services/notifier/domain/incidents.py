"""The story of one invoice, put together from events in any order."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.notifier.domain.vocabulary import Reason


class InvoiceStatus(StrEnum):
    """Stripe's invoice statuses."""

    DRAFT = "draft"
    OPEN = "open"
    UNCOLLECTIBLE = "uncollectible"
    PAID = "paid"
    VOID = "void"


_FINALITY: Final = {
    InvoiceStatus.DRAFT: 0,
    InvoiceStatus.OPEN: 1,
    InvoiceStatus.UNCOLLECTIBLE: 2,  # can still become paid or void
    InvoiceStatus.PAID: 3,
    InvoiceStatus.VOID: 3,
}

CLOSED_BECAUSE: Final = {
    InvoiceStatus.PAID: Reason.PAID,
    InvoiceStatus.VOID: Reason.VOIDED,
    InvoiceStatus.UNCOLLECTIBLE: Reason.UNCOLLECTIBLE,
}


@dataclass(frozen=True, kw_only=True)
class InvoiceFacts:
    """What one event says about an invoice. Amounts in Stripe's minor units; `attempt` is Stripe's
    `attempt_count`, which a person's own try does not raise."""

    invoice_id: str
    stripe_customer_id: str
    status: InvoiceStatus
    currency: str
    amount_due: int
    amount_remaining: int
    amount_paid: int = 0
    attempt: int = 0
    collection_method: str = "charge_automatically"
    billing_reason: str | None = None
    number: str | None = None
    subscription_id: str | None = None
    next_payment_attempt: dt.datetime | None = None
    own_retry: bool = False


@dataclass(frozen=True, kw_only=True)
class Incident:
    """The story of one invoice as far as it is known."""

    invoice_id: str
    stripe_customer_id: str
    status: InvoiceStatus = InvoiceStatus.DRAFT
    last_attempt: int = 0
    currency: str = ""
    amount_due: int = 0
    amount_remaining: int | None = None
    amount_paid: int = 0
    number: str | None = None
    subscription_id: str | None = None
    next_payment_attempt: dt.datetime | None = None
    opened_at: dt.datetime | None = None
    closed_at: dt.datetime | None = None
    last_mailed_at: dt.datetime | None = None

    @property
    def closed_because(self) -> Reason | None:
        """Why no more money is asked for this invoice; None while it is open."""
        return CLOSED_BECAUSE.get(self.status)


def merge(incident: Incident, facts: InvoiceFacts, at: dt.datetime, *, failed: bool) -> Incident:
    """The incident with one more event in it; the same result in whatever order the events arrive.

    Stripe orders nothing and its timestamps have one-second resolution, so no rule looks at time: a status only
    becomes more final, what remains only shrinks, and the date of the next try belongs to the highest attempt
    that names one. `failed` says that the event reports a failed charge; `at` is when the event happened.
    """
    status = max(incident.status, facts.status, key=_rank)
    attempt = max(incident.last_attempt, facts.attempt)
    next_attempt = incident.next_payment_attempt
    if facts.attempt > incident.last_attempt:
        next_attempt = facts.next_payment_attempt
    elif facts.attempt == incident.last_attempt:
        # None means "not known yet": a later invoice.updated brings the date.
        next_attempt = _latest(next_attempt, facts.next_payment_attempt)
    remaining = facts.amount_remaining
    if incident.amount_remaining is not None:
        remaining = min(remaining, incident.amount_remaining)
    opened_at, closed_at = incident.opened_at, incident.closed_at
    if failed:
        opened_at = min(at, opened_at or at)
    if facts.status in CLOSED_BECAUSE:
        closed_at = min(at, closed_at or at)
    return replace(
        incident,
        status=status,
        last_attempt=attempt,
        currency=facts.currency,
        amount_due=max(incident.amount_due, facts.amount_due),
        amount_remaining=remaining,
        amount_paid=max(incident.amount_paid, facts.amount_paid),
        number=incident.number or facts.number,
        subscription_id=incident.subscription_id or facts.subscription_id,
        next_payment_attempt=next_attempt,
        opened_at=opened_at,
        closed_at=closed_at,
    )


def _rank(status: InvoiceStatus) -> tuple[int, str]:
    return _FINALITY[status], status.value


def _latest(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return max((date for date in (one, other) if date is not None), default=None)
