"""Makes events, customers and invoices with one line each."""

from __future__ import annotations

import datetime as dt
import itertools
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.domain.snapshot import Appointment, Business, OwnedInvoice, Snapshot
from services.portal.handlers import customers, enrolling, evidence
from services.portal.models import CustomerRow
from services.portal.queries.page import lookup_many
from services.portal.tokens.references import CheckoutReferences
from shared import events
from shared.contracts.next_steps import NextStep
from shared.contracts.observations import Observation, merge
from shared.contracts.rpc.portal import BusinessArguments, CustomerArguments, UpsertedCustomer
from shared.settings import Secret

WANTS_METHOD = frozenset(NextStep) - {NextStep.PROCESSING, NextStep.CONFIRM}
"""The steps that another payment method takes, or the same one put right."""

NOW = dt.datetime(2026, 3, 5, 18, 0, tzinfo=dt.UTC)
CUSTOMER_ID = "AAAAAAAAAAAAAAAAAAAAAA"
TOKEN = "A" * 27 + "." + "B" * 43

_numbers = itertools.count(1)


def ago(**parts: float) -> dt.datetime:
    return NOW - dt.timedelta(**parts)


def ahead(**parts: float) -> dt.datetime:
    return NOW + dt.timedelta(**parts)


def add_business(session: Session, business_id: str = "sunrise", **changes: Any) -> str:
    given: dict[str, Any] = {
        "name": "Sunrise Home Cleaning",
        "email": None,
        "phone": None,
        "website": None,
        "logo_url": None,
        "color": None,
        "locale": "en",
        "timezone": "America/Los_Angeles",
    }
    given.update(changes)
    return customers.upsert_business(
        session, BusinessArguments(business_id=business_id, **given), NOW
    )


def add_customer(session: Session, external_id: str = "c1", **changes: Any) -> UpsertedCustomer:
    given: dict[str, Any] = {
        "business_id": "sunrise",
        "name": "Maria Lopez",
        "email": "maria@example.com",
        "locale": None,
        "timezone": None,
    }
    given.update(changes)
    return customers.upsert_customer(
        session, CustomerArguments(external_id=external_id, **given), NOW
    )


def add_first(session: Session) -> str:
    """Portico's id of a customer of Sunrise, whom the host calls c1 and Stripe cus_1."""
    add_business(session)
    return add_customer(session, platform_stripe_customer_id="cus_1").customer_id


def event(data: events.Data, at: dt.datetime = NOW, event_id: str | None = None) -> events.Event:
    return events.Event(
        id=event_id or f"evt_{next(_numbers)}/{data.type}",
        occurred_at=at,
        correlation_id="evt",
        data=data,
    )


def invoice_data(kind: type[events.Data], **changes: Any) -> Any:
    given: dict[str, Any] = {
        "invoice_id": "in_1",
        "stripe_customer_id": "cus_1",
        "status": "open",
        "currency": "usd",
        "amount_due": 12900,
        "amount_remaining": 12900,
        "attempt_count": 1,
        "attempted": True,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "number": "SUN-0004",
        "subscription_id": "sub_1",
    }
    given.update(changes)
    return kind(**given)


def failed(**changes: Any) -> Any:
    return invoice_data(events.InvoicePaymentFailed, **changes)


def paid(**changes: Any) -> Any:
    return invoice_data(events.InvoicePaid, status="paid", amount_remaining=0, **changes)


class What(StrEnum):
    """What an event about an invoice is about."""

    UPDATED = "updated"
    FAILED = "failed"
    ACTION_REQUIRED = "action_required"
    CLOSED = "closed"


def observation(what: What = What.FAILED, **changes: Any) -> Observation:
    given: dict[str, Any] = {
        "failed": what in (What.FAILED, What.ACTION_REQUIRED),
        "action_required": what is What.ACTION_REQUIRED,
        "at": ago(hours=1),
        "status": "open",
        "currency": "usd",
        "amount_due": 12900,
        "amount_remaining": 12900,
        "attempt_count": 1,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "number": "SUN-0004",
        "subscription_id": "sub_1",
    }
    given.update(changes)
    return Observation(**given)


def invoice(*seen: Observation) -> Invoice:
    known = Invoice()
    for each in seen:
        known = merge(known, each)
    return known


