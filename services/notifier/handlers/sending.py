"""Sending one notification: look again, render, mark "about to post", post, record what came of it.

The steps that touch the database are short transactions of their own; no other system is called inside one. At
each point where the process can die the row says what to do next:

====================================  ================================================================
died …                                what happens next
====================================  ================================================================
after `lease`, before `begin_post`    the lease ends, another sender takes the row; nothing was sent
after `begin_post`, before the post   "maybe sent": after the grace period it is sent, once more
after the post, before `record`       the same, unless SendGrid's webhook has confirmed it by then
after `record`                        nothing is left to do
====================================  ================================================================
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from services.notifier import queries
from services.notifier.domain import (
    DUNNING,
    TO_BUSINESS,
    Accepted,
    Again,
    Go,
    Hold,
    Incident,
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
    after_unknown_customer,
    look_again,
    schedule,
    story_time,
    when,
)
from services.notifier.formats import zone
from services.notifier.handlers.composing import compose
from services.notifier.handlers.events import announce_recovery
from services.notifier.models import Notification
from services.notifier.ports import (
    Contact,
    Contacts,
    Invoices,
    Mail,
    Mailer,
    PortalUnavailable,
    RequestClosed,
    UnknownCustomer,
)
from services.notifier.queries import Leased
from services.notifier.rendering import Renderer
from shared.database import DatabaseUnavailable, Transactions

T = TypeVar("T")

RECORD_PAUSES: Final = (0.2, 1.0, 3.0, 8.0)
"""Seconds between the tries to write down an answer: losing it would send the email twice."""

ALARMING: Final = frozenset({"refused", "gave_up", "unconfirmed", "stumbled"})
"""Outcomes that a person should look at."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Everything that sending needs: the database, the three other systems, and the clock and dice of the day."""

    db: Transactions
    contacts: Contacts
    invoices: Invoices
    mailer: Mailer
    renderer: Renderer
    now: Callable[[], dt.datetime]
    chance: Callable[[], float]
    """Uniform in [0, 1)."""
    pause: Callable[[float], object]
    """Wait so many seconds."""
    policy: SendingPolicy = field(default_factory=SendingPolicy)


@dataclass(frozen=True)
class Result:
    """What came of one try, for log and metrics. `outcome` is a word of a small set."""

    kind: Kind
    outcome: str
    why: str = ""
    pause_until: dt.datetime | None = None
    """Set when SendGrid asks everybody to wait."""


def lease(desk: Desk, limit: int) -> list[Leased]:
    """Take up to `limit` notifications that are due."""
    with desk.db.transaction() as session:
        return queries.lease_due(session, desk.now(), limit, desk.policy)


def send_one(desk: Desk, leased: Leased) -> Result:
    """Send one leased notification, or record why not. Other systems are called outside any transaction."""
    report = desk.invoices.report(leased.invoice_id) if leased.invoice_id else None
    stale = look_again(leased.kind, leased.incident, report.now if report else None)
    if stale is not None:
        return _suppress(desk, leased, stale)
    try:
        contact = desk.contacts.contact(
            stripe_customer_id=None if leased.customer_id else leased.stripe_customer_id,
            customer_id=leased.customer_id,
        )
        links = None
        if leased.kind is Kind.CANCELLATION_REQUESTED:
            links = desk.contacts.cancellation_links(str(leased.context.get("request_id", "")))
    except UnknownCustomer:
        return _unknown_customer(desk, leased)
    except PortalUnavailable as error:
        return _not_now(desk, leased, "portal_unavailable", str(error))
    except RequestClosed:
        return _suppress(desk, leased, Reason.REQUEST_CLOSED)
    to_business = leased.kind in TO_BUSINESS
    address = contact.business.email if to_business else contact.email
    if not address:
        return _suppress(
            desk, leased, Reason.NO_BUSINESS_ADDRESS if to_business else Reason.NO_ADDRESS
        )
    planned = schedule(
        leased.incident,
        report.now if report else None,
        desk.now() - leased.heard_at,
        contact.business.reminders,
    )
    mail = compose(desk.renderer, leased, contact, report, links, planned, desk.now())
    refusal = _transact(
        desk,
        lambda session: begin_post(
            session, desk, leased, mail, contact, planned, readable=report is not None
        ),
    )
    if refusal is not None:
        return refusal
    outcome = desk.mailer.send(mail)
    return _patiently(desk, lambda: record(desk, leased, mail.kind, outcome))


