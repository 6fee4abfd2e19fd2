"""Reconciliation: what Stripe says happened, against what we heard; what is owed, against what was said.

Two passes. The first walks Stripe's log of events (`GET /v1/events`) through the same inbox as a webhook: a webhook
that never came becomes the same email, one that came is a duplicate. The second looks at open, attempted autopay
invoices of whose last attempt nothing was heard, and announces its failure under the key that a late webhook would have: so
the sweep never says what was said, and of two events about one charge the notifier tells the customer once. An open invoice
alone is no failure: its debit may be under way, or its card so dead that Stripe counts attempts and makes none.

No call to Stripe stands inside a transaction. A lease keeps replicas from doing the work twice; done twice all the
same, it would change nothing.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy.orm import Session

from services.billing.domain.errors import InvalidRequest, StripePermissionMissing
from services.billing.domain.paying import Invoice, PaymentTrace
from services.billing.handlers import inbox
from services.billing.ports import PaymentGateway
from services.billing.queries import inbox as queries
from services.billing.queries import outbox, reconciliation
from services.billing.stripe_events.drafts import dedupe_key
from services.billing.stripe_events.payloads import NotAnEvent
from services.billing.stripe_events.translation import LOGGED
from services.billing.workflows.invoice_reports import invoices_heard
from shared import events
from shared.contracts.accounts import our_event_id
from shared.contracts.invoices import may_be_at_checkout
from shared.contracts.payments import MethodKind
from shared.contracts.rpc.arguments import OFFSET
from shared.contracts.rpc.errors import ReconciliationRunning
from shared.database import Transactions
from shared.outbox import Outgoing

EVERY: Final = dt.timedelta(minutes=15)
"""Between two walks when no webhook has come since the last one."""
EVERY_WHILE_HEARD: Final = dt.timedelta(hours=1)
"""Between two walks while webhooks arrive. Stripe counts reads against a month's allowance of 10,000 or more."""
EVERY_WHILE_THIN: Final = dt.timedelta(minutes=5)
"""Between two walks while an endpoint delivers thin events, which only say that there is something in the log."""
SWEEP_EVERY: Final = dt.timedelta(days=1)
"""Between two looks through unpaid invoices when the log held nothing that was missed."""
OVERLAP: Final = dt.timedelta(hours=1)
"""Events may become visible at Stripe a little after their time: each scheduled walk looks this far back again."""
LEASE: Final = dt.timedelta(minutes=2)
"""Longer than one page with its retries; renewed before each."""
LONGEST: Final = dt.timedelta(days=30)
"""Stripe's log reaches back thirty days. https://docs.stripe.com/api/events/list"""
MOST_PAGES: Final = 500
"""Fifty thousand events; a longer absence is walked in several runs, each from the cursor on."""
SWEPT: Final = dt.timedelta(days=30)
"""How old an invoice the sweep looks at. Shorter than any retention of the outbox, in which it finds what was said."""

