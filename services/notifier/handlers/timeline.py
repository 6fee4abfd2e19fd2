"""Looking back: what the notifier knows of an invoice, a customer, an event or an email, as steps of a time line."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy.orm import Session

from services.notifier.domain.vocabulary import Status
from services.notifier.models import IncidentRow, Notification, ProcessedEvent, SendGridEvent
from services.notifier.queries import notifications
from services.notifier.queries import timeline as queries
from shared.contracts.rpc.notifier import Timeline, TimelineStep
from shared.l10n.locales import ENGLISH
from shared.l10n.money import money

MOST_NOTIFICATIONS: Final = 200


def story(
    session: Session,
    *,
    invoice_id: str | None,
    stripe_customer_id: str | None,
    customer_id: str | None,
    event_id: str | None,
    notification_id: str | None,
    event_ids: list[str],
) -> Timeline:
    """The steps in order, and the ids met on the way, by one of the ids.

    `event_ids` are Stripe events whose outcome is wanted besides: billing knows which belong to an invoice.
    """
    if notification_id is not None:
        found = notifications.by_id(session, notification_id)
        mails = [found] if found is not None else []
    else:
        mails = queries.notifications_about(
            session,
            invoice_id=invoice_id,
            stripe_customer_id=stripe_customer_id,
            customer_id=customer_id,
            stripe_event_id=event_id,
            limit=MOST_NOTIFICATIONS,
        )
    invoices = sorted(
        {row.invoice_id for row in mails if row.invoice_id} | {invoice_id or ""} - {""}
    )
    wanted = sorted({*event_ids, *([event_id] if event_id else [])})
    incidents = (
        queries.incidents_about(
            session, invoice_ids=invoices, stripe_customer_id=stripe_customer_id
        )
        if event_id is None
        else []
    )
    ids = [row.notification_id for row in mails]
    steps = [step for row in incidents for step in _incident_steps(row)]
    steps += [_processed_step(row) for row in queries.processed_of(session, wanted)]
    steps += [step for row in mails for step in _mail_steps(row)]
    steps += [_feedback_step(row) for row in queries.feedback_of(session, ids)]
    people = {row.stripe_customer_id for row in mails if row.stripe_customer_id}
    people |= {row.stripe_customer_id for row in incidents}
    return Timeline(
        steps=sorted(steps, key=lambda step: step.at),
        invoices=invoices,
        stripe_customers=sorted(people),
        events=sorted(
            {row.correlation_id for row in mails if row.correlation_id.startswith("evt_")}
        ),
    )


def _step(at: dt.datetime, what: str, text: str, **more: Any) -> TimelineStep:
    return TimelineStep(at=at, service="notifier", step=what, text=text, **more)


def _incident_steps(row: IncidentRow) -> list[TimelineStep]:
    about = row.number or row.invoice_id
    steps = []
    if row.opened_at is not None:
        asked = money(row.amount_due, row.currency, ENGLISH) if row.currency else "amount unknown"
        text = f"{about} failed for the first time ({asked})"
        steps.append(_step(row.opened_at, "failed", text, object_id=row.invoice_id))
    if row.closed_at is not None:
        text = f"{about} is {row.status}"
        steps.append(_step(row.closed_at, row.status, text, object_id=row.invoice_id))
    return steps


def _processed_step(row: ProcessedEvent) -> TimelineStep:
    text = f"{row.type}: {row.outcome}"
    return _step(row.processed_at, "decided", text, event_id=row.event_id)


def _mail_steps(row: Notification) -> list[TimelineStep]:
    more = {"notification_id": row.notification_id, "object_id": row.invoice_id}
    name = f"{row.kind} (attempt {row.attempt})" if row.invoice_id else row.kind
    if row.dedupe_key.startswith("resend/"):
        name += ", sent again by hand"
    steps = []
    if row.status == Status.SUPPRESSED:
        # The row does not say when the reason was found; it was there when it was made, or looked at again later.
        text = (
            f"no {name} email of its own: told in {row.told_in}"
            if row.told_in
            else f"no {name} email: {row.reason}"
        )
        steps.append(_step(row.created_at, "suppressed", text, **more))
        return steps
    steps.append(_step(row.created_at, "notified", f"{name} email is due", **more))
    if row.sent_at is not None:
        tries = f" at try {row.attempts}" if row.attempts > 1 else ""
        text = f"{name} email accepted by SendGrid{tries}"
        steps.append(_step(row.sent_at, "sent", text, **more))
    if row.delivered_at is not None:
        steps.append(_step(row.delivered_at, "delivered", f"{name} email delivered", **more))
    if row.status in (Status.FAILED, Status.BOUNCED):
        at = row.sent_at or row.due_at
        steps.append(_step(at, str(row.status), f"{name} email {row.status}: {row.reason}", **more))
    elif row.status in (Status.PENDING, Status.SENDING) and (row.last_error or row.attempts):
        text = f"{name} email waits for its next try after {row.attempts}: {row.last_error or 'no answer yet'}"
        steps.append(_step(row.due_at, "waiting", text, **more))
    return steps


def _feedback_step(row: SendGridEvent) -> TimelineStep:
    text = f"SendGrid reports: {row.event}"
    return _step(row.occurred_at, "feedback", text, notification_id=row.notification_id)
