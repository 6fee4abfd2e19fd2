"""How long rows are kept that only prove that something was done: the memory of an inbox, an outbox, a consumer.

They are deleted in small batches, each a transaction of its own, by a slow loop of each service and by the command `prune`
(`shared.nameko_ext.pruning`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, inspect, select, tuple_
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.database import Transactions
from shared.statements import changed

RETENTION: Final = dt.timedelta(days=90)
SHORTEST: Final = dt.timedelta(days=45)
"""Stripe repeats a webhook for 3 days and lists its events for 30; reconciliation looks at invoices of 30. What could still
come again must still be known."""
BATCH: Final = 1000


@dataclass(frozen=True)
class Rule:
    """Rows of `model` for which `outdated(before)` holds may go."""

    model: type[Any]
    outdated: Callable[[dt.datetime], ColumnElement[bool]]
    key: Sequence[Any] = ()
    """Columns that tell these rows apart; empty: those of the primary key."""
    at_most: dt.timedelta | None = None
    """What nothing else depends on may go when it is so old, earlier than the rest."""

    def before(self, before: dt.datetime, now: dt.datetime) -> dt.datetime:
        """What is older than this goes."""
        return before if self.at_most is None else max(before, now - self.at_most)


def prune_batch(
    session: Session,
    rules: Sequence[Rule],
    before: dt.datetime,
    limit: int = BATCH,
    now: dt.datetime | None = None,
) -> dict[str, int]:
    """Delete up to `limit` rows a rule, inside the caller's transaction; how many, by table."""
    now = now or utc_now()
    gone: dict[str, int] = {}
    for rule in rules:
        keys = rule.key or inspect(rule.model).primary_key
        outdated = rule.outdated(rule.before(before, now))
        some = select(*keys).where(outdated).limit(limit)
        which = keys[0].in_(some) if len(keys) == 1 else tuple_(*keys).in_(some)
        statement = delete(rule.model).where(which)
        if rule.key:  # no index may be on these columns alone
            statement = statement.where(outdated)
        name = rule.model.__tablename__
        gone[name] = gone.get(name, 0) + changed(
            session, statement.execution_options(synchronize_session=False)
        )
    return gone


def prune_some(
    database: Transactions, rules: Sequence[Rule], now: dt.datetime, age: dt.timedelta
) -> dict[str, int]:
    """Delete up to `BATCH` rows a rule of what is so old, in a transaction of its own; how many, by table. What is old is so by the database's
    clock as well: a machine whose own is years ahead would delete all that there is."""
    with database.transaction() as session:
        if session.get_bind().dialect.name == "postgresql":  # SQLite has no other clock
            now = min(now, session.scalars(select(func.now())).one())
        return prune_batch(session, rules, now - age, now=now)


def prune_round(database: Transactions, rules: Sequence[Rule], now: dt.datetime) -> bool:
    """One round of a service's loop; True when there may be more."""
    gone = prune_some(database, rules, now, RETENTION)
    return max(gone.values(), default=0) >= BATCH


def parse_age(text: str) -> dt.timedelta:
    """`90d`; raises ValueError for less than `SHORTEST`."""
    found = re.fullmatch(r"(\d{1,4})d", text.strip())
    if not found:
        raise ValueError("expected a number of days, such as 90d")
    age = dt.timedelta(days=int(found[1]))
    if age < SHORTEST:
        raise ValueError(
            f"at least {SHORTEST.days}d: what could still come again must still be known"
        )
    return age
