"""Whose turn it is to be reconciled, of the accounts beside the installation's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.orm import Session, aliased

from services.billing.domain.accounts import AccountState
from services.billing.models import (
    InboxEvent,
    PaymentMethodChange,
    Reconciliation,
    StripeAccount,
)
from services.billing.queries.reconciliation import STRIPE_LOG, keep_moment, moment_of
from shared.contracts.accounts import OWN, Account
from shared.statements import insert_new, table_of

TRIED: Final = "tried"
"""Of each account: when somebody last began to reconcile it, whatever came of it."""
ALL_MISSED: Final = "connected_missed"
"""Of the installation: until when something may have been missed of all connected accounts."""
WATCHED: Final = "watched"
"""Of the installation: up to which moment of receipt failed payments were looked for."""
LATE: Final = dt.timedelta(minutes=1)
"""Rows become visible in the order of their commits."""
SOONEST: Final = dt.timedelta(hours=1)
"""Between two turns of a connected account, whatever the cause."""
WATCHED_EVERY: Final = dt.timedelta(days=1)
"""While a payment is open there, or a change of card waits."""
WATCH: Final = dt.timedelta(days=10)
"""For how long after a failed payment. Stripe tries again within days, and each try that fails is another one."""
MOST_IN: Final = 1000
QUIET_EVERY: Final = dt.timedelta(days=5)
"""Without any cause. Stripe's log reaches back thirty days."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An account that may be reconciled."""

    account: Account
    tried: dt.datetime | None
    """When that was last begun; None: never."""
    cause: bool
    """Whether something may have been missed, or matters now."""


def connected_turns(
    session: Session, now: dt.datetime, limit: int, *, livemode: bool
) -> list[Turn]:
    """The connected accounts whose turn it is, those with a cause first, of each kind who waits longest: one statement, however many
    accounts there are.

    A cause is: it was let in (again) since; all may have missed something since (`all_missed`); whoever read it last was killed over it; a
    payment failed there lately; a change of card waits.
    """
    tried, walked = aliased(Reconciliation), aliased(Reconciliation)
    missed = moment_of(session, OWN, ALL_MISSED)
    since = [StripeAccount.changed_at > tried.until, walked.lease_until <= now]
    if missed is not None:
        since.append(tried.until < missed)
    waits = select(PaymentMethodChange.account).where(PaymentMethodChange.closed_at.is_(None))
    open_there = or_(StripeAccount.watched_until > now, StripeAccount.account.in_(waits))
    cause = or_(
        tried.until.is_(None),
        and_(tried.until <= now - SOONEST, or_(*since)),
        and_(tried.until <= now - WATCHED_EVERY, open_there),
    )
    quiet = case((cause, 0), else_=1)
    found = session.execute(
        select(StripeAccount.account, tried.until, quiet)
        .outerjoin(tried, and_(tried.account == StripeAccount.account, tried.name == TRIED))
        .outerjoin(walked, and_(walked.account == StripeAccount.account, walked.name == STRIPE_LOG))
        .where(
            StripeAccount.state != AccountState.DISCONNECTED.value,
            StripeAccount.livemode == livemode,
            or_(cause, tried.until <= now - QUIET_EVERY),
        )
        .order_by(quiet, tried.until.nulls_first(), StripeAccount.account)
        .limit(limit)
    ).all()
    return [Turn(Account(account), until, not quietly) for account, until, quietly in found]


def turns_of(
    session: Session, accounts: Sequence[Account], before: dt.datetime, limit: int
) -> list[Turn]:
    """Of these accounts those that were not tried since `before`, who waits longest first: one statement for a thousand."""
    tried: dict[str, dt.datetime] = {}
    for start in range(0, len(accounts), MOST_IN):
        some = accounts[start : start + MOST_IN]
        named = Reconciliation.account.in_(some), Reconciliation.name == TRIED
        rows = session.execute(select(Reconciliation.account, Reconciliation.until).where(*named))
        tried |= dict(map(tuple, rows))
    turns = [Turn(one, tried.get(one), cause=True) for one in accounts]
    due = [one for one in turns if one.tried is None or one.tried <= before]
    return sorted(due, key=lambda one: (one.tried is not None, one.tried or before))[:limit]


def take_turn(session: Session, turn: Turn, now: dt.datetime) -> bool:
    """Note that it is begun; False where somebody else has, since the turn was looked up."""
    if turn.tried is None:
        row = {"account": turn.account, "name": TRIED, "until": now}
        return bool(insert_new(session, table_of(Reconciliation), [row], returning="name"))
    taken = session.execute(
        update(Reconciliation)
        .where(
            Reconciliation.account == turn.account,
            Reconciliation.name == TRIED,
            Reconciliation.until == turn.tried,
        )
        .values(until=now)
        .returning(Reconciliation.name)
        .execution_options(synchronize_session=False)
    ).all()
    return bool(taken)


def give_back(session: Session, account: Account) -> None:
    """A turn that was taken and not begun: it is due at once, for whoever takes it."""
    session.execute(
        delete(Reconciliation)
        .where(Reconciliation.account == account, Reconciliation.name == TRIED)
        .execution_options(synchronize_session=False)
    )


def all_missed(session: Session, now: dt.datetime) -> None:
    """Something may have been missed until now of all connected accounts."""
    keep_moment(session, OWN, ALL_MISSED, now)


def watch_failures(session: Session, now: dt.datetime) -> None:
    """Note at which connected accounts payments failed since this was last asked."""
    since = moment_of(session, OWN, WATCHED) or now - LATE
    failed = select(InboxEvent.account).where(
        InboxEvent.received_at > since - LATE,
        InboxEvent.received_at <= now,
        InboxEvent.type == "invoice.payment_failed",
        InboxEvent.account != OWN,
    )
    session.execute(
        update(StripeAccount)
        .where(StripeAccount.account.in_(failed))
        .values(watched_until=now + WATCH)
        .execution_options(synchronize_session=False)
    )
    keep_moment(session, OWN, WATCHED, now)
