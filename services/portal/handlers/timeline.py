"""Looking back: what the portal knows of a customer or an invoice, as steps of a time line."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.handlers import link_report
from services.portal.models import ActivityRow, CustomerRow, InvoiceRow
from services.portal.queries import activity, invoices, subscriptions
from services.portal.queries import customers as people
from shared.contracts.invoices import collection_stopped, settlement
from shared.contracts.rpc.base import TimelineStep
from shared.contracts.rpc.portal import InvoiceStanding, Timeline, TimelineCustomer

MOST_VISITS: Final = 200
MOST_INVOICES: Final = 20
WORDS: Final = {
    "page": "opened the page",
    "page_from_mail": "opened the page from the e-mail",
    "billing_session": "went to Stripe's page: a session was made for this click",
    "billing_unavailable": "clicked, but Stripe's page could not be opened",
    "fresh_link": "asked for a fresh link",
}


def story(
    session: Session,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    customer_id: str | None,
    now: dt.datetime,
) -> Timeline:
    """The steps in order, whose they are (None: nobody we know), and where the invoice stands, or each that the customer owes.

    By invoice: what its customer did since it failed. By customer, either id: everything that is kept.
    """
    invoice = session.get(InvoiceRow, invoice_id) if invoice_id else None
    stripe_id = invoice.stripe_customer_id if invoice else stripe_customer_id
    customer = people.customer(session, customer_id) if customer_id else None
    if customer is None and stripe_id:
        customer = people.customer_of_stripe(session, stripe_id)
    steps = _invoice_steps(invoice) if invoice else []
    since = invoice.first_failed_at if invoice else None
    if customer is not None:
        if invoice_id is None:
            text = "the host application told us of this customer"
            steps.append(_step(customer.created_at, "told", text))
        if invoice_id is None or invoice is not None:
            rows = activity.of_customer(session, customer.public_id, since, MOST_VISITS)
            steps += [_visit_step(row) for row in rows]
    if invoice_id is None:
        about = link_report.steps(
            session, customer=customer.id if customer else None, stripe_customer_id=stripe_id
        )
        steps += [_step(at, what, text) for at, what, text in about]
    asked_about = [invoice] if invoice else []
    if invoice_id is None and stripe_id is None and customer is not None:
        stripe_id = customer.platform_stripe_customer_id
    if invoice_id is None and stripe_id:
        asked_about = invoices.failed_and_open(session, stripe_id, MOST_INVOICES)
    return Timeline(
        standing=[_standing(session, row, now) for row in asked_about],
        steps=sorted(steps, key=lambda step: step.at),
        customer=_customer(customer) if customer else None,
        stripe_customers=[stripe_id] if stripe_id else [],
    )


def _standing(session: Session, row: InvoiceRow, now: dt.datetime) -> InvoiceStanding:
    """Where an invoice stands: amounts in minor units, and what happens next by the rules that the page goes by."""
    invoice = invoices.read_invoice(row)
    subscription = subscriptions.state_of(session, row.subscription_id)
    settled = settlement(invoice)
    plan = invoice.retry_plan(subscription, now)
    return InvoiceStanding(
        invoice_id=row.invoice_id,
        number=row.number,
        status=row.status,
        currency=row.currency,
        due=row.amount_due,
        remaining=row.amount_remaining,
        paid=settled.paid,
        forgiven=settled.forgiven,
        attempt_count=row.attempt_count,
        stopped=collection_stopped(invoice, subscription),
        needs_confirmation=invoice.needs_confirmation,
        retry=plan.retry,
        next_charge=plan.at,
    )


def _customer(row: CustomerRow) -> TimelineCustomer:
    return TimelineCustomer(
        customer_id=row.public_id,
        external_id=row.external_id,
        platform_stripe_customer_id=row.platform_stripe_customer_id,
        link_generation=row.link_generation,
    )


def _step(at: dt.datetime, what: str, text: str, **more: Any) -> TimelineStep:
    return TimelineStep(at=at, service="portal", step=what, text=text, **more)


def _visit_step(row: ActivityRow) -> TimelineStep:
    times = f" ({row.count} times until {row.last_at:%H:%M})" if row.count > 1 else ""
    text = WORDS.get(row.what, row.what)
    return _step(row.first_at, row.what, f"the customer {text}{times}", count=row.count)


def _invoice_steps(row: InvoiceRow) -> list[TimelineStep]:
    steps = []
    if row.first_failed_at is not None:
        text = "the page shows the invoice as unpaid from here"
        steps.append(_step(row.first_failed_at, "shown_as_owed", text))
    failed, changed = row.first_failed_at, row.method_changed_at
    if failed is not None and changed is not None and changed >= failed:
        text = "the page says that the new payment method is being tried"
        steps.append(_step(changed, "card_changed", text))
    if row.closed_at is not None and row.first_failed_at is not None:
        text = f"the page shows the invoice as {row.status}"
        steps.append(_step(row.closed_at, "shown_as_closed", text))
    return steps