def stumbled(desk: Desk, leased: Leased, why: str) -> Result:
    """Something failed that nobody foresaw: try again later, not in a tight circle and not for ever."""
    return _patiently(
        desk, lambda: _not_now(desk, leased, "stumbled", f"failed inside the notifier: {why}")
    )


def _patiently(desk: Desk, write: Callable[[], T]) -> T:
    """Write something down although the database is away for some seconds."""
    for seconds in RECORD_PAUSES:
        try:
            return write()
        except DatabaseUnavailable:
            desk.pause(seconds)
    return write()


def begin_post(
    session: Session,
    desk: Desk,
    leased: Leased,
    mail: Mail,
    contact: Contact,
    planned: Schedule,
    *,
    readable: bool,
) -> Result | None:
    """Mark the row "about to post", if it may still go out, and go out now; None: post it.

    The mark is written before the request leaves, so a crash can't hide a message that SendGrid may have taken.
    The reminder policy is asked here, under the incident's lock: two senders can't both find that nothing was said.
    """
    now = desk.now()
    incident = queries.lock_known_incident(session, leased.invoice_id)
    row = queries.lock_leased(session, leased)
    if row is None:
        return Result(leased.kind, "lease_lost")
    if row.unconfirmed_posts >= desk.policy.unknown_posts:
        _finish(row, Status.FAILED, Reason.UNCONFIRMED_TWICE, now)
        return Result(leased.kind, "unconfirmed", Reason.UNCONFIRMED_TWICE)
    reason: str | None = look_again(leased.kind, incident, None)
    if row.stripe_customer_id and queries.customer_deleted(session, row.stripe_customer_id):
        reason = Reason.CUSTOMER_DELETED
    reason = reason or queries.address_suppressed(session, address_hash(mail.to))
    verdict: Go | Hold | Suppress = Go()
    if reason is None and not leased.by_hand and row.unconfirmed_since is None:
        verdict = when(
            leased.kind,
            incident,
            planned=planned,
            story_now=story_time(leased.occurred_at, leased.heard_at, now),
            now=now,
            waited=now - leased.heard_at,
            zone=zone(contact.timezone or contact.business.timezone),
            policy=contact.business.reminders,
            readable=readable,
        )
    if isinstance(verdict, Hold):
        row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
        row.due_at = row.ready_at = now + verdict.wait
        row.reason = verdict.reason.value
        return Result(leased.kind, "held", verdict.reason)
    if isinstance(verdict, Suppress):
        reason = verdict.reason
    if reason is not None:
        _finish(row, Status.SUPPRESSED, reason, now)
        return Result(leased.kind, "suppressed", str(reason))
    row.kind, row.reason = mail.kind.value, None
    row.unconfirmed_since = now
    row.unconfirmed_posts += 1
    row.attempts += 1
    row.lease_until = now + desk.policy.lease
    row.due_at = now + desk.policy.grace
    return None


def record(desk: Desk, leased: Leased, kind: Kind, outcome: Outcome) -> Result:
    """Write down what SendGrid answered, or that it did not."""

    def body(session: Session) -> Result:
        now = desk.now()
        incident = queries.lock_known_incident(session, leased.invoice_id)
        row = queries.by_id(session, leased.notification_id, lock=True)
        if row is None:
            return Result(kind, "row_gone")
        if isinstance(outcome, Accepted):
            # A fact, whoever holds the lease by now.
            mark_sent(session, row, incident, now, outcome.message_id)
            return Result(kind, "sent")
        if row.lease_token != leased.lease_token or row.status != Status.SENDING:
            return Result(kind, "lease_lost")
        return _record_failure(desk, row, kind, outcome, now)

    return _transact(desk, body)


