"""How far Stripe's log and the unpaid invoices have been looked through, and whose turn it is."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from services.billing.models import Reconciliation
from shared.contracts.accounts import OWN, Account
from shared.statements import insert_new, table_of

STRIPE_LOG: Final = "stripe"
SWEEP: Final = "sweep"
"""When unpaid invoices were last looked through."""
ANNOUNCED_FROM: Final = "announced_from"
"""What failed before this moment was there before Portico was: the sweep announces none of it."""


def reconciled_until(session: Session, account: Account, now: dt.datetime) -> dt.datetime | None:
    """How far the log has been walked; None at the very first call, which sets the cursor to now, and draws the line
    `ANNOUNCED_FROM`: what is unpaid by now was there before us. (An installation that is older than the line has none.)"""
    table = table_of(Reconciliation)
    row = {"account": account, "name": STRIPE_LOG, "until": now}
    if insert_new(session, table, [row], returning="name"):
        keep_moment(session, account, ANNOUNCED_FROM, now)
        return None
    return moment_of(session, account, STRIPE_LOG)


def moment_of(session: Session, account: Account, name: str) -> dt.datetime | None:
    """A moment that reconciliation keeps under a name."""
    return session.scalar(select(Reconciliation.until).where(_named(account, name)))


def keep_moment(session: Session, account: Account, name: str, moment: dt.datetime) -> None:
    """Keep a moment under a name."""
    table = table_of(Reconciliation)
    row = {"account": account, "name": name, "until": moment}
    if not insert_new(session, table, [row], returning="name"):
        session.execute(update(Reconciliation).where(_named(account, name)).values(until=moment))


def _named(account: Account, name: str) -> ColumnElement[bool]:
    return and_(Reconciliation.account == account, Reconciliation.name == name)


def take_reconciliation(
    session: Session, account: Account, holder: str, now: dt.datetime, until: dt.datetime
) -> bool:
    """Take the log for `holder`, or keep it; False while somebody else has it."""
    reconciled_until(session, account, now)
    taken = session.execute(
        update(Reconciliation)
        .where(
            _named(account, STRIPE_LOG),
            or_(
                Reconciliation.holder.is_(None),
                Reconciliation.holder == holder,
                Reconciliation.lease_until <= now,
            ),
        )
        .values(holder=holder, lease_until=until)
        .returning(Reconciliation.name)
    ).all()
    return bool(taken)


def held_until(session: Session, account: Account) -> dt.datetime | None:
    """Until when somebody has the log; None: nobody does."""
    return session.scalar(select(Reconciliation.lease_until).where(_named(account, STRIPE_LOG)))


def finish_reconciliation(
    session: Session, account: Account, holder: str, since: dt.datetime, until: dt.datetime
) -> None:
    """Move the cursor to `until`, unless the walk left a gap behind the cursor."""
    session.execute(
        update(Reconciliation)
        .where(
            _named(account, STRIPE_LOG),
            Reconciliation.holder == holder,
            Reconciliation.until >= since,
            Reconciliation.until < until,
        )
        .values(until=until)
    )


def release_reconciliation(session: Session, account: Account, holder: str) -> None:
    """Give the log back, if it is still ours."""
    session.execute(
        update(Reconciliation)
        .where(_named(account, STRIPE_LOG), Reconciliation.holder == holder)
        .values(holder=None, lease_until=None)
    )


EVIDENCE: Final = "evidence"
"""Of the whole inbox, whatever accounts its events are of."""
NEVER: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def evidence_told_until(session: Session) -> dt.datetime | None:
    """Up to which moment of receipt stored events were looked at again, locked; None while somebody else is at it."""
    table = table_of(Reconciliation)
    insert_new(
        session,
        table,
        [{"account": OWN, "name": EVIDENCE, "until": NEVER}],
        returning="name",
    )
    return session.scalar(
        select(Reconciliation.until).where(_named(OWN, EVIDENCE)).with_for_update(skip_locked=True)
    )


def evidence_told(session: Session, until: dt.datetime) -> None:
    """Everything received up to this moment was looked at again."""
    session.execute(update(Reconciliation).where(_named(OWN, EVIDENCE)).values(until=until))
