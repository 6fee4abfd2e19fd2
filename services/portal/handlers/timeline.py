"""Looking back: what the portal knows of a customer or an invoice, as steps of a time line."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.domain.cancelling import Step
from services.portal.handlers import link_report
from services.portal.handlers.cancellation_steps import step_of
from services.portal.models import (
    ActivityRow,
    CancellationRequestRow,
    CustomerRow,
    InvoiceRow,
)
from services.portal.queries import (
    activity,
    behalves,
    cancellation_requests,
    invoices,
    subscriptions,
)
from services.portal.queries import customers as people
from shared.contracts.accounts import Account, Merchant, StripeCustomer, StripeId
from shared.contracts.accounts import stripe_id as named
from shared.contracts.invoices import collection_stopped, payment_under_way, settlement
from shared.contracts.rpc.base import TimelineStep, in_words
from shared.contracts.rpc.portal import InvoiceStanding, Timeline, TimelineCustomer

MOST_VISITS: Final = 200
MOST_INVOICES: Final = 20
MOST_REQUESTS: Final = 20
AT_ONCE: Final = dt.timedelta(seconds=10)
"""What is due is done within this time where all is well."""
WORDS: Final = {
    "page": "opened the page",
    "page_from_mail": "opened the page from the email",
    "billing_session": "went to Stripe's page: a session was made for this click",
    "billing_unavailable": "clicked, but Stripe's page could not be opened",
    "fresh_link": "asked for a fresh link",
}


def story(
    session: Session,
    account: Account,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    customer_id: str | None,
    now: dt.datetime,
) -> Timeline:
    """The steps in order, whose they are (None: nobody we know), and where the invoice stands, or each that the customer owes.

    By invoice: what its customer did since it failed, or came into being, and nothing from before it; of one that is nobody's,
    which links of its Stripe customer were refused. By customer, either id: everything that is kept.
    """
    invoice = invoices.known_invoice(session, StripeId(account, invoice_id)) if invoice_id else None
    stripe_id = invoice.stripe_customer_id if invoice else stripe_customer_id
    customer = people.customer(session, customer_id) if customer_id else None
    if customer is not None:
        account = Account(customer.account)
    if invoice is not None:
        whose = behalves.merchant(session, Merchant(account, invoice.on_behalf_of))
        customer = people.customer_of_stripe(
            session, StripeCustomer(account, invoice.stripe_customer_id, whose.on_behalf_of)
        )
    elif customer is None and stripe_id:
        theirs = people.customers_of_stripe(session, StripeId(account, stripe_id))
        customer = theirs[0] if len(theirs) == 1 else None
    steps = _invoice_steps(invoice) if invoice else []
    since = invoice.first_failed_at or invoice.finalized_at if invoice else None
    if customer is not None and (invoice_id is None or since is not None):
        rows = activity.of_customer(session, customer.public_id, since, MOST_VISITS)
        steps += [_visit_step(row, since) for row in rows]
    elif customer is None and invoice is not None:
        refused = link_report.refusals(session, StripeId(account, invoice.stripe_customer_id))
        steps += [_step(*_as_of(since, at, text)) for at, _, text in refused]
    if invoice_id is None:
        steps += _customer_steps(session, account, customer, stripe_id, now)
    asked_about = [invoice] if invoice else []
    if invoice_id is None and stripe_id is None and customer is not None:
        stripe_id = customer.platform_stripe_customer_id
    if invoice_id is None and stripe_id:
        on_behalf_of = None if customer is None else customer.on_behalf_of
        asked_about = invoices.failed_and_open(
            session, StripeId(account, stripe_id), MOST_INVOICES, on_behalf_of
        )
    return Timeline(
        standing=[_standing(session, row, now) for row in asked_about],
        steps=sorted(steps, key=lambda step: step.at),
        customer=_customer(customer) if customer else None,
        stripe_customers=[stripe_id] if stripe_id else [],
    )


def _customer_steps(
    session: Session,
    account: Account,
    customer: CustomerRow | None,
    stripe_id: str | None,
    now: dt.datetime,
) -> list[TimelineStep]:
    """What belongs to the story of a customer, or of a Stripe customer who is nobody's, and not to one of their invoices'."""
    steps = []
    if customer is not None:
        text = (
            "Portico enrolled this customer from Stripe"
            if customer.enrolled_at is not None
            else "the host application told us of this customer"
        )
        steps.append(_step(customer.created_at, "told", text))
        for request in cancellation_requests.requests_of(session, customer.id, MOST_REQUESTS):
            steps += _request_steps(request, now)
    about = link_report.steps(
        session, account, customer=customer.id if customer else None, stripe_customer_id=stripe_id
    )
    return steps + [_step(at, what, text) for at, what, text in about]


def _standing(session: Session, row: InvoiceRow, now: dt.datetime) -> InvoiceStanding:
    """Where an invoice stands: amounts in minor units, and what happens next by the rules that the page goes by."""
    invoice = invoices.read_invoice(row)
    subscription = subscriptions.state_of(session, named(row.account, row.subscription_id))
    settled = settlement(invoice)
    plan = invoice.retry_plan(subscription, now)
    return InvoiceStanding.of(
        row,
        due=row.amount_due,
        remaining=row.amount_remaining,
        paid=settled.paid,
        forgiven=settled.forgiven,
        stopped=collection_stopped(invoice, subscription),
        needs_confirmation=invoice.needs_confirmation,
        retry=plan.retry,
        next_charge=plan.at,
        under_way=invoice.status == "open" and payment_under_way(invoice),
    )


def _customer(row: CustomerRow) -> TimelineCustomer:
    return TimelineCustomer.of(row, customer_id=row.public_id)


def _step(at: dt.datetime, what: str, text: str, **more: Any) -> TimelineStep:
    return TimelineStep(at=at, service="portal", step=what, text=text, **more)


def _as_of(since: dt.datetime | None, at: dt.datetime, text: str) -> tuple[dt.datetime, str, str]:
    """A refusal in the story of an invoice, which begins at `since`: what was refused before is so from there on."""
    if since is None or at >= since:
        return at, "link_refused", text
    return since, "link_refused", f"{text} (at {in_words(at)}, and it still stands)"


def _visit_step(row: ActivityRow, since: dt.datetime | None) -> TimelineStep:
    """What was counted together stands where it began, or, where that was before the story, where it ended."""
    text = WORDS.get(row.what, row.what)
    at = row.first_at if since is None or row.first_at >= since else row.last_at
    times = ""
    if row.count > 1:
        span = f"until {row.last_at:%H:%M}" if at == row.first_at else f"from {row.first_at:%H:%M}"
        times = f" ({row.count} times {span})"
    return _step(at, row.what, f"the customer {text}{times}", count=row.count)


STEPS: Final = {
    Step.TELL_BUSINESS: "the business is told",
    Step.CANCEL: "billing plans the end",
    Step.ASK_BUSINESS: "the business is asked to cancel at Stripe itself",
    Step.REMIND_BUSINESS: "the business is reminded to cancel at Stripe itself",
    Step.TELL_CUSTOMER: "the customer is told the answer",
}


def _request_steps(row: CancellationRequestRow, now: dt.datetime) -> list[TimelineStep]:
    about = f"the request to cancel {row.subscription_id}"
    more = {"object_id": row.subscription_id}
    asked = f"the customer asked to cancel {row.subscription_id}"
    steps = [_step(row.asked_at, "cancellation_requested", asked, **more)]
    if row.business_told_at is not None:
        text = f"{about}: the business is to be told by email"
        steps.append(_step(row.business_told_at, "cancellation_passed_on", text, **more))
    if row.decided_at is not None:
        if row.status == "overtaken":
            text = f"{about} needs no answer any more: the subscription ends anyway, or is not this customer's"
        elif row.status == "open":
            text = f"the business approved {about}, and began to observe before the end was planned: it is asked again once it is live"
        else:
            text = f"the business has {row.status} {about}"
        what = "reopened" if row.status == "open" else row.status
        steps.append(_step(row.decided_at, f"cancellation_{what}", text, **more))
    steps += _by_hand_steps(row, about)
    if row.carried_out_at is not None:
        ends = f", it ends at {in_words(row.ends_at)}" if row.ends_at else ""
        text = f"{row.subscription_id} was set to end with its current period{ends}"
        if row.by_hand_at is not None:
            text = f"Stripe says that {row.subscription_id} was set to end{ends}"
        steps.append(_step(row.carried_out_at, "cancellation_carried_out", text, **more))
    if row.customer_told_at is not None:
        text = f"{about}: the customer is to be told the answer by email"
        steps.append(_step(row.customer_told_at, "cancellation_answered", text, **more))
    return steps + _waiting_steps(row, about, now)


def _waiting_steps(row: CancellationRequestRow, about: str, now: dt.datetime) -> list[TimelineStep]:
    """What a request waits for now, if that takes longer than it should, or it is others' turn."""
    more = {"object_id": row.subscription_id}
    todo = step_of(row)
    if todo is None or row.next_try_at is None:
        text = {
            "open": f"{about} waits for the business's answer",
            "approved": f"{about} waits for the business to cancel at Stripe, of which it was reminded",
        }.get(row.status)
        if text is None or row.carried_out_at is not None:
            return []
        return [_step(now, "waiting", text, **more)]
    due = in_words(row.next_try_at)
    if row.tries:
        tries = f"{row.tries} {'try' if row.tries == 1 else 'tries'}"
        text = f"{about} waits after {tries}, next at {due}, until {STEPS[todo]}: {row.last_error}"
    elif todo is Step.REMIND_BUSINESS and now < row.next_try_at:
        text = f"{about} waits for the business to cancel at Stripe; it is reminded at {due}"
    elif now - row.next_try_at > AT_ONCE:
        text = f"{about} waits since {due} until {STEPS[todo]}"
    else:
        return []
    return [_step(now, "waiting", text, **more, until=row.next_try_at)]