def mark_sent(
    session: Session,
    row: Notification,
    incident: Incident | None,
    at: dt.datetime,
    message_id: str | None,
) -> None:
    """The provider has the message. `row` and `incident` are locked.

    When the invoice was paid while the email was on its way, the good news is written down here.
    """
    if row.sent_at is None:
        row.sent_at = at
    if row.status not in (Status.DELIVERED, Status.BOUNCED):
        row.status, row.reason = Status.SENT.value, None
    row.provider_message_id = row.provider_message_id or message_id
    row.unconfirmed_since, row.lease_until, row.last_error = None, None, None
    row.finished_at = None
    row.unconfirmed_posts = 0
    session.flush()
    if incident is None or Kind(row.kind) not in DUNNING:
        return
    told_at = story_time(row.occurred_at or row.created_at, row.created_at, row.sent_at)
    mailed = replace(incident, last_mailed_at=max(told_at, incident.last_mailed_at or told_at))
    queries.store_incident(session, mailed)
    announce_recovery(session, mailed, row.correlation_id, at)


def _record_failure(
    desk: Desk, row: Notification, kind: Kind, outcome: Outcome, now: dt.datetime
) -> Result:
    if isinstance(outcome, MaybeSent):
        row.status, row.lease_until, row.last_error = Status.PENDING.value, None, outcome.why
        row.due_at = now + desk.policy.grace
        return Result(kind, "maybe_sent", outcome.why)
    # Certainly not taken: this post is known. An earlier one of unknown fate stays unknown.
    row.unconfirmed_posts -= 1
    if row.unconfirmed_posts == 0:
        row.unconfirmed_since = None
    if isinstance(outcome, Refused):
        _finish(row, Status.FAILED, outcome.why, now)
        return Result(kind, "refused", outcome.why)
    if isinstance(outcome, RateLimited):
        until = min(outcome.until, now + desk.policy.longest_rate_limit)
        # Spread by up to five seconds: the whole backlog must not come back in one instant.
        spread = dt.timedelta(seconds=5 * desk.chance())
        _retry(row, Again(due_at=max(until, now) + spread), "429: rate limited")
        return Result(kind, "rate_limited", pause_until=until)
    if isinstance(outcome, Unavailable):
        return _retry_or_give_up(desk, row, kind, "unavailable", outcome.why, now)
    raise TypeError(f"not an outcome of sending: {outcome!r}")


def _not_now(desk: Desk, leased: Leased, word: str, why: str) -> Result:
    def body(session: Session) -> Result:
        row = queries.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        if row.unconfirmed_since is not None and row.due_at > desk.now() + desk.policy.lease:
            # It was about to be posted, or was: the grace period decides, not the backoff.
            row.last_error = why
            return Result(leased.kind, word, why)
        row.attempts += 1
        return _retry_or_give_up(desk, row, leased.kind, word, why, desk.now())

    return _transact(desk, body)


def _unknown_customer(desk: Desk, leased: Leased) -> Result:
    def body(session: Session) -> Result:
        row = queries.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        row.lookups += 1
        follows = after_unknown_customer(row.lookups, desk.now(), desk.policy)
        if isinstance(follows, Stop):
            _finish(row, follows.status, follows.reason, desk.now())
            return Result(leased.kind, "suppressed", follows.reason)
        _retry(row, follows, "the portal does not know the customer yet")
        return Result(leased.kind, "unknown_customer")

    return _transact(desk, body)


def _suppress(desk: Desk, leased: Leased, reason: Reason) -> Result:
    def body(session: Session) -> Result:
        row = queries.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        _finish(row, Status.SUPPRESSED, reason, desk.now())
        return Result(leased.kind, "suppressed", reason)

    return _transact(desk, body)


def _retry_or_give_up(
    desk: Desk, row: Notification, kind: Kind, word: str, why: str, now: dt.datetime
) -> Result:
    # What the reminder policy held has a day of its own from then on.
    ready_at = max(row.created_at, row.ready_at or row.created_at)
    follows = after_unavailable(ready_at, row.attempts, now, desk.chance(), desk.policy)
    if isinstance(follows, Stop):
        _finish(row, follows.status, follows.reason, now)
        row.last_error = why
        return Result(kind, "gave_up", why)
    _retry(row, follows, why)
    return Result(kind, word, why)


def _retry(row: Notification, again: Again, why: str) -> None:
    row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
    row.due_at, row.last_error = again.due_at, why


def _finish(row: Notification, status: Status, reason: str, now: dt.datetime) -> None:
    row.status, row.reason, row.lease_until = status.value, str(reason), None
    row.finished_at = now


def _transact(desk: Desk, body: Callable[[Session], T]) -> T:
    with desk.db.transaction() as session:
        return body(session)
