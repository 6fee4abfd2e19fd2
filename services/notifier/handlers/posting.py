"""What is written down around the post of an email: "about to post" before it, the answer after it.

Each function does its work for many emails at once, inside the transaction that its caller opened and commits. Locks
are taken in the order of `queries`: incidents by id, then notifications by id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import (
    DUNNING,
    Accepted,
    Again,
    Failure,
    Go,
    Hold,
    Incident,
    InvoiceNow,
    Kind,
    MaybeSent,
    Outcome,
    RateLimited,
    Reason,
    Refused,
    Schedule,
    SendingPolicy,
    Status,
    Stop,
    Suppress,
    Unavailable,
    address_hash,
    after_unavailable,
    is_replacement,
    is_told,
    look_again,
    story_time,
    when,
)
from services.notifier.formats import zone
from services.notifier.handlers.invoices import announce_recovery
from services.notifier.models import Notification
from services.notifier.ports import Contact, Mail
from services.notifier.queries import Leased


@dataclass(frozen=True)
class Result:
    """What came of one try, for log and metrics. `outcome` is a word of a small set."""

    kind: Kind
    outcome: str
    why: str = ""
    pause_until: dt.datetime | None = None
    """Set when SendGrid asks everybody to wait."""


@dataclass(frozen=True, kw_only=True)
class Posting:
    """A finished email that wants to go out, and what is needed to say whether it may."""

    leased: Leased
    mail: Mail
    contact: Contact
    planned: Schedule
    invoice: InvoiceNow | None
    """The invoice as it was just read; None where it could not be."""


@dataclass(frozen=True)
class Answered:
    """What SendGrid answered to an email, or that it did not."""

    leased: Leased
    kind: Kind
    outcome: Outcome


@dataclass(frozen=True)
class _Known:
    """What the database says about the emails of a batch, read under its locks."""

    incidents: dict[str, Incident]
    rows: dict[str, Notification]
    deleted: set[str]
    suppressed: dict[str, str]
    told: dict[str, list[Failure]]
    """The failures of which customers were told, by invoice."""


def begin_posts(
    session: Session, postings: Sequence[Posting], now: dt.datetime, policy: SendingPolicy
) -> list[Result | None]:
    """Mark the rows "about to post", of those that may still go out, and go out now; None: post it.

    The mark is committed before the request leaves, so a crash can't hide a message that SendGrid may have taken.
    The reminder policy is asked here, under the incident's lock: two senders can't both find that nothing was said.
    """
    incidents, rows = _locked(session, [posting.leased for posting in postings])
    customers = {row.stripe_customer_id for row in rows.values() if row.stripe_customer_id}
    known = _Known(
        incidents=incidents,
        rows=rows,
        deleted=queries.deleted_customers(session, customers),
        suppressed=queries.suppressed_addresses(
            session, {address_hash(posting.mail.to) for posting in postings}
        ),
        told=queries.failures_told(
            session, {one.invoice_id for one in incidents.values() if one.last_mailed_at}, rows
        ),
    )
    return [_begin(posting, known, now, policy) for posting in postings]


def _locked(
    session: Session, leases: Sequence[Leased]
) -> tuple[dict[str, Incident], dict[str, Notification]]:
    incidents = queries.lock_incidents(
        session, {leased.invoice_id for leased in leases if leased.invoice_id}
    )
    return incidents, queries.lock_rows(session, {leased.notification_id for leased in leases})


def _begin(
    posting: Posting, known: _Known, now: dt.datetime, policy: SendingPolicy
) -> Result | None:
    leased, mail = posting.leased, posting.mail
    row = known.rows.get(leased.notification_id)
    if row is None or not leased.holds(row):
        return Result(leased.kind, "lease_lost")
    if row.unconfirmed_posts >= policy.unknown_posts:
        finish(row, Status.FAILED, Reason.UNCONFIRMED_TWICE, now)
        return Result(leased.kind, "unconfirmed", Reason.UNCONFIRMED_TWICE)
    incident = known.incidents.get(leased.invoice_id or "")
    reason: str | None = look_again(leased.kind, incident, None)
    if row.stripe_customer_id in known.deleted:
        reason = Reason.CUSTOMER_DELETED
    reason = reason or known.suppressed.get(address_hash(mail.to))
    failure, told = _failure(posting, row), known.told.get(leased.invoice_id or "", [])
    if reason is None and not leased.by_hand and row.unconfirmed_since is None:
        verdict = _verdict(posting, incident, failure, told, now)
        if isinstance(verdict, Hold):
            row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
            row.due_at = row.ready_at = now + verdict.wait
            row.reason = verdict.reason.value
            return Result(leased.kind, "held", verdict.reason)
        if isinstance(verdict, Suppress):
            reason = verdict.reason
    if reason is not None:
        finish(row, Status.SUPPRESSED, reason, now)
        return Result(leased.kind, "suppressed", str(reason))
    row.kind, row.reason = mail.kind.value, None
    row.charge_id, row.payment_method_id = failure.charge_id, failure.payment_method_id
    row.unconfirmed_since = now
    row.unconfirmed_posts += 1
    row.attempts += 1
    row.lease_until = now + policy.lease
    row.due_at = now + policy.grace
    return None


def _failure(posting: Posting, row: Notification) -> Failure:
    """The failure that the email tells of: the row's, by the charge that Stripe names now."""
    known, invoice = queries.failure_of(row), posting.invoice
    if invoice is None or invoice.charge_id is None:
        return known
    return replace(known, charge_id=invoice.charge_id, payment_method_id=invoice.payment_method_id)


