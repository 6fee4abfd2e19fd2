"""What is written down around the post of an email: "about to post" before it, the answer after it.

Each function does its work for many emails at once, inside the transaction that its caller opened and commits. Locks are taken in the
order of `queries`: incidents by id, then notifications by id, then welcomes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHash
from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import ABOUT_DEBT, DUNNING, PLANS, Kind
from services.notifier.domain.notification_rules import (
    Failure,
    InvoiceNow,
    Suppress,
    how_it_ended,
    is_replacement,
    is_told,
    recheck,
)
from services.notifier.domain.reminders import Go, Hold, Timing, effective_time, gather_until, when
from services.notifier.domain.sending import GRACE, LEASE, UNKNOWN_POSTS, Accepted, Outcome
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers import subscriptions, unreachable, welcomes
from services.notifier.handlers.accepted_mails import (
    as_mailed,
    mark_others_sent,
    mark_sent,
    with_under_way,
)
from services.notifier.handlers.results import Result, finish, record_failure
from services.notifier.models import Notification, Welcome
from services.notifier.ports import Contact, Mail
from services.notifier.queries import (
    business_news,
    leases,
    notifications,
    observed,
    suppressions,
    waiting,
)
from services.notifier.queries import incidents as incident_queries
from services.notifier.queries.leases import Leased
from services.notifier.queries.notifications import Row
from shared.contracts.accounts import StripeId, look_up
from shared.contracts.invoices import Retry
from shared.l10n.dates import zone

NOT_SENT: Final = frozenset({Status.SUPPRESSED.value, Status.OBSERVED.value})
"""Outcomes of emails that will not go out."""
HID_OTHERS: Final = (Reason.UNDER_WAY, Reason.SAME_ATTEMPT)
"""Why failures became no email of their own, while another one about their invoice was to go out."""


class SendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A finished email that wants to go out, and what is needed to say whether it may."""

    leased: Leased
    mail: Mail
    address: AddressHash
    """Whom the mail goes to, as bounced addresses are remembered."""
    contact: Contact
    planned: Retry
    observed: Reason | None = None
    """Why it does not go out though nothing else speaks against it: its business observes, or has drawn its line since."""
    invoice: InvoiceNow | None
    """The invoice as it was just read; None where it could not be."""
    others: Mapping[StripeId, InvoiceNow | None] = msgspec.field(default_factory=dict)
    """Other invoices that the email tells of too, as they were just read."""

    @property
    def invoices(self) -> set[StripeId]:
        """All invoices that the email tells of."""
        own = self.leased.invoice
        return {*self.others, own} if own is not None else set(self.others)


@dataclass(frozen=True)
class Answered:
    """What SendGrid answered to an email, or that it did not."""

    leased: Leased
    kind: Kind
    outcome: Outcome


@dataclass(frozen=True)
class _Known:
    """What the database says about the emails of a batch, read under its locks."""

    incidents: dict[StripeId, Incident]
    rows: dict[str, Row]
    deleted: set[StripeId]
    suppressed: dict[AddressHash, str]
    told: dict[StripeId, list[Failure]]
    """The failures of which customers were told, by invoice."""
    observed: dict[StripeId, list[Failure]]
    """The failures of which customers would have been told, by invoice."""
    ends_told: set[StripeId]
    """The invoices that another email to their business names as unpaid for good."""
    welcomed: dict[str, Welcome]
    """Who was asked to be welcomed under several ids, by id."""

    def note_begun(self, leased: Leased, now: dt.datetime) -> None:
        """The customer is told of this failure by an email that is posted now: others of the batch find that."""
        if leased.invoice is None or leased.invoice not in self.incidents:
            return
        failure = notifications.failure_of(self.rows[leased.notification_id])
        self.told.setdefault(leased.invoice, []).append(failure)
        self.incidents[leased.invoice] = as_mailed(
            self.incidents[leased.invoice],
            leased.occurred_at,
            leased.heard_at,
            now,
            asked=not leased.by_hand,
        )


