"""What a service's loop forgets on PostgreSQL, which has a clock of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from local.servers import PostgreSQL
from services.billing.models import InboxEvent
from services.billing.retention import RULES
from shared.clock import utc_now
from shared.database import Transactions, make_engine
from shared.nameko_ext import pruning
from shared.retention import RETENTION, prune_round
from shared.settings import Secret


@pytest.fixture
def database(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Transactions]:
    url = postgres.create_database("retention", template=migrated("billing"))
    made = Transactions(make_engine(url), "billing")
    yield made
    made.engine.dispose()
    postgres.drop_database("retention")


Prune = Callable[[Transactions, dt.datetime], None]


def by_loop(database: Transactions, now: dt.datetime) -> None:
    """A round of the service's own."""
    prune_round(database, RULES, now)


def by_hand(database: Transactions, now: dt.datetime) -> None:
    """`python -m services.billing prune`, on a machine whose clock says `now`."""
    url = database.engine.url.render_as_string(hide_password=False)
    with pytest.MonkeyPatch.context() as machine:
        machine.setattr(pruning, "utc_now", lambda: now)
        settings: Any = SimpleNamespace(database_url=Secret(url))
        assert pruning.prune_command("billing", RULES)(settings, ["--older-than", "90d"]) == 0


@pytest.mark.parametrize("prune", [by_loop, by_hand])
@pytest.mark.parametrize("years", [0, 10])
def test_a_clock_that_is_ahead_deletes_nothing_that_is_new(
    database: Transactions, years: int, prune: Prune
) -> None:
    """What is old by the database's clock too goes all the same."""
    now = utc_now()
    with database.transaction() as session:
        for name, at in (("new", now), ("old", now - RETENTION - dt.timedelta(days=1))):
            session.add(InboxEvent(id=f"evt_{name}", type="t", received_at=at, status="translated", payload=""))  # fmt: skip
    prune(database, now + dt.timedelta(days=365 * years))
    with database.reading() as session:
        assert session.scalars(select(InboxEvent.id)).all() == ["evt_new"]
