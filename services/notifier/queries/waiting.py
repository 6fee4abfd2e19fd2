"""Statements on notifications that have waited, or were suppressed, and are due again: of Stripe customers whom the portal did not know,
and of failures that nobody was told of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from services.notifier.domain.kinds import DUNNING
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import Notification
from services.notifier.queries.notifications import lock_rows
from shared.contracts.accounts import StripeCustomer, StripeId
from shared.statements import among_objects, is_customer, is_object


def _waiting(stripe_customer: StripeCustomer) -> ColumnElement[bool]:
    """Those that are asked about again and again (not: held for another reason, or perhaps sent), and those that were given
    up."""
    given_up = and_(
        Notification.status == Status.SUPPRESSED.value,
        Notification.reason == Reason.NO_SUCH_CUSTOMER.value,
        Notification.kind.in_([kind.value for kind in DUNNING]),
    )
    asked = and_(
        Notification.status.in_([status.value for status in ACTIVE]),
        Notification.lookups > 0,
        Notification.reason.is_(None),
        Notification.unconfirmed_since.is_(None),
    )
    names = (Notification.account, Notification.stripe_customer_id)
    if stripe_customer.on_behalf_of:
        whose = is_customer(*names, Notification.on_behalf_of, stripe_customer)
    else:
        whose = is_object(*names, stripe_customer.name)
    return and_(whose, or_(asked, given_up))


def waiting_as(session: Session, stripe_customer: StripeCustomer) -> set[StripeCustomer]:
    """As which customers of this name anything waits; locks nothing. A customer of who is charged for on nobody's behalf may be that of a
    behalf that no business names: the portal alone knows, and is asked before anything goes out."""
    found = session.scalars(
        select(Notification.on_behalf_of).where(_waiting(stripe_customer)).distinct()
    )
    return {StripeCustomer(*stripe_customer.name, one) for one in found}


def give_up_older(
    session: Session, stripe_customer: StripeCustomer, before: dt.datetime, now: dt.datetime
) -> None:
    """Give up what has waited for this Stripe customer since before a moment; it is looked at again if somebody else speaks of them. The
    customer's open incidents are locked."""
    rows = session.scalars(
        select(Notification)
        .where(
            _waiting(stripe_customer),
            Notification.status == Status.PENDING.value,
            Notification.created_at < before,
        )
        .order_by(Notification.notification_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for row in rows:
        row.status, row.reason = Status.SUPPRESSED.value, Reason.NO_SUCH_CUSTOMER.value
        row.finished_at = now
    session.flush()


def wake_for_customer(
    session: Session,
    stripe_customer: StripeCustomer,
    asked_for: Collection[StripeId],
    now: dt.datetime,
) -> int:
    """Let what waits for this Stripe customer go out now; how many emails. The customer's open incidents are locked.

    Of those that were given up the newest of each invoice in `asked_for` is due again. Where several wait to ask for money,
    the first that is sent tells of all. One that a sender holds is left to it: it asks the portal anew within seconds.
    """
    rows = session.scalars(
        select(Notification)
        .where(_waiting(stripe_customer))
        .order_by(Notification.notification_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    active = [row for row in rows if row.status in ACTIVE]
    for row in active:
        row.lookups = 0
    woken = [row for row in active if row.status == Status.PENDING]
    woken += _revived(rows, set(asked_for) - {row.invoice for row in active})
    together = sum(row.kind in DUNNING for row in woken) > 1
    for row in woken:
        row.status, row.finished_at = Status.PENDING.value, None
        row.due_at = row.ready_at = now
        row.reason = None
        if together and row.kind in DUNNING:
            row.reason = Reason.WAITS_FOR_OTHERS.value
    session.flush()
    return len(woken)


def _revived(rows: Sequence[Notification], invoices: Collection[StripeId]) -> list[Notification]:
    given_up = [row for row in rows if row.status == Status.SUPPRESSED]
    newest = {row.invoice: row for row in sorted(given_up, key=lambda row: row.created_at)}
    return [row for invoice, row in newest.items() if invoice in invoices]


def untold_failures_due(
    session: Session,
    invoices: Collection[StripeId],
    reasons: Collection[Reason],
    now: dt.datetime,
    since: dt.datetime | None = None,
) -> int:
    """Let the newest failure of each of these invoices go out now, if its email was suppressed for one of these reasons and the
    customer has heard, or is about to hear, of none that came after it; how many do. Of those that happened `since` then, and were heard
    of since, if that is given. The invoices' incidents are locked."""
    words = [reason.value for reason in reasons]
    active = Notification.status.in_([status.value for status in ACTIVE])
    told = or_(active, Notification.sent_at.is_not(None), Notification.told_in.is_not(None))
    statement = select(Notification).where(
        among_objects(Notification.account, Notification.invoice_id, invoices),
        Notification.kind.in_([kind.value for kind in DUNNING]),
        or_(told, Notification.reason.in_(words)),
    )
    if since is not None:
        happened = func.coalesce(Notification.occurred_at, Notification.created_at)
        statement = statement.where(Notification.created_at >= since, happened >= since)
    order = (Notification.created_at, active, Notification.notification_id)
    newest = {row.invoice: row for row in session.scalars(statement.order_by(*order))}
    due = [one.notification_id for one in newest.values() if one.reason in words]
    for row in lock_rows(session, due).values():
        row.status, row.reason, row.finished_at = Status.PENDING.value, None, None
        row.due_at = row.ready_at = now
    return len(due)
