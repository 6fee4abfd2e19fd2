"""What one email may say, put together from what is known about a customer and an invoice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.notifier.domain import (
    ABOUT_PAYMENT,
    TO_BUSINESS,
    Incident,
    Kind,
    as_it_stands,
    how_it_ended,
)
from services.notifier.ports import Business, CancellationLinks, Contact, InvoiceReport
from shared.contracts.invoices import Ending, InvoiceStatus, Retry, settlement
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Price


@dataclass(frozen=True)
class Line:
    """One of several invoices. `amount` in minor units."""

    amount: int
    currency: str
    number: str | None
    purpose: str | None = None
    """What it is for."""
    purpose_more: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Letter:
    """Everything that one email may say. Unknown things are None and are not mentioned."""

    kind: Kind
    now: dt.datetime
    """When it is written: dates say their year where it is another one."""
    customer_name: str
    business: Business
    link: str
    """The customer's page: absolute http(s) URL. What the button leads to, with `?from=` added."""
    locale: str | None = None
    timezone: str | None = None
    amount: int | None = None
    """Minor units: what is due, or for payment_recovered what was paid."""
    currency: str | None = None
    number: str | None = None
    purpose: str | None = None
    """What the invoice is for, one line."""
    purpose_more: int = 0
    """How many other things it is for."""
    method: PaymentMethod | None = None
    """What was charged."""
    next_method: PaymentMethod | None = None
    """What is charged next, where it is known."""
    decline: Decline | None = None
    next_attempt: dt.datetime | None = None
    tries: int = 0
    """How often Stripe has tried; 0: not known."""
    planned: Retry = Retry.UNKNOWN
    """Whether Stripe will try again by itself."""
    ended_unpaid: bool = False
    """Stripe ended the subscription over this payment."""
    paid_at: dt.datetime | None = None
    """When the payment came in."""
    description: str | None = None
    """What the subscription is called."""
    price: Price | None = None
    """What it costs, where one sentence says it."""
    ends_at: dt.datetime | None = None
    """When the subscription ends, or has ended."""
    ended: bool = False
    note: str | None = None
    """Somebody's own words: the customer's to the business, or the other way round."""
    customer_email: str | None = None
    links: CancellationLinks | None = None
    lines: tuple[Line, ...] = ()
    """What is due, invoice by invoice, where the email asks for several."""
    ending: Ending | None = None
    """How collecting ended."""
    bad_debt: bool = False
    """The invoice is marked as uncollectible."""
    mails: int = 0
    """How often the customer was asked for it by email."""
    last_tried: dt.datetime | None = None
    dashboard_url: str | None = None
    """The invoice in the business's Stripe dashboard: absolute http(s) URL."""
    platform: str | None = None
    """Who sends it on behalf of the business."""
    next_appointment: dt.datetime | None = None
    """Only the business and who works for it know when that is: a sign that the email is real."""


def letter(
    kind: Kind,
    contact: Contact,
    incident: Incident | None,
    report: InvoiceReport | None,
    now: dt.datetime,
    *,
    planned: Retry = Retry.UNKNOWN,
    context: Mapping[str, Any] | None = None,
    links: CancellationLinks | None = None,
    others: Sequence[Incident] = (),
) -> Letter:
    """What an email of this kind says, from what is known: billing's fresh report before our own incident.

    `others` are further invoices that it asks for. `context` is what whoever asked for the email said (`asking.RequestContext`, as JSON types).
    """
    fresh = report.now if report else None
    context = context or {}
    amount: int | None = None
    known: Incident | None = None
    currency = incident.currency if incident and incident.currency else None
    next_attempt: dt.datetime | None = None
    ended = how_it_ended(incident, fresh, now) if kind is Kind.COLLECTION_ENDED else None
    if incident is not None:
        known = incident if kind in ABOUT_PAYMENT else as_it_stands(incident, fresh)
        amount = settlement(incident).paid if kind in ABOUT_PAYMENT else known.amount_remaining
        # A date is promised only when a charge will really happen then: Stripe's word on the decline is needed for that.
        read = fresh is not None and not fresh.heard
        if read and planned is Retry.SCHEDULED and _is_ahead(known.next_payment_attempt, now):
            next_attempt = known.next_payment_attempt
    lines: list[Line] = []
    if others and incident is not None:
        lines = [
            Line(one.amount_remaining, one.currency, one.number, one.purpose, one.purpose_more)
            for one in (as_it_stands(incident, fresh), *others)
        ]
        # A total only where there is one: amounts of two currencies don't add up.
        same = len({line.currency for line in lines}) == 1
        amount = sum(line.amount for line in lines) if same else None
    ends_at = dt.datetime.fromisoformat(context["ends_at"]) if "ends_at" in context else None
    to_business = kind in TO_BUSINESS
    return Letter(
        kind=kind,
        now=now,
        customer_name=contact.name,
        business=contact.business,
        link="" if to_business else contact.link,
        locale=None if to_business else contact.locale,
        timezone=(None if to_business else contact.timezone) or contact.business.timezone,
        amount=amount or None,
        currency=currency,
        number=known.number if known else None,
        purpose=known.purpose if known else None,
        purpose_more=known.purpose_more if known else 0,
        method=report.method if report else None,
        next_method=report.next_method if report else None,
        decline=fresh.decline if fresh else None,
        next_attempt=next_attempt,
        # After such a decline the count goes on, and nothing is charged.
        tries=incident.attempt_count
        if incident and not (ended and fresh and fresh.needs_new_method)
        else 0,
        planned=planned,
        ended_unpaid=fresh is not None and fresh.ended_unpaid,
        paid_at=incident.closed_at if incident and kind in ABOUT_PAYMENT else None,
        description=context.get("description"),
        price=msgspec.convert(context["price"], Price) if context.get("price") else None,
        ends_at=ends_at,
        ended=context.get("ended", False) or (ends_at is not None and ends_at <= now),
        note=context.get("note"),
        customer_email=contact.email,
        links=links,
        lines=tuple(lines),
        ending=ended,
        bad_debt=fresh is not None and fresh.status is InvoiceStatus.UNCOLLECTIBLE,
        mails=context.get("mails", 0),
        last_tried=incident.last_failed_at if incident else None,
        dashboard_url=report.dashboard_url if report else None,
        platform=contact.platform,
        next_appointment=contact.next_appointment
        if _is_ahead(contact.next_appointment, now)
        else None,
    )


def _is_ahead(moment: dt.datetime | None, now: dt.datetime) -> bool:
    return moment is not None and moment > now
