"""Growth: what webhooks ask of the database goes by indexes, among 200,000 events of which most are delivered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.notifier.domain.hook_shares import Rotation
from services.notifier.handlers import hooks
from services.notifier.queries import hook_deliveries, hook_events
from shared.contracts.accounts import OWN, StripeId
from tests.integration.test_plans import full_scans
from tests.unit.notifier.conftest import failed

NOW = dt.datetime.now(dt.UTC)
SIZES = {"rows": 200_000, "due": 500, "endpoints": 20}
STATEMENTS = (
    "INSERT INTO hook_endpoints (endpoint_id, url, event_types, enabled, generation, created_at, failures) "
    "SELECT 'whe_' || n, 'https://hooks.example.com/', '[]', true, 1, now(), 0 FROM generate_series(0, %(endpoints)s - 1) AS n",
    "INSERT INTO hook_events (hook_event_id, event_id, type, occurred_at, object_type, object_id, version, stripe_customer_id, "
    "portal_customer_id, correlation_id, traceparent, received_at, lookups, due_at) SELECT 'evh_' || n, 'evt_' || n, 'invoice.paid', now(), "
    "'invoice', 'in_' || n, n, 'cus_' || n, 'c' || n, '', '', now() - interval '1 minute' * (%(rows)s - n) / 10, 0, "
    "CASE WHEN n > %(rows)s - %(due)s THEN now() END FROM generate_series(1, %(rows)s) AS n",
    "INSERT INTO hook_deliveries (endpoint_id, hook_event_id, status, due_at, attempts, created_at) "
    "SELECT 'whe_' || n %% %(endpoints)s, 'evh_' || n, CASE WHEN n > %(rows)s - %(due)s THEN 'pending' ELSE 'delivered' END, now(), 1, now() "
    "FROM generate_series(1, %(rows)s) AS n",
    "INSERT INTO hook_attempts (endpoint_id, hook_event_id, at, status, milliseconds) "
    "SELECT 'whe_' || n %% %(endpoints)s, 'evh_' || n, now(), 200, 3 FROM generate_series(1, %(rows)s) AS n",
)


@pytest.fixture(scope="module")
def notifier(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    url = postgres.create_database("hook_plans", template=migrated("notifier"))
    with postgres.connection("hook_plans") as connection, connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement, SIZES)
        cursor.execute("ANALYZE")
    engine = create_engine(url)
    yield engine
    engine.dispose()
    postgres.drop_database("hook_plans")


def _lease(session: Session) -> None:
    later = NOW + dt.timedelta(hours=1)
    assert len(hook_deliveries.lease_due(session, later, 8, {})) == 8


def _tell(session: Session) -> None:
    later = NOW + dt.timedelta(hours=1)
    found = hook_events.untold(session, later, 200)
    assert len(hook_events.lock_untold(session, [one.hook_event_id for one in found], later)) == 200


def _attempts(session: Session) -> None:
    assert len(hook_deliveries.attempts(session, "whe_3", 51, None, None)) == 51
    assert len(hook_deliveries.attempts(session, "whe_3", 51, None, "evh_3")) == 1


def _forget(session: Session) -> None:
    assert hook_events.erase_customer(session, StripeId(OWN, "cus_7"), "c7") == 3


@pytest.mark.parametrize(
    "work",
    [
        _lease,
        _tell,
        _attempts,
        _forget,
        lambda session: hook_deliveries.backlog(session, NOW),
        lambda session: hooks.record_events(session, [failed("evt_new")], NOW),
    ],
    ids=["lease", "tell", "attempts", "forget", "backlog", "record"],
)
def test_no_whole_table_is_read(notifier: Engine, work: Callable[[Session], Any]) -> None:
    """There are few endpoints; of everything else there is much."""
    assert full_scans(notifier, work, {"hook_endpoints"}) == []


MANY_ENDPOINTS = (
    "INSERT INTO hook_endpoints (endpoint_id, business_id, url, event_types, enabled, generation, created_at, failures) "
    "SELECT 'whe_of_' || n, 'business-' || lpad(n::text, 5, '0'), 'https://hooks.example.com/', '[]', true, 1, now(), 0 "
    "FROM generate_series(1, 10000) AS n",
    "INSERT INTO hook_deliveries (endpoint_id, hook_event_id, status, due_at, attempts, created_at) "
    "SELECT 'whe_of_' || n, 'evh_' || of_one, 'pending', now(), 1, now() FROM generate_series(1, 10000) AS n, generate_series(1, 10) AS of_one",
    "ANALYZE",
)


def test_whose_turn_it_is_is_found_by_indexes_among_many_endpoints(
    notifier: Engine, postgres: PostgreSQL
) -> None:
    """Ten thousand businesses have an endpoint, and at each ten events are due, as after an outage: neither all endpoints nor all that is
    due is read, wherever the turn is."""
    with postgres.connection("hook_plans") as connection, connection.cursor() as cursor:
        for statement in MANY_ENDPOINTS:
            cursor.execute(statement)
    later = NOW + dt.timedelta(hours=1)
    for after in ("", "business-05000", "business-10000"):
        rotation = Rotation()
        rotation.after = after

        def lease(session: Session, rotation: Rotation = rotation) -> None:
            assert hook_deliveries.lease_due(session, later, 8, {}, rotation=rotation)

        assert full_scans(notifier, lease, set()) == []
