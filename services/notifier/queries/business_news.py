"""Statements on what businesses have been told: of unpaid invoices, and of ends of subscriptions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from services.notifier.domain.keys import resent_id
from services.notifier.domain.kinds import DUNNING, PLANS, Kind
from services.notifier.domain.planned_ends import PlanNotice, read_plan_key
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.models import Notification
from services.notifier.queries.notifications import Row
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.statements import among_customers, among_objects, is_customer

INVOICES: Final = "invoices"
"""In a notification's context: the other invoices that its email names."""
ENDING: Final = "ending"
"""In a notification's context: how collecting ended (a contract's `Ending`), as its email tells it."""

_CUSTOMER: Final = (
    Notification.account,
    Notification.stripe_customer_id,
    Notification.on_behalf_of,
)


def note_ended(session: Session, ended: Mapping[str, dt.datetime], now: dt.datetime) -> None:
    """The emails with these keys that have not gone out tell of what has happened then; a sender that has not begun to post one loses it.
    Their incidents are locked."""
    rows = session.scalars(
        select(Notification)
        .where(
            Notification.dedupe_key.in_(ended),
            Notification.status.in_([status.value for status in ACTIVE]),
            Notification.unconfirmed_since.is_(None),
        )
        .order_by(Notification.notification_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for row in rows:
        row.occurred_at = ended[row.dedupe_key]
        if row.status == Status.SENDING:
            row.status, row.due_at = Status.PENDING.value, now
            row.lease_token = row.lease_until = None
    session.flush()


def ends_told(
    session: Session, stripe_customers: Collection[StripeCustomer], besides: Collection[str]
) -> set[StripeId]:
    """The invoices that emails to the businesses of these Stripe customers name as unpaid for good: emails that were sent, or
    may have been, without the notifications `besides`."""
    if not stripe_customers:
        return set()
    contexts = session.execute(
        select(Notification.account, Notification.context).where(
            among_customers(*_CUSTOMER, stripe_customers),
            Notification.kind == Kind.COLLECTION_ENDED.value,
            or_(Notification.sent_at.is_not(None), Notification.unconfirmed_since.is_not(None)),
            Notification.notification_id.not_in(besides),
        )
    )
    return {
        StripeId(Account(account), invoice_id)
        for account, context in contexts
        for invoice_id in (context or {}).get(INVOICES, ())
    }


def times_asked(session: Session, invoices: Collection[StripeId]) -> int:
    """How many emails have asked customers for these invoices; one that asked for several of them is one."""
    email = func.coalesce(Notification.told_in, Notification.notification_id)
    found = session.scalar(
        select(func.count(email.distinct())).where(
            among_objects(Notification.account, Notification.invoice_id, invoices),
            Notification.kind.in_([kind.value for kind in DUNNING]),
            Notification.sent_at.is_not(None),
        )
    )
    return found or 0


def plan_of(session: Session, row: Row | Notification) -> tuple[str, str | None] | None:
    """The subscription that an email about a planned end tells of, and the day on which it ends; of one that is sent again those of the
    first. None: of no such email, or the first is forgotten."""
    key = row.dedupe_key
    while (first := resent_id(key)) is not None:
        original = session.get(Notification, first)
        if original is None:
            return None
        key = original.dedupe_key
    return read_plan_key(row.account, key)


def plans_told(
    session: Session, stripe_customer: StripeCustomer, subscription_id: str, *, besides: str = ""
) -> list[PlanNotice]:
    """What Stripe has said about the end of a subscription, as far as it was written down, without the notification
    `besides`. The business knows what it was told, what it is about to be told, and what it decided here."""
    rows = session.scalars(
        select(Notification).where(
            is_customer(*_CUSTOMER, stripe_customer),
            Notification.kind.in_([kind.value for kind in PLANS]),
            Notification.notification_id != besides,
        )
    )
    found = []
    for row in rows:
        plan = plan_of(session, row)
        if plan is not None and plan[0] == subscription_id:
            decided_here = row.reason in (Reason.APPROVED_HERE, Reason.TOLD_WITH_DEBT)
            told = row.sent_at is not None or row.unconfirmed_since is not None
            waits = not besides and row.status in ACTIVE
            found.append(
                PlanNotice(
                    at=row.occurred_at or row.created_at,
                    ends_on=plan[1],
                    ended=(row.context or {}).get("ended") is True,
                    known=decided_here or told or waits,
                )
            )
    return found
