"""What one email may say, put together from what is known about a customer and an invoice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import ABOUT_PAYMENT, TO_BUSINESS, Kind
from services.notifier.domain.notification_rules import InvoiceNow, as_it_stands, how_it_ended
from services.notifier.ports import Business, CancellationLinks, Contact, InvoiceReport, Unshown
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


class Letter(Unshown, frozen=True, kw_only=True):
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
    """What it is about, in the business's Stripe dashboard: absolute http(s) URL."""
    endpoint_id: str | None = None
    """A webhook endpoint, `whe_…`."""
    endpoint_host: str | None = None
    """Its host name: the rest of its URL may hold a secret."""
    endpoint_gone: bool = False
    """It answered 410; else all has failed."""
    platform: str | None = None
    """Who sends it on behalf of the business."""
    next_appointment: dt.datetime | None = None
    """Only the business and who works for it know when that is: a sign that the email is real."""
    has_payments: bool = False
    """The customer's page shows payments, too."""


class LetterData(Unshown, frozen=True, kw_only=True):
    """What is known when an email is written."""

    contact: Contact
    now: dt.datetime
    incident: Incident | None = None
    """The invoice that it is about, as events have told of it."""
    report: InvoiceReport | None = None
    """The same invoice as billing has just read it: comes before what events told."""
    planned: Retry = Retry.UNKNOWN
    context: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What was said when the email was asked for (`contracts.rpc.notifier.RequestContext`, as JSON types)."""
    links: CancellationLinks | None = None
    others: Sequence[Incident] = ()
    """Further invoices that it tells of."""

    @property
    def fresh(self) -> InvoiceNow | None:
        """The invoice as it was just read."""
        return self.report.now if self.report else None


def letter(kind: Kind, data: LetterData) -> Letter:
    """What an email of this kind says."""
    contact, to_business = data.contact, kind in TO_BUSINESS
    coming = contact.next_appointment
    return Letter(
        kind=kind,
        now=data.now,
        customer_name=contact.name,
        customer_email=contact.email,
        business=contact.business,
        link="" if to_business else contact.link,
        locale=None if to_business else contact.locale,
        timezone=(None if to_business else contact.timezone) or contact.business.timezone,
        planned=data.planned,
        links=data.links,
        platform=contact.platform,
        next_appointment=coming if _is_ahead(coming, data.now) else None,
        has_payments=contact.has_payments,
        **{
            **_of_report(data.report),
            **_of_invoice(kind, data),
            **_of_context(data.context, data.now),
        },
    )


def _of_report(report: InvoiceReport | None) -> dict[str, Any]:
    """What only Stripe knows of a charge that failed."""
    if report is None:
        return {}
    return {
        "method": report.method,
        "next_method": report.next_method,
        "decline": report.now.decline,
        "ended_unpaid": report.now.ended_unpaid,
        "bad_debt": report.now.status is InvoiceStatus.UNCOLLECTIBLE,
        "dashboard_url": report.dashboard_url,
    }


def _of_invoice(kind: Kind, data: LetterData) -> dict[str, Any]:
    """What is owed or was paid, for what, and how collecting it stands."""
    incident, fresh = data.incident, data.fresh
    if incident is None:
        return {}
    came_in = kind in ABOUT_PAYMENT
    owed = as_it_stands(incident, fresh)
    known = incident if came_in else owed
    lines = _lines([owed, *data.others]) if data.others else ()
    ended = how_it_ended(incident, fresh, data.now) if kind is Kind.COLLECTION_ENDED else None
    # After such a decline the count goes on, and nothing is charged.
    uncounted = fresh is not None and fresh.needs_new_method
    nothing_to_charge = fresh is not None and fresh.decline is Decline.NO_PAYMENT_METHOD
    amount = settlement(incident).paid if came_in else known.amount_remaining
    return {
        "amount": (_total(lines) if lines else amount) or None,
        "currency": incident.currency or None,
        "number": known.number,
        "purpose": known.purpose,
        "purpose_more": known.purpose_more,
        "next_attempt": _promised(known, data),
        "tries": 0 if uncounted else incident.attempt_count,
        "paid_at": incident.closed_at if came_in else None,
        "lines": lines,
        "ending": ended,
        "last_tried": None if nothing_to_charge else incident.last_failed_at,
    }


def _lines(invoices: Sequence[Incident]) -> tuple[Line, ...]:
    return tuple(
        Line(one.amount_remaining, one.currency, one.number, one.purpose, one.purpose_more)
        for one in invoices
    )


def _total(lines: Sequence[Line]) -> int | None:
    """A total only where there is one: amounts of two currencies don't add up."""
    same = len({line.currency for line in lines}) == 1
    return sum(line.amount for line in lines) if same else None


def _promised(known: Incident, data: LetterData) -> dt.datetime | None:
    """The day of the next try. It is promised only when a charge will really happen then: Stripe's word on the decline is
    needed for that."""
    read = data.fresh is not None and not data.fresh.heard
    if not read or data.planned is not Retry.SCHEDULED:
        return None
    return known.next_payment_attempt if _is_ahead(known.next_payment_attempt, data.now) else None


def _of_context(context: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """What was said when the email was asked for."""
    ends_at = dt.datetime.fromisoformat(context["ends_at"]) if "ends_at" in context else None
    return {
        "description": context.get("description"),
        "price": msgspec.convert(context["price"], Price) if context.get("price") else None,
        "ends_at": ends_at,
        "ended": context.get("ended", False) or _is_past(ends_at, now),
        "note": context.get("note"),
        "mails": context.get("mails", 0),
        "endpoint_id": context.get("endpoint_id"),
        "endpoint_host": context.get("endpoint_host"),
        "endpoint_gone": context.get("endpoint_gone", False),
    } | ({"dashboard_url": context["dashboard_url"]} if "dashboard_url" in context else {})


def _is_ahead(moment: dt.datetime | None, now: dt.datetime) -> bool:
    return moment is not None and moment > now


def _is_past(moment: dt.datetime | None, now: dt.datetime) -> bool:
    return moment is not None and moment <= now
