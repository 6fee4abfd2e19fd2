"""What events say of an invoice, put together.

Events come late, twice and in any order: `merge` leads always to the same end. Pure: no clock, no database, no framework.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

import msgspec

from shared import events
from shared.contracts.invoices import (
    AT_CHECKOUT_FOR,
    FINALITY,
    LONGEST_PURPOSE,
    MADE_BY_ITSELF,
    UNBEGUN_FOR,
    Invoice,
    InvoiceStatus,
)


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one event says about an invoice."""

    at: dt.datetime
    """When it was so, by Stripe's clock, which ticks in seconds."""
    status: str
    currency: str
    amount_due: int
    amount_remaining: int
    attempt_count: int
    collection_method: str
    on_behalf_of: str = ""
    amount_paid: int = 0
    amount_credited: int = 0
    """Forgiven by credit notes before it was paid."""
    billing_reason: str | None = None
    number: str | None = None
    subscription_id: str | None = None
    purpose: str | None = None
    """What it is for, one line; None: the event doesn't say."""
    purpose_more: int = 0
    """How many other things it is for."""
    finalized_at: dt.datetime | None = None
    next_payment_attempt: dt.datetime | None = None
    schedule_changed: bool = False
    """The event is about the date of the next attempt: None means *withdrawn*, not *unknown*."""
    auto_advance: bool | None = None
    """Whether Stripe goes on collecting by itself; None: the event doesn't say."""
    was_advancing: bool = False
    """Stripe has collected it by itself, whatever it does now."""
    failed: bool = False
    """A charge failed, or waits for the customer."""
    failed_at: dt.datetime | None = None
    """When it did, where that was before `at`."""
    own_retry: bool = False
    """The charge was Portico's own, with a new payment method."""
    action_required: bool = False
    """The customer's bank wants a confirmation."""
    processing: bool = False
    """A payment whose outcome takes time has begun, of `amount_remaining`. Such an event tells nothing else of the invoice."""


AnyInvoice = TypeVar("AnyInvoice", bound=Invoice)


def observe(data: events.InvoiceData, at: dt.datetime) -> Observation:
    """What an event says about its invoice."""
    action_required = isinstance(data, events.InvoicePaymentActionRequired)
    failed = action_required or isinstance(data, events.InvoicePaymentFailed)
    found = isinstance(data, events.InvoiceImported) and data.attempted
    return Observation(
        at=at,
        status=data.status,
        currency=data.currency,
        amount_due=data.amount_due,
        amount_remaining=data.amount_remaining,
        amount_paid=data.amount_paid,
        amount_credited=data.amount_credited,
        attempt_count=data.attempt_count,
        collection_method=data.collection_method,
        on_behalf_of=data.on_behalf_of,
        billing_reason=data.billing_reason,
        number=data.number,
        subscription_id=data.subscription_id,
        purpose=data.purpose[:LONGEST_PURPOSE] if data.purpose else None,
        purpose_more=data.purpose_more,
        finalized_at=data.finalized_at,
        next_payment_attempt=data.next_payment_attempt,
        schedule_changed=data.schedule_changed,
        auto_advance=data.auto_advance,
        # Who found it was not there when it began.
        was_advancing=found and data.billing_reason in MADE_BY_ITSELF,
        failed=failed or found,
        failed_at=_found_failed_at(data, at) if found else None,
        own_retry=data.own_retry,
        action_required=action_required,
        processing=isinstance(data, events.InvoiceUpdated) and data.processing,
    )


def _found_failed_at(data: events.InvoiceData, at: dt.datetime) -> dt.datetime:
    """When a charge of an invoice failed that was found so: after it was finalized, more is not known. No word of a failure
    that was heard of is overruled by that. A first payment that is unpaid still, when Stripe waits for it no more, did not fail at
    checkout."""
    if data.finalized_at is None:
        return at
    if data.billing_reason == "subscription_create" and at - data.finalized_at >= UNBEGUN_FOR:
        return data.finalized_at + AT_CHECKOUT_FOR
    return data.finalized_at


