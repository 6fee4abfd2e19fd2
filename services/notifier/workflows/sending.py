"""Sending one notification: look again, render, mark "about to post", post, record what came of it.

The steps that touch the database are short transactions; no other system is called inside one. Emails that reach the
same step at the same moment share a transaction (`handlers/delivery.py`), and each goes on when it is committed. At
each point where the process can die the row says what to do next:

================================  ================================================================
died …                            what happens next
================================  ================================================================
after `lease`, before `begin`     the lease ends, another sender takes the row; nothing was sent
after `begin`, before the post    "maybe sent": after the grace period it is sent, once more
after the post, before `record`   the same, unless SendGrid's webhook has confirmed it by then
after `record`                    nothing is left to do
================================  ================================================================
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import KINDS, TO_BUSINESS, Action, Kind
from services.notifier.domain.notification_rules import STOPPED_BECAUSE, how_it_ended, recheck
from services.notifier.domain.observing import happened_at, observed_because
from services.notifier.domain.reminders import schedule
from services.notifier.domain.sending import LEASE, Again, Stop, after_unknown_customer
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.domain.welcomes import AFTER_ASKING
from services.notifier.emails.rendering import Renderer
from services.notifier.handlers.compose import OpenInvoice, compose
from services.notifier.handlers.delivery import Answered, SendRequest
from services.notifier.handlers.results import Result, finish, retry, retry_or_give_up
from services.notifier.handlers.subscriptions import note_ends
from services.notifier.ports import (
    Business,
    CancellationLinks,
    Contact,
    Contacts,
    Invoices,
    Mailer,
    PortalUnavailable,
    RequestClosed,
    UnknownCustomer,
)
from services.notifier.queries import business_news, leases, welcomes
from services.notifier.queries import incidents as incident_queries
from services.notifier.queries.leases import Beside, Leased
from shared.concurrency import RunConcurrently
from shared.contracts.invoices import owed
from shared.database import DatabaseUnavailable, Transactions

T = TypeVar("T")

RECORD_PAUSES: Final = (0.2, 1.0, 3.0, 8.0)
"""Seconds between the tries to write down an answer: losing it would send the email twice."""

ALERT_OUTCOMES: Final = frozenset({"refused", "gave_up", "unconfirmed", "stumbled"})
"""Outcomes that a person should look at."""


class SendContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that sending needs: the database, the three other systems, and the clock and the jitter source."""

    db: Transactions
    contacts: Contacts
    invoices: Invoices
    mailer: Mailer
    renderer: Renderer
    hasher: AddressHasher
    begin: Callable[[SendRequest], Result | None]
    """`delivery.begin_posts` for one email, in a transaction that it may share with others."""
    record: Callable[[Answered], Result]
    """`delivery.record_answers` for one answer, in the same way."""
    now: Callable[[], dt.datetime]
    jitter: Callable[[], float]
    """Uniform in [0, 1)."""
    pause: Callable[[float], object]
    """Wait so many seconds."""
    run_concurrently: RunConcurrently
    observes: bool = False
    """Whether the whole installation observes."""


def lease(desk: SendContext, limit: int, beside: Beside | None = None) -> list[Leased]:
    """Take up to `limit` notifications that are due; with `beside`, of some accounts alone."""
    with desk.db.transaction() as session:
        return leases.lease_due(session, desk.now(), limit, beside)


def lease_welcomes(desk: SendContext, limit: int) -> list[Leased]:
    """Take up to `limit` welcomes that are due."""
    with desk.db.transaction() as session:
        return leases.lease_welcomes(session, desk.now(), limit)


def send_one(desk: SendContext, leased: Leased) -> Result:
    """Send one leased notification, or record why not. Other systems are called outside any transaction."""
    reached = _reach(desk, leased)
    if leased.lookups and _is_unknown(reached):
        return _unknown_customer(desk, leased)  # Stripe is asked when there is somebody to write to
    report = desk.invoices.report(leased.invoice) if leased.invoice else None
    fresh = report.now if report else None
    stale = recheck(leased.kind, leased.incident, fresh)
    if stale is not None:
        return _suppress(desk, leased, stale)
    try:
        contact, links = reached()
    except UnknownCustomer:
        return _unknown_customer(desk, leased)
    except PortalUnavailable as error:
        return _not_now(desk, leased, "portal_unavailable", str(error))
    except RequestClosed:
        return _suppress(desk, leased, Reason.REQUEST_CLOSED)
    if (nobody := _nobody_to_write_to(leased, contact)) is not None:
        return _suppress(desk, leased, nobody)
    if (held := _held_after_asking(desk, leased, contact)) is not None:
        return held
    observed = _observed_because(desk, leased, contact.business)
    leased, others = _told_together(desk, leased, contact.business.live_since, observed)
    if others is None:
        return Result(leased.kind, "lease_lost")
    planned = schedule(leased.incident, fresh, desk.now() - leased.heard_at, desk.now())
    mail = compose(desk.renderer, leased, contact, report, links, planned, desk.now(), others)
    refusal = desk.begin(
        SendRequest(
            leased=leased,
            mail=mail,
            address=desk.hasher(mail.to),
            contact=contact,
            planned=planned,
            observed=observed,
            invoice=fresh,
            others={one.incident.name: one.fresh for one in others},
        )
    )
    if refusal is not None:
        return refusal
    outcome = desk.mailer.send(mail)
    return _with_retries(desk, lambda: desk.record(Answered(leased, mail.kind, outcome)))


