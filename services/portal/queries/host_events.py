"""Events that hosts list over HTTP.

A host says how far it has read, and must find everything that came after. So an event's place isn't given when it is written, for
transactions end in another order than they begin: it is given later, to what is committed, by one at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Row, exists, func, select, update
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow, HostEventRow
from shared.contracts.accounts import Account, StripeId
from shared.statements import (
    Kept,
    among_named,
    changed,
    hold_lock,
    insert_new_rows,
    named_objects,
    table_of,
)

LOCK: Final = 0x686F7374
"""PostgreSQL's advisory lock under which places are given."""
MOST_PLACED: Final = 5000
"""How many at a time."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_table: Final = table_of(HostEventRow)
_customers: Final = table_of(CustomerRow)


def add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write events down, without a place yet."""
    insert_new_rows(session, _table, rows, returning="id")


def owners(
    session: Session, stripe_customers: Collection[StripeId]
) -> dict[StripeId, dict[str, Row[Any]]]:
    """Whose these Stripe customers are, by on whose behalf they are charged: `customer_id` and `business_pk`; the oldest customer first."""
    accounts, names = named_objects(stripe_customers)
    found: dict[StripeId, dict[str, Row[Any]]] = {}
    for row in _owning(accounts).run(session, names):
        found.setdefault(StripeId(Account(row[0]), row[1]), {})[row.on_behalf_of] = row
    return found


@lru_cache
def _owning(accounts: int) -> Kept:
    return Kept(
        select(
            _customers.c.account,
            _customers.c.platform_stripe_customer_id,
            _customers.c.on_behalf_of,
            _customers.c.public_id.label("customer_id"),
            _customers.c.business_pk,
        )
        .where(
            among_named(_customers.c.account, _customers.c.platform_stripe_customer_id, accounts)
        )
        .order_by(_customers.c.id)
    )


def business_keys(session: Session, business_ids: Collection[str]) -> dict[str, int]:
    """The keys of businesses by the host's ids."""
    rows = session.execute(
        select(BusinessRow.business_id, BusinessRow.id).where(
            BusinessRow.business_id.in_(business_ids)
        )
    )
    return {row.business_id: row.id for row in rows}


def any_unplaced(session: Session, business_pk: int | None = None) -> bool:
    """Whether an event has no place yet; of one business, unless None."""
    waits = exists().where(_table.c.position.is_(None))
    if business_pk is not None:
        waits = waits.where(_table.c.business_pk == business_pk)
    return bool(session.scalar(select(waits)))


def place(session: Session, now: dt.datetime) -> int:
    """Give the events that are committed and have none the next places, in the order in which they were written down; how many.

    Whatever is committed later gets a later place: nobody who has read up to one misses any. Places are microseconds where these are
    later, so they grow even when every event before has been forgotten, or the database was put back to what it was.
    """
    hold_lock(session, LOCK)
    last = session.scalar(select(func.max(_table.c.position))) or 0
    first = max(last + 1, place_of(now))
    waiting = (
        select(_table.c.id, (func.row_number().over(order_by=_table.c.id) - 1).label("number"))
        .where(_table.c.position.is_(None))
        .order_by(_table.c.id)
        .limit(MOST_PLACED)
        .subquery()
    )
    return changed(
        session,
        update(_table).where(_table.c.id == waiting.c.id).values(position=first + waiting.c.number),
    )


def place_of(moment: dt.datetime) -> int:
    """The first place that an event of this moment may have."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def page(session: Session, business_pk: int | None, after: int, limit: int) -> Sequence[Row[Any]]:
    """Events after a place, with the host's id of their business; of one business alone, unless None."""
    statement = (
        select(*_table.c, BusinessRow.business_id)
        .join_from(_table, BusinessRow, BusinessRow.id == _table.c.business_pk, isouter=True)
        .where(_table.c.position > after)
    )
    if business_pk is not None:
        statement = statement.where(_table.c.business_pk == business_pk)
    return session.execute(statement.order_by(_table.c.position).limit(limit)).all()
