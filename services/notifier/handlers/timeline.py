"""Looking back: what the notifier knows of an invoice, a customer, an event or an email, as steps of a time line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET, UnsetType
from sqlalchemy.orm import Session

from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import IncidentRow, Notification, ProcessedEvent, SendGridEvent
from services.notifier.queries import notifications, welcomes
from services.notifier.queries import timeline as queries
from shared.contracts.accounts import OWN, Account
from shared.contracts.invoices import settlement
from shared.contracts.rpc.base import Timeline, TimelineStep, at_or_since, in_words
from shared.l10n.locales import ENGLISH
from shared.l10n.money import money

MOST_NOTIFICATIONS: Final = 200
AT_ONCE: Final = dt.timedelta(seconds=5)
"""What is due goes out within this time where all is well."""


@dataclass(frozen=True, kw_only=True)
class About:
    """Whose story is wanted: one of the ids, and the account of those that are Stripe's."""

    account: Account = OWN
    invoice_id: str | None = None
    stripe_customer_id: str | None = None
    customer_id: str | None = None
    event_id: str | None = None
    notification_id: str | None = None


def story(session: Session, about: About, *, event_ids: list[str], now: dt.datetime) -> Timeline:
    """The steps in order, and the ids met on the way, by one of the ids.

    `event_ids` are Stripe events whose outcome is wanted besides: billing knows which belong to an invoice. What is true only
    now (a mail is held, waits, is being sent) stands at `now`.
    """
    account, invoice_id, event_id = about.account, about.invoice_id, about.event_id
    if about.notification_id is not None:
        found = notifications.by_id(session, about.notification_id)
        mails = [found] if found is not None else []
    else:
        mails = queries.notifications_about(
            session,
            account,
            invoice_id=invoice_id,
            stripe_customer_id=about.stripe_customer_id,
            customer_id=about.customer_id,
            stripe_event_id=event_id,
            limit=MOST_NOTIFICATIONS,
        )
    invoices = sorted(
        {row.invoice_id for row in mails if row.invoice_id} | {invoice_id or ""} - {""}
    )
    wanted = sorted({*event_ids, *([event_id] if event_id else [])})
    incidents = (
        queries.incidents_about(
            session, account, invoice_ids=invoices, stripe_customer_id=about.stripe_customer_id
        )
        if event_id is None
        else []
    )
    together = queries.told_elsewhere(session, mails)
    ids = [row.notification_id for row in (*mails, *together)]
    reports = queries.feedback_of(session, ids)
    steps = [step for row in incidents for step in _incident_steps(row, mails)]
    steps += [_processed_step(row) for row in queries.processed_of(session, account, wanted)]
    for row in (*mails, *together):
        mine = [one.occurred_at for one in reports if one.notification_id == row.notification_id]
        steps += _mail_steps(row, mine, now)
    steps += [_feedback_step(row) for row in reports]
    if about.customer_id is not None:
        steps += _welcome_steps(session, about.customer_id, now)
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


def _welcome_steps(session: Session, customer_id: str, now: dt.datetime) -> list[TimelineStep]:
    """Of a customer who was asked for and has no email yet."""
    place = welcomes.without_email(session, customer_id)
    if place is None:
        return []
    if place.released_at is None:
        text = "the welcome email waits for its turn in its business’s queue"
        return [_step(now, "waits", text)]
    text = "the welcome email was taken off its business’s queue: it can be asked for again"
    return [_step(place.released_at, "stopped", text)]


def _step(at: dt.datetime, what: str, text: str, **more: Any) -> TimelineStep:
    return TimelineStep(at=at, service="notifier", step=what, text=text, **more)


def _incident_steps(row: IncidentRow, mails: list[Notification]) -> list[TimelineStep]:
    about = row.number or row.invoice_id
    steps = []
    if row.opened_at is not None:
        text = f"{about} failed for the first time ({_asked(row)})"
        events = (
            one.correlation_id
            for one in mails
            if one.invoice_id == row.invoice_id
            and one.occurred_at == row.opened_at
            and one.correlation_id.startswith("evt_")
        )
        event_id = next(events, None)
        more = {"event_id": event_id} if event_id else {}
        steps.append(_step(row.opened_at, "failed", text, object_id=row.invoice_id, **more))
    if row.closed_at is not None:
        waived = row.status == "paid" and settlement(row).is_waived
        text = f"{about} is {row.status}" + (" by a credit note, without any money" * waived)
        steps.append(_step(row.closed_at, row.status, text, object_id=row.invoice_id))
    return steps


def _asked(row: IncidentRow) -> str:
    """What the invoice asked for; when a part of that was credited, it does not tell."""
    if not row.currency:
        return "amount unknown"
    asked = money(row.amount_due + row.amount_credited, row.currency, ENGLISH)
    if not row.amount_credited:
        return asked
    return f"{asked}, of which {money(row.amount_credited, row.currency, ENGLISH)} is credited"


def _processed_step(row: ProcessedEvent) -> TimelineStep:
    text = f"{row.type}: {row.outcome}"
    return _step(row.processed_at, "decided", text, event_id=row.event_id)


Told = tuple[dt.datetime, str, str, dt.datetime | UnsetType]
"""What is told of an email: when, step, sentence, until when."""