def _nobody_to_write_to(leased: Leased, contact: Contact) -> Reason | None:
    """Why there is nobody; None: there is."""
    if contact.disconnected and leased.kind is not Kind.FRESH_LINK:
        return Reason.ACCOUNT_DISCONNECTED
    if leased.kind in TO_BUSINESS:
        return None if contact.business.email else Reason.NO_BUSINESS_ADDRESS
    return None if contact.email else Reason.NO_ADDRESS


def _held_after_asking(desk: SendContext, leased: Leased, contact: Contact) -> Result | None:
    """A welcome on the heels of an email that asks for money takes from its weight, and does the business no honour: it comes a day later.
    None: it may go, as may every other email."""
    customer = contact.stripe_customer
    if leased.kind is not Kind.WELCOME or leased.by_hand or customer is None:
        return None

    def body(session: Session) -> Result | None:
        asked = incident_queries.last_asked(session, customer)
        if asked is None or asked + AFTER_ASKING <= desk.now():
            return None
        row = leases.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        if row.unconfirmed_since is not None:  # it may have gone
            return None
        row.status, row.reason = Status.PENDING.value, Reason.WAITS_AFTER_FAILURE.value
        row.lease_until = row.lease_token = None
        row.due_at = row.ready_at = asked + AFTER_ASKING
        return Result(leased.kind, "held", Reason.WAITS_AFTER_FAILURE)

    return _transact(desk, body)


def _observed_because(desk: SendContext, leased: Leased, business: Business) -> Reason | None:
    return observed_because(
        leased.kind,
        observes=desk.observes or business.observed,
        live_since=business.live_since,
        happened=happened_at(leased.occurred_at, leased.heard_at, leased.kind),
        wanted_at=leased.wanted_at,
    )


def _told_together(
    desk: SendContext, leased: Leased, line: dt.datetime | None, observed: Reason | None
) -> tuple[Leased, list[OpenInvoice] | None]:
    """What else is told in this email; None when its lease was lost. Those that are observed end each by itself: a person may accept
    one of them, and not the others."""
    if observed is not None:
        return leased, []
    if leased.kind is Kind.COLLECTION_ENDED:
        return _gather_ends(desk, leased)
    return leased, _gather(desk, leased, line) if leased.gathers else []


def _gather(
    desk: SendContext, leased: Leased, line: dt.datetime | None = None
) -> list[OpenInvoice] | None:
    """What else this customer owes, told of or not, for one email; None when the lease was lost. What is from before the business's
    line ends by itself.

    What waits to be told together is tied to this email first, so that a sender that dies here leaves it whole.
    """
    customers = {leased.stripe_customer} if leased.stripe_customer else set()
    invoices = {leased.invoice} if leased.invoice else set()
    with desk.db.transaction() as session:
        incidents = incident_queries.lock_open_incidents(session, invoices, customers)
        row = leases.lock_leased(session, leased)
        if row is None:
            return None
        leases.gather(session, leased, desk.now(), line)
        row.context = {**(row.context or {}), leases.GATHERS: True}
    open_ones = [one for one in incidents.values() if one.name != leased.invoice and owed(one)]
    return [
        one
        for one in _with_reports(desk, open_ones)
        if recheck(leased.kind, one.incident, one.fresh) is None
    ]


def _with_reports(desk: SendContext, incidents: Sequence[Incident]) -> list[OpenInvoice]:
    reports = [desk.run_concurrently(partial(desk.invoices.report, one.name)) for one in incidents]
    return [OpenInvoice(one, asked()) for one, asked in zip(incidents, reports, strict=True)]


def _gather_ends(desk: SendContext, leased: Leased) -> tuple[Leased, list[OpenInvoice]]:
    """What else this customer leaves unpaid for good, for one email to the business; and how often the customer was asked."""
    unpaid = []
    if leased.stripe_customer is not None:
        with desk.db.reading() as session:
            unpaid = incident_queries.read_open_incidents(session, leased.stripe_customer)
    now = desk.now()
    failed = [
        one for one in unpaid if one.name != leased.invoice and one.first_failed_at is not None
    ]
    others = [
        one
        for one in _with_reports(desk, failed)
        if how_it_ended(one.incident, one.fresh, now) is not None
    ]
    told = {one.incident.name for one in others}
    if leased.invoice is not None:
        told.add(leased.invoice)
    with desk.db.reading() as session:
        mails = business_news.times_asked(session, told)
    return replace(leased, context={**leased.context, "mails": mails}), others