def begin_posts(
    session: Session, postings: Sequence[SendRequest], now: dt.datetime
) -> list[Result | None]:
    """Mark the rows "about to post", of those that may still go out, and go out now; None: post it.

    The mark is committed before the request leaves, so a crash can't hide a message that SendGrid may have taken.
    The reminder policy is asked here, under the incident's lock: two senders can't both find that nothing was said.
    """
    asking = [one.leased for one in postings if one.leased.kind in ABOUT_DEBT]
    incidents, rows = notifications.lock_to_send(
        session,
        {one.leased.notification_id for one in postings},
        {one.leased.invoice for one in postings if one.leased.invoice},
        {one.stripe_customer for one in asking if one.stripe_customer},
    )
    customers = {row.stripe_customer.name for row in rows.values() if row.stripe_customer}
    told = notifications.told_of(
        session, {one.name for one in incidents.values() if one.last_mailed_at or one.asked_at}
    )
    deleted, suppressed = suppressions.written_no_more(
        session, customers, {posting.address for posting in postings}
    )
    known = _Known(
        incidents=with_under_way(incidents, told),
        rows=rows,
        deleted=deleted,
        suppressed=suppressed,
        told={name: [*map(notifications.failure_of, mails)] for name, mails in told.items()},
        observed=observed.failures(
            session,
            {one.leased.invoice for one in postings if one.observed and one.leased.invoice},
            rows,
        ),
        ends_told=business_news.ends_told(
            session,
            {
                one.stripe_customer
                for one in asking
                if one.kind is Kind.COLLECTION_ENDED and one.stripe_customer
            },
            rows,
        ),
        welcomed=welcomes.lock_told(
            session,
            [(one.leased, one.contact) for one in postings if one.leased.kind is Kind.WELCOME],
        ),
    )
    results = []
    begun: set[StripeId] = set()
    for posting in postings:
        result = _begin(session, posting, known, now)
        results.append(result)
        leased = posting.leased
        if result is None and leased.kind in DUNNING:
            known.note_begun(leased, now)
            if leased.by_hand:
                continue
            begun |= posting.invoices & known.incidents.keys()
            for invoice in posting.others.keys() & known.incidents.keys():
                known.incidents[invoice] = known.incidents[invoice].with_changes(asked_at=now)
            if leased.gathers:
                _name_charges(session, posting)
        elif result is None and leased.kind is Kind.COLLECTION_ENDED:
            known.ends_told.update(posting.others)
        elif result is not None and result.outcome in NOT_SENT and leased.gathers:
            leases.release_gathered(session, leased.notification_id, now)
    notifications.store_sent(session, rows.values())
    incident_queries.note_asked(session, begun, now)
    for posting, result in zip(postings, results, strict=True):
        if posting.observed is Reason.BEFORE_THE_LINE and result and result.outcome in NOT_SENT:
            _tell_what_it_hid(session, posting, now)
    return results


def _tell_what_it_hid(session: Session, posting: SendRequest, now: dt.datetime) -> None:
    """An email of before the line does not go out: what has failed since, and became none of its own while this one waited, is due."""
    invoice, since = posting.leased.invoice, posting.contact.business.live_since
    if posting.leased.kind in DUNNING and invoice is not None:
        waiting.untold_failures_due(session, [invoice], HID_OTHERS, now, since)


def _locked(
    session: Session, held: Sequence[Leased]
) -> tuple[dict[StripeId, Incident], dict[str, Row]]:
    """Incidents and rows of these emails; the incidents of what is told in them are locked too."""
    invoices = {leased.invoice for leased in held if leased.invoice}
    gathering = {one.notification_id for one in held if one.gathers}
    if gathering:
        others = leases.told_in(session, gathering, lock=False)
        invoices |= {row.invoice for row in others if row.invoice}
    return notifications.lock_to_send(
        session, {leased.notification_id for leased in held}, invoices
    )


