"""What was observed instead of sent: looked at, and sent after all when a person accepts it (docs/adr/0032-observe-then-live.md)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers.requests import UnknownNotification
from services.notifier.handlers.results import finish
from services.notifier.models import Notification
from services.notifier.queries import incidents, notifications
from services.notifier.queries import observed as queries
from shared.contracts.accounts import StripeId, look_up
from shared.contracts.invoices import settlement
from shared.contracts.rpc import notifier as contract


def observed(
    session: Session,
    *,
    business_id: str | None,
    since: dt.datetime | None,
    starting_after: str | None,
    limit: int,
) -> contract.ObservedNotifications:
    """A page of what a business's customers and the business would have got, or of None those of all businesses, with what has become of
    the invoices. Raises UnknownNotification for `starting_after`."""
    after = None
    if starting_after is not None:
        after = notifications.by_id(session, starting_after)
        if (
            after is None
            or business_id not in (None, after.business_id)
            or not _was_observed(after)
        ):
            raise UnknownNotification("starting_after: there is no such notification")
        if after.status != Status.OBSERVED:
            raise UnknownNotification(
                "starting_after: this one was accepted meanwhile and has no place among the observed ones any more; begin anew"
            )
    rows = queries.page(session, business_id=business_id, since=since, after=after, limit=limit + 1)
    known = incidents.read_incidents(session, {row.invoice for row in rows if row.invoice})
    return contract.ObservedNotifications(
        notifications=[_view(row, look_up(known, row.invoice)) for row in rows[:limit]],
        has_more=len(rows) > limit,
    )


def _was_observed(row: Notification) -> bool:
    return row.status == Status.OBSERVED or row.business_id is not None


def _view(row: Notification, incident: Incident | None) -> contract.ObservedNotification:
    return contract.ObservedNotification.of(
        row,
        business_id=row.business_id or "",
        occurred_at=row.occurred_at or row.created_at,
        observed_at=row.finished_at or row.created_at,
        invoice=None
        if incident is None
        else contract.ObservedInvoice.of(incident, amount_paid=settlement(incident).paid),
    )


def accept(
    session: Session, notification_ids: list[str], now: dt.datetime
) -> list[contract.AcceptedNotification]:
    """Let observed notifications go out after all, each as any that is due: it is looked at again first, and may be suppressed then. Of the
    failures of one invoice the newest that is accepted goes: an email tells how its invoice stands when it goes out.

    One that is not observed (any more) is answered as it stands, so the same call again changes nothing; so is a welcome, which has a rate
    (`queries.welcome_emails.MAY_GO_AGAIN`). Their businesses are live: that
    is for the caller to know, who may ask the portal only outside of a transaction. Raises UnknownNotification, with nothing written.
    """
    invoices = queries.invoices_of(session, notification_ids)
    incidents.lock_incidents(session, invoices)
    before = queries.accepted_waiting(session, invoices)
    rows = notifications.lock_rows(session, [*notification_ids, *before])
    for wanted in notification_ids:
        if wanted not in rows:
            raise UnknownNotification(f"notification_ids: there is no notification {wanted[:60]}")
    ids = dict.fromkeys(notification_ids)
    # Accepted, welcomes would go all at once: whoever wants them asks for their customers again.
    accepted = {
        wanted
        for wanted in ids
        if rows[wanted].status == Status.OBSERVED and rows[wanted].kind != Kind.WELCOME
    }
    for wanted in accepted:
        _make_due(rows[wanted], now)
    told_in_another = _all_but_the_newest(rows[id] for id in {*accepted, *before})
    for row in told_in_another:
        finish(row, Status.SUPPRESSED, Reason.NEWER_ACCEPTED, now)
    accepted -= {row.notification_id for row in told_in_another}
    return [
        contract.AcceptedNotification.of(rows[wanted], accepted=wanted in accepted)
        for wanted in ids
    ]


def _make_due(row: Notification, now: dt.datetime) -> None:
    row.status, row.reason, row.finished_at = Status.PENDING.value, None, None
    row.lease_until = row.lease_token = row.last_error = None
    # Giving up counts from here, and so do the tries: it waited for a person, and for no system.
    row.accepted_at = row.due_at = row.ready_at = now
    row.attempts = row.lookups = 0


def _all_but_the_newest(rows: Iterable[Notification]) -> list[Notification]:
    """Those about failures of an invoice of which a newer one is there."""
    of_invoice: dict[StripeId, list[Notification]] = defaultdict(list)
    for row in rows:
        if row.invoice is not None and row.kind in DUNNING and row.status == Status.PENDING:
            of_invoice[row.invoice].append(row)
    older = []
    for several in of_invoice.values():
        several.sort(key=lambda row: (row.created_at, row.attempt, row.notification_id))
        older += several[:-1]
    return older