def _mail_steps(
    row: Notification, reports: list[dt.datetime], now: dt.datetime
) -> list[TimelineStep]:
    """One email from the moment it was due. `reports` are the times of what SendGrid reported of it."""
    more = {"notification_id": row.notification_id, "object_id": row.invoice_id}
    name = f"{row.kind} (attempt {row.attempt})" if row.invoice_id else row.kind
    if row.dedupe_key.startswith("resend/"):
        name += ", sent again by hand"
    ended = row.finished_at or row.created_at  # of a release that did not note it: when it was made
    told: list[Told] = []
    if row.status != Status.SUPPRESSED or ended > row.created_at:
        told.append((row.created_at, "notified", f"{name} email is due", UNSET))
    if row.accepted_at is not None:
        text = f"{name} email was observed; a person wanted it sent"
        told.append((row.accepted_at, "accepted", text, UNSET))
    if row.unconfirmed_since is not None:
        told.append(_unconfirmed(row, row.unconfirmed_since, name, now))
    elif row.status in ACTIVE:
        told += [(now, *one) for one in _waiting(row, name, now)]
    if row.status == Status.OBSERVED:
        told.append((ended, "observed", f"no {name} email: {row.reason}", UNSET))
    elif row.status == Status.SUPPRESSED:
        told += [(*one, UNSET) for one in _held_back(row, name, ended)]
    else:
        told += [(*one, UNSET) for one in _posted(row, name, reports, ended)]
    return [_step(at, what, text, **more, until=until) for at, what, text, until in told]


def _unconfirmed(row: Notification, since: dt.datetime, name: str, now: dt.datetime) -> Told:
    """An email whose post has no known answer."""
    why = f" ({row.last_error})" if row.last_error else ""
    text = f"{name} email given to SendGrid, no answer known{why}: it may have been sent"
    if row.status not in ACTIVE:
        return since, "unconfirmed", text, UNSET
    text += f"; unless SendGrid confirms it, sent once more {at_or_since(row.due_at, now)}"
    return since, "unconfirmed", text, row.due_at


def _held_back(
    row: Notification, name: str, ended: dt.datetime
) -> Iterator[tuple[dt.datetime, str, str]]:
    """An email that is not sent, or not as one of its own: when, step, sentence."""
    if not row.told_in:
        yield ended, "suppressed", f"no {name} email: {row.reason}"
        return
    yield ended, "suppressed", f"no {name} email of its own: {row.reason} ({row.told_in})"
    if row.sent_at is not None:
        text = f"{name} told in the email {row.told_in}, accepted by SendGrid"
        yield row.sent_at, "told_together", text


def _posted(
    row: Notification, name: str, reports: list[dt.datetime], ended: dt.datetime
) -> Iterator[tuple[dt.datetime, str, str]]:
    """What became of an email that was to be sent: when, step, sentence."""
    last_report = max(
        (at for at in reports if at != row.delivered_at), default=row.sent_at or row.created_at
    )
    tries = f" at try {row.attempts}" if row.attempts > 1 else ""
    if row.sent_at is not None:
        yield row.sent_at, "sent", f"{name} email accepted by SendGrid{tries}"
    if row.status == Status.SENT and row.last_error:
        text = f"{name} email put off by the reader's mail server, SendGrid tries again: {row.last_error}"
        yield last_report, "deferred", text
    if row.delivered_at is not None:
        yield row.delivered_at, "delivered", f"{name} email delivered"
    if row.status == Status.BOUNCED:
        why = (row.reason or "").removeprefix("bounced: ")
        yield last_report, "bounced", f"{name} email bounced: {why}"
    elif row.status == Status.FAILED:
        gave_up = row.reason == Reason.GAVE_UP and row.last_error
        last = f"; the last try: {row.last_error}" if gave_up else ""
        yield ended, "failed", f"{name} email failed{tries}: {row.reason}{last}"


def _waiting(
    row: Notification, name: str, now: dt.datetime
) -> Iterator[tuple[str, str, dt.datetime]]:
    """What an email that has not been posted waits for now: step, sentence, until when."""
    due = at_or_since(row.due_at, now)
    if row.status == Status.SENDING:
        until = row.lease_until or row.due_at
        if until > now:
            yield (
                "sending",
                f"{name} email is in a sender's hands, until {in_words(until)} at the longest",
                until,
            )
        else:
            yield (
                "sending",
                f"{name} email was left by its sender at {in_words(until)}; the next one takes it",
                until,
            )
    elif row.reason and (row.ready_at == row.due_at or not row.last_error):
        yield "held", f"{name} email is held, looked at again {due}: {row.reason}", row.due_at
    elif row.last_error or row.attempts:
        tries = row.attempts + row.lookups
        after = f" after {tries} {'try' if tries == 1 else 'tries'}" if tries else ""
        text = f"{name} email waits{after}, next try {due}: {row.last_error or 'no answer yet'}"
        yield "waiting", text, row.due_at
    elif row.due_at > now:
        yield "waiting", f"{name} email goes out {due}", row.due_at
    elif now - row.due_at > AT_ONCE:
        text = f"{name} email was to go out at {in_words(row.due_at)}, and nobody has sent it yet"
        yield "waiting", text, row.due_at


def _feedback_step(row: SendGridEvent) -> TimelineStep:
    text = f"SendGrid reports: {row.event}"
    return _step(row.occurred_at, "feedback", text, notification_id=row.notification_id)
