"""Endpoints are made by several requests at the same moment, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.notifier.domain.hook_signing import Signer
from services.notifier.handlers import hooks
from services.notifier.handlers.hooks import MOST_ENDPOINTS, HookRules
from shared.clock import utc_now
from shared.contracts.rpc.errors import InvalidArgument
from shared.database import Transactions, make_engine
from tests.fixtures.story import eventually

RULES = HookRules(Signer(["k" * 32]))


@pytest.fixture
def database(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Transactions]:
    url = postgres.create_database("hooks_at_once", template=migrated("notifier"))
    made = Transactions(make_engine(url), "notifier")
    yield made
    made.engine.dispose()
    postgres.drop_database("hooks_at_once")


def create(session: Session) -> None:
    hooks.create(
        session, RULES, url="https://hooks.example.com/", business_id="sunrise", event_types=[], now=utc_now()
    )  # fmt: skip


def test_a_business_has_no_more_endpoints_however_many_it_asks_for_at_once(
    database: Transactions,
) -> None:
    """A request waits for whoever is about to make one, and counts it."""
    for _ in range(MOST_ENDPOINTS - 1):
        with database.transaction() as session:
            create(session)

    def another() -> None:
        with database.transaction() as session:
            create(session)

    def waits() -> bool:
        with database.reading() as session:
            found = session.scalars(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).one()
        return bool(found)

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            create(session)
            made = pool.submit(another)
            eventually(lambda: made.done() or waits())
        with pytest.raises(InvalidArgument, match="delete one"):
            made.result(timeout=30)