def _is_unknown(reached: Callable[[], object]) -> bool:
    try:
        reached()
    except UnknownCustomer:
        return True
    except (PortalUnavailable, RequestClosed):
        return False
    return False


def _reach(
    desk: SendContext, leased: Leased
) -> Callable[[], tuple[Contact, CancellationLinks | None]]:
    """What to call for what the portal tells: whom to write to, and the links that a mail of this kind needs. It is asked meanwhile; of
    those whom Stripe named, together with others."""
    customer, decides = leased.stripe_customer, KINDS[leased.kind].action is Action.DECIDE
    if customer is None or leased.customer_id or decides:
        return desk.run_concurrently(lambda: _reach_alone(desk, leased))
    asked = desk.contacts.ask(customer)
    return lambda: (asked(), None)


def _reach_alone(desk: SendContext, leased: Leased) -> tuple[Contact, CancellationLinks | None]:
    if leased.kind is Kind.WEBHOOKS_STOPPED:
        return desk.contacts.business(str(leased.context.get("business_id", ""))), None
    if leased.customer_id:
        contact = desk.contacts.contact(leased.customer_id)
    elif leased.stripe_customer is not None:
        contact = desk.contacts.ask(leased.stripe_customer)()
    else:
        raise UnknownCustomer
    if KINDS[leased.kind].action is not Action.DECIDE:
        return contact, None
    request_id = str(leased.context.get("request_id", ""))
    return contact, desk.contacts.cancellation_links(request_id)


def unexpected_error(desk: SendContext, leased: Leased, why: str) -> Result:
    """Something failed that nobody foresaw: try again later, not in a tight circle and not indefinitely."""
    return _with_retries(
        desk, lambda: _not_now(desk, leased, "stumbled", f"failed inside the notifier: {why}")
    )


def _with_retries(desk: SendContext, write: Callable[[], T]) -> T:
    """Write something down although the database is away for some seconds."""
    for seconds in RECORD_PAUSES:
        try:
            return write()
        except DatabaseUnavailable:
            desk.pause(seconds)
    return write()


def _not_now(desk: SendContext, leased: Leased, word: str, why: str) -> Result:
    def body(session: Session) -> Result:
        row = leases.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        if row.unconfirmed_since is not None and row.due_at > desk.now() + LEASE:
            # It was about to be posted, or was: the grace period decides, not the backoff.
            row.last_error = why
            return Result(leased.kind, word, why)
        row.attempts += 1
        return retry_or_give_up(row, leased.kind, word, why, desk.now(), desk.jitter())

    return _transact(desk, body)


def _unknown_customer(desk: SendContext, leased: Leased) -> Result:
    def body(session: Session) -> Result:
        row = leases.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        row.lookups += 1
        follows = after_unknown_customer(leased.kind, row.created_at, row.lookups, desk.now())
        if isinstance(follows, Stop):
            finish(row, follows.status, follows.reason, desk.now())
            if leased.kind is Kind.WELCOME:  # erased: nobody's place is kept for good
                welcomes.erase_customer(session, leased.customer_id)
            return Result(leased.kind, "suppressed", follows.reason)
        retry(row, follows, "the portal does not know the customer yet")
        row.reason = None
        row.ready_at = follows.due_at  # its day begins when there is somebody to write to
        return Result(leased.kind, "unknown_customer")

    return _transact(desk, body)


def _suppress(desk: SendContext, leased: Leased, reason: Reason) -> Result:
    """Where nothing more is collected, the customer is not asked, and the business has to know: it may be the first failure, of
    a debit that was under way when the subscription ended, so no event after this one will tell."""

    def body(session: Session) -> Result:
        resumed = False
        if leased.invoice and reason in STOPPED_BECAUSE.values():
            incidents = incident_queries.lock_open_incidents(session, {leased.invoice}, ())
            resumed = any(_resumed(leased.incident, one) for one in incidents.values())
            note_ends(session, [(one, None) for one in incidents.values()], desk.now())
        row = leases.lock_leased(session, leased)
        if row is None:
            return Result(leased.kind, "lease_lost")
        if resumed:  # heard while Stripe was asked: nobody else would wake this one
            retry(row, Again(due_at=desk.now()), "collecting goes on; it is looked at again")
            return Result(leased.kind, "resumed")
        finish(row, Status.SUPPRESSED, reason, desk.now())
        if leased.gathers:
            leases.release_gathered(session, leased.notification_id, desk.now())
        return Result(leased.kind, "suppressed", reason)

    return _transact(desk, body)


def _resumed(before: Incident | None, incident: Incident) -> bool:
    """Whether collecting was switched on again since the incident stood as `before`."""
    known = before.auto_advance_as_of if before else None
    return incident.auto_advance is True and incident.auto_advance_as_of != known


def _transact(desk: SendContext, body: Callable[[Session], T]) -> T:
    with desk.db.transaction() as session:
        return body(session)