def _begin(
    session: Session, posting: SendRequest, known: _Known, now: dt.datetime
) -> Result | None:
    leased, mail = posting.leased, posting.mail
    row = known.rows.get(leased.notification_id)
    if row is None or not leased.holds(row):
        return Result(leased.kind, "lease_lost")
    if row.unconfirmed_posts >= UNKNOWN_POSTS:
        finish(row, Status.FAILED, Reason.UNCONFIRMED_TWICE, now)
        return Result(leased.kind, "unconfirmed", Reason.UNCONFIRMED_TWICE)
    incident = look_up(known.incidents, leased.invoice)
    reason: str | None = recheck(leased.kind, incident, None)
    if row.stripe_customer is not None and row.stripe_customer.name in known.deleted:
        reason = Reason.CUSTOMER_DELETED
    reason = reason or known.suppressed.get(posting.address)
    failure = _failure(posting, row)
    # Once it was begun it is posted again whatever the policy says; but a welcome rings no telephone at night. What a person has sent again
    # no policy holds; but that collecting has ended, or that a subscription will, is told only while it is so.
    first = row.unconfirmed_since is None
    free = leased.by_hand and leased.kind is not Kind.COLLECTION_ENDED and leased.kind not in PLANS
    if reason is None and not free and (first or leased.kind is Kind.WELCOME):
        verdict = _verdict(session, posting, known, row, now)
        if isinstance(verdict, Go) and leased.kind in DUNNING and posting.observed is None:
            verdict = _alone_or_together(posting, known.incidents, now)
        if isinstance(verdict, Hold):
            row.status, row.lease_until, row.lease_token = Status.PENDING.value, None, None
            row.due_at = row.ready_at = now + verdict.wait
            row.reason = verdict.reason.value
            return Result(leased.kind, "held", verdict.reason)
        if isinstance(verdict, Suppress):
            reason = verdict.reason
    if reason is not None:
        return _suppress(session, posting, row, reason, now)
    row.kind, row.reason = mail.kind.value, None
    row.charge_id, row.payment_method_id = failure.charge_id, failure.payment_method_id
    if posting.observed is not None:
        return _observe(posting, known, row, failure, now)
    _mark_begun(posting, row, incident, now)
    return None


def _suppress(
    session: Session, posting: SendRequest, row: Row, reason: str, now: dt.datetime
) -> Result:
    leased = posting.leased
    finish(row, Status.SUPPRESSED, reason, now)
    if reason == Reason.ADDRESS_BOUNCED and leased.kind in DUNNING:
        unreachable.tell_business(session, row, leased.customer_id, posting.address, now)
    return Result(leased.kind, "suppressed", str(reason))


def _mark_begun(
    posting: SendRequest,
    row: Row,
    incident: Incident | None,
    now: dt.datetime,
) -> None:
    leased = posting.leased
    if leased.kind is Kind.COLLECTION_ENDED:
        ended = how_it_ended(incident, posting.invoice, now)
        row.context = {
            business_news.INVOICES: [one.id for one in sorted(posting.others)],
            business_news.ENDING: ended,
        }
    row.unconfirmed_since = now
    row.unconfirmed_posts += 1
    row.attempts += 1
    row.lease_until = now + LEASE
    row.due_at = now + GRACE


def _observe(
    posting: SendRequest, known: _Known, row: Row, failure: Failure, now: dt.datetime
) -> Result:
    """Write down what would have gone out now. Nobody is told by it; but what a second event tells of a failure that was observed would not
    have gone either."""
    leased, status, reason = posting.leased, Status.OBSERVED, posting.observed
    if leased.kind in DUNNING and leased.invoice is not None and not leased.by_hand:
        before = known.observed.setdefault(leased.invoice, [])
        if (same := is_told(failure, before)) is not None:
            status, reason = Status.SUPPRESSED, same
        else:
            before.append(failure)
    row.business_id = posting.contact.business.business_id or None
    finish(row, status, str(reason), now)
    return Result(leased.kind, status.value, str(reason))


def _name_charges(session: Session, posting: SendRequest) -> None:
    """Remember of which charges the others are told."""
    for row in leases.told_in(session, [posting.leased.notification_id]):
        invoice = look_up(posting.others, row.invoice)
        if invoice is not None and invoice.charge_id is not None:
            row.charge_id, row.payment_method_id = invoice.charge_id, invoice.payment_method_id


def _alone_or_together(
    posting: SendRequest, incidents: Mapping[StripeId, Incident], now: dt.datetime
) -> Go | Hold:
    """The customer may have had an email about another invoice just now: then this one waits for what else fails."""
    leased, told = posting.leased, posting.invoices
    # The whole name of a customer costs more to compare than the id.
    others = (
        one
        for one in incidents.values()
        if one.stripe_customer_id == leased.stripe_customer_id
        and one.customer == leased.stripe_customer
        and one.name not in told
    )
    until = gather_until(others, now)
    return Go() if until is None else Hold(until - now, Reason.WAITS_FOR_OTHERS)


