"""What follows when the mail provider has a message: by its answer, or by its webhook, which proves the answer that was lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.reminders import effective_time
from services.notifier.domain.vocabulary import ACTIVE, Status
from services.notifier.handlers.invoices import announce_recovery
from services.notifier.models import Notification
from services.notifier.queries import incidents as incident_queries
from services.notifier.queries import leases
from services.notifier.queries.notifications import Row
from shared.contracts.accounts import StripeId, look_up


def mark_sent(
    session: Session,
    row: Notification | Row,
    incident: Incident | None,
    at: dt.datetime,
    message_id: str | None,
) -> Incident | None:
    """The provider has the message. `row` and `incident` are locked.

    Returns the incident as it is to be stored, where that changed. When the invoice was paid while the email was on
    its way, the good news is written down here.
    """
    if row.sent_at is None:
        row.sent_at = at
    if row.status not in (Status.DELIVERED, Status.BOUNCED):
        row.status, row.reason = Status.SENT.value, None
    row.provider_message_id = row.provider_message_id or message_id
    row.unconfirmed_since, row.lease_until, row.last_error = None, None, None
    row.finished_at = None
    row.unconfirmed_posts = 0
    if Kind(row.kind) not in DUNNING:
        return None
    return _was_asked(session, row, incident, row.sent_at, at)


def mark_others_sent(session: Session, row: Notification | Row, at: dt.datetime) -> list[Incident]:
    """The provider has an email in which others are told, too. Returns their incidents as they are to be stored."""
    if not (row.context or {}).get(leases.GATHERS):
        return []
    others = leases.told_in(session, [row.notification_id])
    incidents = incident_queries.lock_incidents(
        session, {one.invoice for one in others if one.invoice}
    )
    asked = []
    for other in others:
        if other.sent_at is None:
            other.sent_at = at
            asked.append(_was_asked(session, other, look_up(incidents, other.invoice), at, at))
    return [incident for incident in asked if incident is not None]


def as_mailed(
    incident: Incident,
    occurred_at: dt.datetime,
    heard_at: dt.datetime,
    sent_at: dt.datetime,
    *,
    asked: bool = False,
) -> Incident:
    """The incident with an email that left at `sent_at` and tells of what happened and was heard then. `asked`: it is the last that was
    begun (`Incident.asked_at`)."""
    told_at = effective_time(occurred_at, heard_at, sent_at)
    return incident.with_changes(
        last_mailed_at=max(told_at, incident.last_mailed_at or told_at),
        asked_at=sent_at if asked else incident.asked_at,
    )


def with_under_way(
    incidents: Mapping[StripeId, Incident], told: Mapping[StripeId, Iterable[Notification]]
) -> dict[StripeId, Incident]:
    """The incidents as if what is posted just now, or may have been taken, had arrived: a second email about the same invoice would not
    wait for the answer otherwise. `told`: the emails about their failures."""
    mailed = dict(incidents)
    for invoice, rows in told.items():
        for row in rows:
            if row.unconfirmed_since is not None and row.status in ACTIVE and invoice in mailed:
                happened = row.occurred_at or row.created_at
                mailed[invoice] = as_mailed(
                    mailed[invoice], happened, row.created_at, row.unconfirmed_since
                )
    return mailed


def _was_asked(
    session: Session,
    row: Notification | Row,
    incident: Incident | None,
    sent_at: dt.datetime,
    at: dt.datetime,
) -> Incident | None:
    """The incident after its customer was asked for it by an email that left at `sent_at`."""
    if incident is None:
        return None
    mailed = as_mailed(incident, row.occurred_at or row.created_at, row.created_at, sent_at)
    announce_recovery(session, mailed, row.correlation_id, at)
    return mailed