def _verdict(
    posting: Posting,
    incident: Incident | None,
    failure: Failure,
    told: Sequence[Failure],
    now: dt.datetime,
) -> Go | Hold | Suppress:
    leased, business = posting.leased, posting.contact.business
    if leased.kind in DUNNING and (reason := is_told(failure, told)) is not None:
        return Suppress(reason)
    return when(
        leased.kind,
        incident,
        planned=posting.planned,
        story_now=story_time(leased.occurred_at, leased.heard_at, now),
        now=now,
        waited=now - leased.heard_at,
        zone=zone(posting.contact.timezone or business.timezone),
        policy=business.reminders,
        readable=posting.invoice is not None,
        answer=is_replacement(failure, told),
    )


def record_answers(
    session: Session,
    answers: Sequence[Answered],
    now: dt.datetime,
    chance: Callable[[], float],
    policy: SendingPolicy,
) -> list[Result]:
    """Write down what SendGrid answered to each email, or that it did not."""
    incidents, rows = _locked(session, [answer.leased for answer in answers])
    told: dict[str, Incident] = {}
    results = []
    for answer in answers:
        leased, kind, outcome = answer.leased, answer.kind, answer.outcome
        row = rows.get(leased.notification_id)
        if row is None:
            results.append(Result(kind, "row_gone"))
        elif isinstance(outcome, Accepted):
            # A fact, whoever holds the lease by now.
            incident = incidents.get(leased.invoice_id or "")
            mailed = mark_sent(session, row, incident, now, outcome.message_id)
            if mailed is not None:
                incidents[mailed.invoice_id] = told[mailed.invoice_id] = mailed
            results.append(Result(kind, "sent"))
        elif not leased.holds(row):
            results.append(Result(kind, "lease_lost"))
        else:
            results.append(_record_failure(row, kind, outcome, now, chance(), policy))
    queries.store_incidents(session, told.values())
    return results


def mark_sent(
    session: Session,
    row: Notification,
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
    if incident is None or Kind(row.kind) not in DUNNING:
        return None
    told_at = story_time(row.occurred_at or row.created_at, row.created_at, row.sent_at)
    mailed = replace(incident, last_mailed_at=max(told_at, incident.last_mailed_at or told_at))
    announce_recovery(session, mailed, row.correlation_id, at)
    return mailed


def _record_failure(
    row: Notification,
    kind: Kind,
    outcome: Outcome,
    now: dt.datetime,
    chance: float,
    policy: SendingPolicy,
) -> Result:
    if isinstance(outcome, MaybeSent):
        row.status, row.lease_until, row.last_error = Status.PENDING.value, None, outcome.why
        row.due_at = now + policy.grace
        return Result(kind, "maybe_sent", outcome.why)
    # Certainly not taken: this post is known. An earlier one of unknown fate stays unknown.
    row.unconfirmed_posts -= 1
    if row.unconfirmed_posts == 0:
        row.unconfirmed_since = None
    if isinstance(outcome, Refused):
        finish(row, Status.FAILED, outcome.why, now)
        return Result(kind, "refused", outcome.why)
    if isinstance(outcome, RateLimited):
        until = min(outcome.until, now + policy.longest_rate_limit)
        # Spread by up to five seconds: the whole backlog must not come back in one instant.
        spread = dt.timedelta(seconds=5 * chance)
        retry(row, Again(due_at=max(until, now) + spread), "429: rate limited")
        return Result(kind, "rate_limited", pause_until=until)
    if isinstance(outcome, Unavailable):
        return retry_or_give_up(row, kind, "unavailable", outcome.why, now, chance, policy)
    raise TypeError(f"not an outcome of sending: {outcome!r}")


def retry_or_give_up(
    row: Notification,
    kind: Kind,
    word: str,
    why: str,
    now: dt.datetime,
    chance: float,
    policy: SendingPolicy,
) -> Result:
    """The email certainly did not go out: `row` is tried again later, until its day is over."""
    # What the reminder policy held has a day of its own from then on.
    ready_at = max(row.created_at, row.ready_at or row.created_at)
    follows = after_unavailable(ready_at, row.attempts, now, chance, policy)
    if isinstance(follows, Stop):
        finish(row, follows.status, follows.reason, now)
        row.last_error = why
        return Result(kind, "gave_up", why)
    retry(row, follows, why)
    return Result(kind, word, why)


def retry(row: Notification, again: Again, why: str) -> None:
    """Give the row back, due at a later time."""
    row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
    row.due_at, row.last_error = again.due_at, why


def finish(row: Notification, status: Status, reason: str, now: dt.datetime) -> None:
    """No email comes of the row, for this reason."""
    row.status, row.reason, row.lease_until = status.value, str(reason), None
    row.finished_at = now