def _failure(posting: SendRequest, row: Notification | Row) -> Failure:
    """The failure that the email tells of: the row's, by the charge that Stripe names now."""
    known, invoice = notifications.failure_of(row), posting.invoice
    if invoice is None or invoice.charge_id is None:
        return known
    return replace(known, charge_id=invoice.charge_id, payment_method_id=invoice.payment_method_id)


def _verdict(
    session: Session, posting: SendRequest, known: _Known, row: Row, now: dt.datetime
) -> Go | Hold | Suppress:
    leased, business = posting.leased, posting.contact.business
    incident = look_up(known.incidents, leased.invoice)
    if leased.kind is Kind.COLLECTION_ENDED:
        return _end_verdict(posting, incident, known, now)
    if row.unconfirmed_since is None and (leased.kind in PLANS or leased.kind is Kind.WELCOME):
        notifications.store_sent(session, known.rows.values())  # what this batch tells
        if leased.kind is Kind.WELCOME:
            no_news = welcomes.told_before(session, leased, posting.contact, known.welcomed, now)
        else:
            no_news = subscriptions.no_news(session, row)
        if no_news is not None:
            return Suppress(no_news)
    failure, told = _failure(posting, row), look_up(known.told, leased.invoice) or []
    if leased.kind in DUNNING and (reason := is_told(failure, told)) is not None:
        return Suppress(reason)
    return when(
        leased.kind,
        incident,
        Timing(
            planned=posting.planned,
            now=now,
            story_now=effective_time(leased.occurred_at, leased.heard_at, now),
            waited=now - leased.heard_at,
            zone=zone(posting.contact.timezone or business.timezone),
            policy=business.reminders,
            readable=posting.invoice is not None,
            answer=is_replacement(failure, told),
        ),
    )


def _end_verdict(
    posting: SendRequest, incident: Incident | None, known: _Known, now: dt.datetime
) -> Go | Hold | Suppress:
    """The business hears how collecting ended when Stripe itself says that it has: what was heard may lack the half of it."""
    if posting.leased.invoice in known.ends_told and not posting.leased.by_hand:
        return Suppress(Reason.TOLD_TOGETHER)
    if posting.invoice is None or posting.invoice.heard:
        return Hold(dt.timedelta(hours=1), Reason.WAITS_FOR_END)
    if how_it_ended(incident, posting.invoice, now) is None:
        return Hold(dt.timedelta(days=1), Reason.WAITS_FOR_END)
    return Go()


def record_answers(
    session: Session,
    answers: Sequence[Answered],
    now: dt.datetime,
    jitter: Callable[[], float],
) -> list[Result]:
    """Write down what SendGrid answered to each email, or that it did not."""
    incidents, rows = _locked(session, [answer.leased for answer in answers])
    told: dict[StripeId, Incident] = {}
    untold: set[StripeId] = set()
    results = []
    for answer in answers:
        leased, kind, outcome = answer.leased, answer.kind, answer.outcome
        row = rows.get(leased.notification_id)
        if row is None:
            results.append(Result(kind, "row_gone"))
        elif isinstance(outcome, Accepted):
            # A fact, whoever holds the lease by now.
            incident = look_up(incidents, leased.invoice)
            mailed = mark_sent(session, row, incident, now, outcome.message_id)
            if mailed is not None:
                incidents[mailed.name] = told[mailed.name] = mailed
            for other in mark_others_sent(session, row, now):
                incidents[other.name] = told[other.name] = other
            results.append(Result(kind, "sent"))
        elif not leased.holds(row):
            results.append(Result(kind, "lease_lost"))
        else:
            results.append(record_failure(row, kind, outcome, now, jitter()))
            incident = look_up(incidents, leased.invoice)
            if row.unconfirmed_since is None and incident is not None:
                # It certainly did not reach anybody, so what fails next need not wait for others.
                untold.add(incident.name)
    notifications.store_sent(session, rows.values())
    incident_queries.note_mailed(session, told.values())
    incident_queries.note_asked(session, untold, None)
    return results
