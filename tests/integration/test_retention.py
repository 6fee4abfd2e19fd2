"""What a service's loop forgets on PostgreSQL, which has a clock of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from local.servers import PostgreSQL
from services.billing.models import InboxEvent
from services.billing.retention import RULES
from shared.clock import utc_now
from shared.database import Transactions, make_engine
from shared.retention import RETENTION, prune_round


@pytest.fixture
def database(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Transactions]:
    url = postgres.create_database("retention", template=migrated("billing"))
    made = Transactions(make_engine(url), "billing")
    yield made
    made.engine.dispose()
    postgres.drop_database("retention")


@pytest.mark.parametrize("years", [0, 10])
def test_a_clock_that_is_ahead_deletes_nothing_that_is_new(
    database: Transactions, years: int
) -> None:
    """What is old by the database's clock too goes all the same."""
    now = utc_now()
    with database.transaction() as session:
        for name, at in (("new", now), ("old", now - RETENTION - dt.timedelta(days=1))):
            session.add(InboxEvent(id=f"evt_{name}", type="t", received_at=at, status="translated", payload=""))  # fmt: skip
    prune_round(database, RULES, now + dt.timedelta(days=365 * years))
    with database.reading() as session:
        assert session.scalars(select(InboxEvent.id)).all() == ["evt_new"]