def _by_hand_steps(row: CancellationRequestRow, about: str) -> list[TimelineStep]:
    """What was done where Stripe lets only the business plan the end."""
    told = (
        (
            row.by_hand_at,
            "cancellation_refused",
            f"Stripe does not let a platform end {row.subscription_id}, which it did not make",
        ),
        (
            row.by_hand_told_at,
            "cancellation_by_hand",
            f"{about}: the business is to be asked by email to cancel at Stripe itself",
        ),
        (
            row.by_hand_reminded_at,
            "cancellation_reminded",
            f"{about}: the business is to be reminded by email to cancel at Stripe itself",
        ),
    )
    return [_step(at, what, text, object_id=row.subscription_id) for at, what, text in told if at]


def _invoice_steps(row: InvoiceRow) -> list[TimelineStep]:
    steps = []
    if row.first_failed_at is not None:
        text = "the page shows the invoice as unpaid from here"
        steps.append(_step(row.first_failed_at, "shown_as_owed", text))
    failed, changed = row.first_failed_at, row.method_changed_at
    if failed is not None and changed is not None and changed >= failed:
        text = "a new payment method came: the page says what becomes of it"
        steps.append(_step(changed, "card_changed", text))
    if row.closed_at is not None and row.first_failed_at is not None:
        text = f"the page shows the invoice as {row.status}"
        steps.append(_step(row.closed_at, "shown_as_closed", text))
    return steps