def owned(*invoices: Invoice) -> list[OwnedInvoice]:
    """The invoices with ids, `in_1` first."""
    return [
        OwnedInvoice(invoice_id=f"in_{number}", invoice=each)
        for number, each in enumerate(invoices, 1)
    ]


def business(**changes: Any) -> Business:
    given: dict[str, Any] = {
        "business_id": "sunrise",
        "name": "Sunrise Home Cleaning",
        "email": "hello@sunrise.example",
        "phone": "(415) 555-0142",
        "website": "https://www.sunrise.example/book",
        "color": "#f59e0b",
        "timezone": "America/Los_Angeles",
    }
    given.update(changes)
    return Business(**given)


def appointment(ref: int = 1, **changes: Any) -> Appointment:
    given: dict[str, Any] = {
        "external_id": f"a{ref}",
        "title": "Weekly home cleaning",
        "starts_at": ahead(days=2),
        "ends_at": ahead(days=2, hours=2),
        "location": "48 Alder Street",
    }
    given.update(changes)
    return Appointment(ref=ref, **given)


def snapshot(**changes: Any) -> Snapshot:
    given: dict[str, Any] = {
        "customer_id": CUSTOMER_ID,
        "external_id": "c1",
        "name": "Maria Lopez",
        "email": "maria@example.com",
        "locale": None,
        "timezone": None,
        "link_generation": 1,
        "platform_stripe_customer_id": "cus_1",
        "billing_opened_at": None,
        "method_changed_at": None,
        "business": business(),
        "appointments": (appointment(),),
    }
    given.update(changes)
    return Snapshot(**given)


REFERENCES = CheckoutReferences([Secret("k" * 32)])


def says(
    names: str | None,
    stripe_id: str = "cus_1",
    *,
    at: dt.datetime = NOW,
    object_id: str | None = None,
    business: str | None = None,
    before: str | None = None,
    before_business: str | None = None,
    account: str = "",
    on_behalf_of: str = "",
    imported: bool = False,
) -> events.Event:
    """Metadata on the Stripe customer (or on `object_id`) names a customer, or nobody."""
    object_id = object_id or stripe_id
    kind = "subscription" if object_id.startswith("sub_") else "customer"
    return event(
        events.CustomerEvidenceChanged(
            stripe_customer_id=stripe_id,
            object_id=object_id,
            evidence=f"{kind}.metadata",
            customer_id=names,
            business_id=business,
            previous_customer_id=before,
            previous_business_id=before_business,
            account=account,
            on_behalf_of=on_behalf_of,
            imported=imported,
        ),
        at,
    )


def checkout(
    reference: str,
    stripe_id: str = "cus_1",
    *,
    at: dt.datetime = NOW,
    began: dt.datetime | None = NOW,
    session_id: str = "cs_1",
    account: str = "",
) -> events.Event:
    """A Checkout session with this `client_reference_id` was completed."""
    return event(
        events.CustomerEvidenceChanged(
            stripe_customer_id=stripe_id,
            object_id=session_id,
            evidence="checkout.session",
            reference=reference,
            session_created=began,
            account=account,
        ),
        at,
    )


def seen(
    stripe_id: str = "cus_1",
    email: str | None = "maria@example.com",
    *,
    at: dt.datetime = NOW,
    **changes: Any,
) -> Any:
    """What Stripe tells of one of its customers."""
    data = events.StripeCustomerSeen(stripe_customer_id=stripe_id, email=email, **changes)
    return event(data, at)


def enrol(session: Session, *given: Any, now: dt.datetime = NOW) -> None:
    """What the portal does with them when they come together."""
    enrolling.take_in(session, given, now)
    session.flush()


def take_in(session: Session, *given: events.Event, now: dt.datetime = NOW) -> list[bool]:
    """What the portal does with events of billing's evidence that come together."""
    batch = [read for one in given if (read := evidence.read_evidence(one, REFERENCES))]
    done = evidence.take_in(session, batch, now)
    session.flush()
    return done


def stripe_id_of(session: Session, customer_id: str) -> str | None:
    """With which Stripe customer a customer is linked."""
    return session.scalar(
        select(CustomerRow.platform_stripe_customer_id).where(CustomerRow.public_id == customer_id)
    )


def lookup(session: Session, public_id: str, now: dt.datetime) -> Snapshot | None:
    """One customer, whole, or None."""
    return lookup_many(session, [public_id], now).get(public_id)