_AGE: Final = re.compile(r"(\d{1,5})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass
class Report:
    """What a run found: events at Stripe, how many of them were new to us, unpaid invoices nobody had been told about, and
    those of them that are older than this installation, which are announced to nobody."""

    seen: int = 0
    new: int = 0
    swept: int = 0
    older: int = 0


def parse_since(since: str, now: dt.datetime) -> dt.datetime:
    """`90m`, `12h`, `3d`, or a moment in ISO 8601 with a time zone. Raises InvalidRequest."""
    age = _AGE.fullmatch(since.strip())
    if age:
        moment = now - dt.timedelta(**{_UNITS[age[2]]: int(age[1])})
    else:
        try:
            moment = dt.datetime.fromisoformat(since.strip())
        except ValueError:
            raise InvalidRequest(
                "since: expected 90m, 12h, 3d or a moment such as 2026-11-20T08:00:00Z"
            ) from None
        if moment.tzinfo is None:
            raise InvalidRequest(f"since: {OFFSET}")
    if not now - LONGEST <= moment <= now:
        raise InvalidRequest("since: expected a moment of the last 30 days; Stripe keeps no more")
    return moment


def scheduled(
    database: Transactions,
    gateway: PaymentGateway,
    *,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Report | None:
    """The round that runs by itself: from the cursor on, when the last one is long enough ago; None when not."""
    now, account = clock(), gateway.account
    with database.transaction() as session:
        cursor = reconciliation.reconciled_until(session, account, now)
        if cursor is None or cursor > now - EVERY_WHILE_THIN:
            return None
        thin = queries.thin_arrived(session, account, cursor)
        if not thin and cursor > now - EVERY:
            return None
        heard = not thin and queries.webhooks_arrived(session, account, cursor)
        if heard and cursor > now - EVERY_WHILE_HEARD:
            return None
        swept_at = reconciliation.moment_of(session, account, reconciliation.SWEEP)
    try:
        return reconcile(
            database,
            gateway,
            max(cursor - OVERLAP, now - LONGEST),
            holder=holder,
            clock=clock,
            sweep=swept_at is None or swept_at <= now - SWEEP_EVERY,
        )
    except ReconciliationRunning:
        return None


def catch_up(
    database: Transactions,
    gateway: PaymentGateway,
    *,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Report | None:
    """From the cursor on, since it is the account's turn; None at its first one, which sets the cursor. Unpaid invoices are looked
    through only where Stripe's log does not reach back to the cursor: they are more reads."""
    now = clock()
    with database.transaction() as session:
        cursor = reconciliation.reconciled_until(session, gateway.account, now)
    if cursor is None:
        return None
    since = max(cursor - OVERLAP, now - LONGEST)
    sweep = cursor < now - LONGEST
    try:
        return reconcile(database, gateway, since, holder=holder, clock=clock, sweep=sweep)
    except ReconciliationRunning:
        return None


def reconcile(
    database: Transactions,
    gateway: PaymentGateway,
    since: dt.datetime,
    *,
    holder: str,
    clock: Callable[[], dt.datetime],
    sweep: bool = True,
) -> Report:
    """Both passes, from `since` on. `holder` names this run. Without `sweep` the second pass is made only where the first
    one found what no webhook had brought.

    Raises ReconciliationRunning while another one is under way, StripeUnavailable, StripeRefused; what was found until
    then is kept.
    """
    began, account = clock(), gateway.account

    def keep_lease() -> None:
        now = clock()
        with database.transaction() as session:
            mine = reconciliation.take_reconciliation(session, account, holder, now, now + LEASE)
            until = None if mine else reconciliation.held_until(session, account)
        if not mine:
            when = f"{until:%H:%M:%S} UTC" if until else "two minutes"
            raise ReconciliationRunning(
                f"a reconciliation is under way; if it was stopped, go on after {when}"
            )

    keep_lease()
    try:
        report = Report()
        # Oldest first, as the webhooks would have come.
        for page in gateway.events_since(since, sorted(LOGGED), MOST_PAGES):
            _take_in(database, gateway, page, report, clock)
            keep_lease()
        if sweep or report.new:
            _sweep(database, gateway, began, report, keep_lease, clock)
        # Further back there is nothing to be read, so no gap either.
        whole = since if since > began - LONGEST else reconciliation.NEVER
        with database.transaction() as session:
            reconciliation.finish_reconciliation(session, account, holder, whole, began)
        return report
    finally:
        with database.transaction() as session:
            reconciliation.release_reconciliation(session, account, holder)


def _sweep(
    database: Transactions,
    gateway: PaymentGateway,
    began: dt.datetime,
    report: Report,
    keep_lease: Callable[[], None],
    clock: Callable[[], dt.datetime],
) -> None:
    account = gateway.account
    with database.reading() as session:
        announced_from = reconciliation.moment_of(session, account, reconciliation.ANNOUNCED_FROM)
    for invoices in gateway.unpaid_invoices(began - SWEPT, MOST_PAGES):
        owed = [one for one in invoices if one.collectable and not may_be_at_checkout(one, began)]
        ours = [one for one in owed if not _is_older(one, announced_from)]
        report.older += len(owed) - len(ours)
        with database.reading() as session:
            unheard = _unheard(session, gateway, ours)
            unsaid = outbox.unannounced(
                session, [_failure(one, gateway, clock()) for one in unheard]
            )
        traces = [(one, _trace(gateway, one.invoice_id)) for one in unsaid]
        missed = [_dated(one, trace) for one, trace in traces if not trace.processing]
        with database.transaction() as session:
            report.swept += len(outbox.publish_missed(session, missed, clock()))
        keep_lease()
    with database.transaction() as session:
        reconciliation.keep_moment(session, account, reconciliation.SWEEP, began)


def _is_older(invoice: Invoice, announced_from: dt.datetime | None) -> bool:
    """Whether it was unpaid before there was a Portico here. Its next failure comes as an event like any other."""
    if announced_from is None or invoice.finalized_at is None:
        return False
    return invoice.finalized_at < announced_from


def _unheard(
    session: Session, gateway: PaymentGateway, invoices: Sequence[Invoice]
) -> list[Invoice]:
    """Those of whose last attempt no webhook has told. What came of one that was told of was told with it, or will be."""
    heard = invoices_heard(
        session, gateway.account, [one.id for one in invoices], livemode=gateway.livemode
    )
    return [
        one
        for one in invoices
        if one.id not in heard or heard[one.id].attempt_count < one.attempt_count
    ]


def _trace(gateway: PaymentGateway, invoice_id: str) -> PaymentTrace:
    """What its payments show: whether a debit has begun that no bank has answered yet, and when it was charged. Where the key may not see
    that, nothing."""
    try:
        return gateway.payment_trace(invoice_id)
    except StripePermissionMissing:
        return PaymentTrace()


def _dated(missed: outbox.MissedFailure, trace: PaymentTrace) -> outbox.MissedFailure:
    """The failure at the moment of its charge, where that is the moment: a card's bank answers at once. Of a debit, which comes back after
    days, and where nothing was charged, nobody tells when it failed: then it is when we found it."""
    problem = trace.problem
    if problem is None or problem.tried_at is None or problem.method is None:
        return missed
    if problem.method.kind is not MethodKind.CARD:
        return missed
    event = msgspec.structs.replace(missed.outgoing.event, occurred_at=problem.tried_at)
    return replace(missed, outgoing=replace(missed.outgoing, event=event))


def _take_in(
    database: Transactions,
    gateway: PaymentGateway,
    page: Iterable[bytes],
    report: Report,
    clock: Callable[[], dt.datetime],
) -> None:
    def store(received: inbox.Received) -> inbox.Outcome:
        with database.transaction() as session:
            return inbox.store_webhooks(session, [received], clock(), delivered=False)[0]

    for body in page:
        report.seen += 1
        try:
            received = inbox.read_logged(body, gateway.account, livemode=gateway.livemode)
        except NotAnEvent:
            continue  # Stripe's own list holds none; a stand-in's might
        _, outcome = inbox.keep(store, received)
        report.new += outcome is not inbox.Outcome.DUPLICATE


def _failure(invoice: Invoice, gateway: PaymentGateway, now: dt.datetime) -> outbox.MissedFailure:
    """The event that a webhook about this invoice's last attempt would have become."""
    data = events.InvoicePaymentFailed(
        invoice_id=invoice.id,
        stripe_customer_id=invoice.stripe_customer_id,
        on_behalf_of=invoice.on_behalf_of,
        status=invoice.status,
        currency=invoice.currency,
        amount_due=invoice.amount_due,
        amount_remaining=invoice.amount_remaining,
        amount_paid=invoice.amount_paid,
        amount_credited=invoice.amount_credited,
        attempt_count=invoice.attempt_count,
        attempted=invoice.attempted,
        collection_method=invoice.collection_method,
        billing_reason=invoice.billing_reason,
        number=invoice.number,
        subscription_id=invoice.subscription_id,
        purpose=invoice.purpose,
        purpose_more=invoice.purpose_more,
        next_payment_attempt=invoice.next_payment_attempt,
        auto_advance=invoice.auto_advance,
        finalized_at=invoice.finalized_at,
        account=gateway.account,
        livemode=gateway.livemode,
    )
    occasion = (invoice.id, invoice.attempt_count, None)
    key = dedupe_key(data, *occasion)
    name = f"sweep/{invoice.id}/{invoice.attempt_count}"
    event = events.Event(
        id=our_event_id(gateway.account, name, data.type),
        occurred_at=now,
        correlation_id=name,
        data=data,
    )
    confirm = key.replace(data.type, events.InvoicePaymentActionRequired.type, 1)
    return outbox.MissedFailure(invoice.id, Outgoing(event, key), (key, confirm))