def merge(known: AnyInvoice, seen: Observation, **besides: Any) -> AnyInvoice:
    """What is known after one more observation. Order and repetition of observations don't change the outcome. `besides` are
    the fields of a service's own that change with it."""
    if seen.processing:
        return _with_payment_begun(known, seen, besides)
    changes: dict[str, Any] = {
        "on_behalf_of": known.on_behalf_of or seen.on_behalf_of,
        "currency": known.currency or seen.currency,
        "billing_reason": known.billing_reason or seen.billing_reason,
        "number": known.number or seen.number,
        "subscription_id": known.subscription_id or seen.subscription_id,
        "finalized_at": _earliest(known.finalized_at, seen.finalized_at),
        "attempt_count": max(known.attempt_count, seen.attempt_count),
        "was_advancing": known.was_advancing or seen.was_advancing or seen.auto_advance is True,
    }
    if known.purpose is None and seen.purpose is not None:
        # What an open invoice is for changes no more: whoever says it first is as good as any.
        changes |= {"purpose": seen.purpose, "purpose_more": seen.purpose_more}
    changes |= _status(known, seen)
    if _amounts_are_newer(known, seen):
        for name in ("amount_due", "amount_remaining", "amount_paid", "amount_credited"):
            changes[name] = getattr(seen, name)
        changes["collection_method"] = seen.collection_method
        changes["as_of"] = seen.at
    if _schedule_is_newer(known, seen):
        told = seen.schedule_changed or seen.next_payment_attempt is not None
        changes["next_payment_attempt"] = seen.next_payment_attempt
        changes["schedule_as_of"] = seen.at if told else None
        changes["schedule_changed"] = seen.schedule_changed
    if seen.auto_advance is not None and _advance_is_newer(known, seen):
        changes["auto_advance"] = seen.auto_advance
        changes["auto_advance_as_of"] = seen.at
    if seen.failed:
        changes |= _failure(known, seen)
    if seen.action_required:
        changes["action_required_at"] = _latest(known.action_required_at, seen.at)
    return known.with_changes(**changes, **besides)


def _status(known: Invoice, seen: Observation) -> dict[str, Any]:
    rank, seen_rank = FINALITY.get(known.status, 0), FINALITY.get(seen.status, 0)
    if seen_rank > rank:
        closed_at = seen.at if seen_rank > FINALITY["open"] else None
        return {"status": seen.status, "closed_at": closed_at}
    if seen_rank == rank and seen_rank > FINALITY["open"]:
        return {"closed_at": _earliest(known.closed_at, seen.at)}
    return {}


def _failure(known: Invoice, seen: Observation) -> dict[str, Any]:
    at = seen.failed_at or seen.at
    changes: dict[str, Any] = {"first_failed_at": _earliest(known.first_failed_at, at)}
    if known.last_failed_at is None or at > known.last_failed_at:
        changes |= {"last_failed_at": at, "last_failure_own": seen.own_retry}
    elif at == known.last_failed_at:
        changes["last_failure_own"] = known.last_failure_own or seen.own_retry
    return changes


def _with_payment_begun(
    known: AnyInvoice, seen: Observation, besides: dict[str, Any]
) -> AnyInvoice:
    """A payment knows of its invoice that it is no draft any more, and nothing else."""
    known_open = FINALITY.get(known.status, 0) >= FINALITY["open"]
    return known.with_changes(
        status=known.status if known_open else InvoiceStatus.OPEN.value,
        currency=known.currency or seen.currency,
        on_behalf_of=known.on_behalf_of or seen.on_behalf_of,
        **_under_way(known, seen),
        **besides,
    )


def _under_way(known: Invoice, seen: Observation) -> dict[str, Any]:
    """The newest payment; of two that began in one second the larger one."""
    since, amount = known.under_way_since, known.under_way_amount
    newer = since is None or seen.at > since
    if newer or (seen.at == since and amount is not None and seen.amount_remaining > amount):
        return {"under_way_since": seen.at, "under_way_amount": seen.amount_remaining}
    return {}


def _amounts_are_newer(known: Invoice, seen: Observation) -> bool:
    """By attempt, then by time. Within one second the smaller remainder counts as the later one: most changes of an
    amount are payments and credits."""
    if known.as_of is None:
        return True

    def age(one: Invoice | Observation, at: dt.datetime) -> tuple[Any, ...]:
        amounts = (-one.amount_remaining, one.amount_paid, one.amount_credited, -one.amount_due)
        return (one.attempt_count, at, *amounts, one.collection_method)

    return age(seen, seen.at) > age(known, known.as_of)


def _schedule_is_newer(known: Invoice, seen: Observation) -> bool:
    """A new attempt forgets the date of the one before; within an attempt Stripe's newest word about the date wins. In
    one second a change counts as later than a date that merely stood there, and a withdrawal as later than a date: a
    date too many is a promise that nobody keeps."""
    if seen.attempt_count != known.attempt_count:
        return seen.attempt_count > known.attempt_count
    told = seen.schedule_changed or seen.next_payment_attempt is not None
    if not told or known.schedule_as_of is None:
        return told

    def age(one: Invoice | Observation, at: dt.datetime) -> tuple[Any, ...]:
        date = one.next_payment_attempt
        return at, one.schedule_changed, date is None, date or at

    return age(seen, seen.at) > age(known, known.schedule_as_of)


def _advance_is_newer(known: Invoice, seen: Observation) -> bool:
    """The newest word wins; within one second "off" counts as the later: what was stopped is not collected."""
    if known.auto_advance_as_of is None:
        return True
    return (seen.at, not seen.auto_advance) > (known.auto_advance_as_of, not known.auto_advance)


def _earliest(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _latest(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)
