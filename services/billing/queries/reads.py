"""How often Stripe was read, by account and day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from sqlalchemy import case, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.billing.domain.reads import WINDOW_DAYS, ReadKey, ReadPool
from services.billing.models import StripeRead
from shared.contracts.accounts import Account
from shared.statements import table_of


def add_reads(session: Session, counted: Mapping[ReadKey, int]) -> None:
    """Add these to what is known, in one statement, in the order of their keys, so that two processes wait for each other."""
    if not counted:
        return
    rows = [{**key._asdict(), "reads": counted[key]} for key in sorted(counted)]
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table_of(StripeRead))
    added = table_of(StripeRead).c.reads + statement.excluded.reads
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(ReadKey._fields), set_={"reads": added}
        ),
        rows,
    )


def pool_of(session: Session, size: int, today: dt.date) -> ReadPool:
    """The platform's allowance of `size` reads, as it is used: what was read with its key, of whatever account."""
    of_today = case((StripeRead.day == today, StripeRead.reads), else_=0)
    used, now = session.execute(
        select(
            func.coalesce(func.sum(StripeRead.reads), 0), func.coalesce(func.sum(of_today), 0)
        ).where(StripeRead.day > _before(today), StripeRead.own_key.is_(False))
    ).one()
    return ReadPool(size, int(used), int(now))


def reads_of(session: Session, accounts: Sequence[Account], today: dt.date) -> dict[Account, int]:
    """The reads of these accounts in the last `WINDOW_DAYS`, with whatever key; those without any are left out."""
    counted = session.execute(
        select(StripeRead.account, func.sum(StripeRead.reads))
        .where(StripeRead.day > _before(today), StripeRead.account.in_(accounts))
        .group_by(StripeRead.account)
    ).all()
    return {Account(account): int(reads) for account, reads in counted}


def most_read(session: Session, today: dt.date, limit: int) -> dict[Account, int]:
    """The accounts that were read most with the platform's key in the last `WINDOW_DAYS`, the most first, with their reads."""
    reads = func.sum(StripeRead.reads)
    counted = session.execute(
        select(StripeRead.account, reads)
        .where(StripeRead.day > _before(today), StripeRead.own_key.is_(False))
        .group_by(StripeRead.account)
        .order_by(reads.desc(), StripeRead.account)
        .limit(limit)
    ).all()
    return {Account(account): int(number) for account, number in counted}


def _before(today: dt.date) -> dt.date:
    return today - dt.timedelta(days=WINDOW_DAYS)
