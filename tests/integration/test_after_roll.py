"""The step after the roll: keys of Stripe objects with the account in them, on a real database that is written to."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Integer, MetaData, Table, event, inspect, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from local.processes import Process
from local.servers import PostgreSQL
from services.billing.models import InboxEvent
from services.billing.queries import customer_leases, erasure, inbox, payment_method_changes
from services.notifier.queries import incidents, suppressions
from services.portal.queries import invoices, links, subscriptions
from shared.contracts.accounts import OWN, Account, StripeId
from shared.database import make_engine
from shared.migrations import SHORT_TRY_MS, upgrade
from shared.retention import prune_batch
from shared.schema import look, needed
from tests.unit.test_accounts import SERVICES, value_of

OLD_KEYS = {
    "billing": {
        "inbox": "id",
        "recovery_leases": "stripe_customer_id",
        "recovery_runs": "stripe_customer_id, payment_method_id, scope",
        "portal_configurations": "key, livemode",
        "portal_permissions": "configuration_id",
        "reconciliations": "name",
    },
    "portal": {
        "invoices": "invoice_id",
        "subscriptions": "subscription_id",
        "method_changes": "stripe_customer_id, subscription_id",
        "deleted_stripe_customers": "stripe_customer_id",
    },
    "notifier": {"incidents": "invoice_id", "deleted_customers": "stripe_customer_id"},
}
"""By which columns statements of the release before find a row that is there already: `ON CONFLICT (…)`."""
KEYS_OF_OURS = frozenset(
    {
        *(("id",), ("public_id",), ("business_id",), ("business_pk", "external_id")),
        *(("request_id",), ("notification_id",), ("dedupe_key",), ("attempt_key",)),
        *(("hook_event_id",), ("event_id",), ("position",)),
    }
)
"""Unique columns that no id of Stripe's stands in, but behind its account."""
STRIPES_ID = frozenset({"inbox", "payment_method_changes", "payment_method_change_events"})
"""Tables whose `id`, or `event_id`, is Stripe's."""
FROM_THE_START = frozenset(
    {
        *("platform_refusals", "account_states", "stripe_reads", "keyed_accounts"),
        *("stripe_imports", "stripe_import_customers", "stripe_profiles", "link_proposals"),
    }
)
"""Tables that the release before doesn't know, with the account in their keys."""
MANY = 4_000
PATIENCE = 60.0
services = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def side_by_side(postgres: PostgreSQL) -> Iterator[Callable[[str], str]]:
    """`side_by_side(service)`: the name of a database as it stands while two releases run, to be copied."""
    made: dict[str, str] = {}

    def template(service: str) -> str:
        if service not in made:
            made[service] = f"side_by_side_{service}"
            upgrade(service, postgres.create_database(made[service]), needed(service))
        return made[service]

    yield template
    for name in made.values():
        postgres.drop_database(name)


@pytest.fixture
def rolled(
    postgres: PostgreSQL, side_by_side: Callable[[str], str]
) -> Iterator[Callable[[str], str]]:
    """`rolled(service)`: the URL of a database as it stands while two releases run side by side."""
    made: list[str] = []

    def fresh(service: str) -> str:
        made.append(f"rolled_{service}")
        return postgres.create_database(made[-1], side_by_side(service))

    yield fresh
    for name in made:
        postgres.drop_database(name)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def row_of(table: Table, number: int, account: str) -> dict[str, Any]:
    """A row whose ids of Stripe's are those of every other row; keys of ours are its own."""
    row = {column.name: value_of(column, 0, {}) for column in table.columns}
    ours = {name for key in KEYS_OF_OURS for name in key if name in row and len(key) == 1}
    if table.name in STRIPES_ID:
        ours -= {"id", "event_id"}
    if table.name == "customers":
        ours |= {"external_id"}
    for name in ours:
        whole = isinstance(table.c[name].type, Integer)
        row[name] = number if whole else f"{name[:8]}{number}"
    return row | ({"account": account} if "account" in row else {})


def unique_keys(engine: Engine) -> dict[str, list[tuple[str, ...]]]:
    """The columns of every unique index, by table, as the database has them."""
    found: dict[str, list[tuple[str, ...]]] = {}
    with engine.connect() as connection:
        for table, columns in connection.execute(
            text(
                "SELECT indrelid::regclass::text, array_agg(attname::text ORDER BY place) FROM pg_index "
                "CROSS JOIN unnest(indkey::int[]) WITH ORDINALITY AS part (attnum, place) "
                "JOIN pg_attribute ON attrelid = indrelid AND pg_attribute.attnum = part.attnum "
                "JOIN pg_class ON pg_class.oid = indrelid AND relnamespace = 'public'::regnamespace "
                "WHERE indisunique GROUP BY indexrelid, indrelid"
            )
        ):
            found.setdefault(table, []).append(tuple(columns))
    return found


@services
def test_before_it_statements_of_the_release_before_find_their_keys(
    service: str, rolled: Callable[[str], str]
) -> None:
    """And after it they would not: so it waits for the end of the roll."""
    url = rolled(service)

    def found(table: str, key: str) -> bool:
        statement = (
            f"EXPLAIN INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO NOTHING"
        )
        with opened(url) as engine, engine.connect() as connection:
            try:
                connection.execute(text(statement))
            except ProgrammingError:  # no unique or exclusion constraint matches
                return False
        return True

    assert all(found(*one) for one in OLD_KEYS[service].items())
    upgrade(service, url)
    assert all(found(*one) for one in OLD_KEYS[service].items())
    upgrade(service, url, after_roll=True)
    assert not any(found(*one) for one in OLD_KEYS[service].items())


@services
def test_after_it_the_account_comes_first_in_every_key(
    service: str, rolled: Callable[[str], str]
) -> None:
    """Read from the database, so that no table can be forgotten; and the tables are those of the models."""
    url, metadata = rolled(service), SERVICES[service].metadata
    upgrade(service, url, after_roll=True)
    with opened(url) as engine:
        keys = unique_keys(engine)
        for table in metadata.sorted_tables:
            if "account" not in table.c:
                continue
            for key in keys[table.name]:
                ours = key in KEYS_OF_OURS and table.name not in STRIPES_ID
                assert ours or key[0] == "account", f"{table.name}: {key}"
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            for table in metadata.sorted_tables:
                keyed = inspect(connection).get_pk_constraint(table.name)
                assert keyed["name"] == f"pk_{table.name}"
                assert keyed["constrained_columns"] == table.primary_key.columns.keys()


@services
def test_two_accounts_have_objects_of_one_id(service: str, rolled: Callable[[str], str]) -> None:
    """Each table takes a row of each account, and refuses the same object twice; before the step it takes one alone."""
    url, metadata = rolled(service), SERVICES[service].metadata
    tables = [one for one in metadata.sorted_tables if "account" in one.c]
    tables = [one for one in tables if one.name not in ("businesses", "stripe_accounts")]

    def takes(table: Table, number: int, account: str) -> bool:
        with engine.begin() as connection:
            try:
                connection.execute(table.insert(), row_of(table, number, account))
            except IntegrityError:
                return False
        return True

    free = {"notifications", "link_evidence", "hook_events", "host_events"}
    with opened(url) as engine:
        if service == "portal":
            with engine.begin() as connection:
                business = metadata.tables["businesses"]
                connection.execute(business.insert(), row_of(business, 1, ""))
        for table in tables:
            assert takes(table, 1, ""), table.name
            takes_it = table.name in free | FROM_THE_START
            assert takes(table, 2, "acct_1") is takes_it, table.name
        upgrade(service, url, after_roll=True)
        for table in tables:
            if table.name not in free:
                assert table.name in FROM_THE_START or takes(table, 2, "acct_1"), table.name
                assert not takes(table, 3, "acct_1"), table.name


class CutOff(Exception):
    """The process is killed here."""


@services
def test_cut_off_anywhere_it_goes_on(service: str, rolled: Callable[[str], str]) -> None:
    """A run that ends before any of its statements leaves what the next one takes up; rows are as they were."""
    url, metadata = rolled(service), SERVICES[service].metadata
    fill(url, metadata)
    with opened(url) as engine:
        before = contents(engine, metadata)
    left = 0

    def count(*ignored: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise CutOff

    runs = 0
    for allowed in itertools.count(5, 3):
        left, runs = allowed, runs + 1
        event.listen(Engine, "before_cursor_execute", count)
        try:
            upgrade(service, url, after_roll=True)
            break
        except CutOff:
            continue
        finally:
            event.remove(Engine, "before_cursor_execute", count)
    assert runs > 5
    with opened(url) as engine:
        assert contents(engine, metadata) == before
        with engine.connect() as connection:
            assert look(connection, service).contracted
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
            assert connection.scalar(text(invalid)) == 0


def fill(url: str, metadata: MetaData) -> None:
    """A row in every table; the inbox has one of the release before as well, whose account is NULL."""
    with opened(url) as engine, engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name != "schema_owner":
                connection.execute(table.insert(), row_of(table, 1, ""))
        if "inbox" in metadata.tables:
            connection.execute(
                text(
                    "INSERT INTO inbox (id, type, account, received_at, status, payload) "
                    "SELECT 'old' || id, type, NULL, received_at, status, payload FROM inbox"
                )
            )


def contents(engine: Engine, metadata: MetaData) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: sorted(
                repr(tuple(row)).replace("None", "''") for row in connection.execute(select(table))
            )
            for table in metadata.sorted_tables
        }


def test_two_runners_take_turns(rolled: Callable[[str], str], tmp_path: Path) -> None:
    """Both end well, and each says what it found to do."""
    url = rolled("notifier")
    running = Process(
        "migrating",
        "services.notifier",
        port=0,
        env={"NOTIFIER_DATABASE_URL": url},
        log=tmp_path / "migrating.log",
    )
    both = [running.command("migrate", "--after-roll") for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0], running.log_text()
    assert running.log_text().count("nothing to migrate") == 1
    with opened(url) as engine, engine.connect() as connection:
        assert look(connection, "notifier").contracted


def test_who_reads_is_held_up_for_a_moment_at_most(rolled: Callable[[str], str]) -> None:
    """While a long transaction keeps a table from being changed, the step lets everybody else pass between its tries: whoever had to
    wait for it gets through, again and again, within the limit that a page's own connection sets."""
    url = rolled("notifier")
    passed = 0
    with opened(url) as engine, ThreadPoolExecutor(1) as pool:
        with engine.connect() as reader, engine.begin() as old:
            old.execute(text("LOCK TABLE incidents IN ACCESS SHARE MODE"))
            step = pool.submit(upgrade, "notifier", url, after_roll=True)
            end = time.monotonic() + PATIENCE
            while passed < 3:
                assert time.monotonic() < end, "the step never waited"
                began = time.monotonic()
                reader.execute(text("SELECT count(*) FROM incidents"))
                reader.commit()
                passed += passed > 0 or time.monotonic() - began > SHORT_TRY_MS / 2000
            assert not step.done()
        assert step.result(PATIENCE).after.contracted


def test_downgrading_gives_the_old_keys_back(rolled: Callable[[str], str]) -> None:
    """By alembic, for whoever has to go back behind it and has one account."""
    from alembic import command

    from shared.migrations import _config

    for service in SERVICES:
        url = rolled(service)
        with opened(url) as engine:
            before = {table: sorted(keys) for table, keys in unique_keys(engine).items()}
            upgrade(service, url, after_roll=True)
            config = _config(service)
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                command.downgrade(config, needed(service))
                connection.commit()
            assert {table: sorted(keys) for table, keys in unique_keys(engine).items()} == before


# --- what is asked often ---------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
ONE = "1234"


def named(kind: str) -> StripeId:
    return StripeId(OWN, f"{kind}_{ONE}")


HOT: dict[str, list[tuple[str, Callable[[Session], Any]]]] = {
    "billing": [
        ("inbox", lambda s: inbox.count_deliveries(s, {named("evt"): 1}, NOW)),
        ("inbox", lambda s: inbox.inbox_event(s, named("evt"))),
        ("inbox", lambda s: erasure.erase_inbox(s, OWN, ["cus_1"], "evt_5", 100)),
        ("payment_method_changes", lambda s: payment_method_changes.change(s, named("evt"))),
        ("recovery_leases", lambda s: customer_leases.release_lease(s, named("cus"), "me")),
    ],
    "portal": [
        ("invoices", lambda s: invoices.known_invoice(s, named("in"))),
        ("subscriptions", lambda s: subscriptions.state_of(s, named("sub"))),
        ("deleted_stripe_customers", lambda s: links.deleted_of(s, OWN, ["cus_1"])),
    ],
    "notifier": [
        ("incidents", lambda s: incidents.lock_incidents(s, [named("in")])),
        ("incidents", lambda s: incidents.lock_known_incident(s, named("in"))),
        ("deleted_customers", lambda s: suppressions.deleted_customers(s, {named("cus")})),
    ],
}
PREFIXES = {
    "id": "evt",
    "invoice_id": "in",
    "subscription_id": "sub",
    "stripe_customer_id": "cus",
}


@services
def test_what_is_asked_often_still_uses_an_index(
    service: str, rolled: Callable[[str], str]
) -> None:
    """Among many rows none of these reads its table from end to end, before the step and after it. (What pages, links and emails ask
    after it: test_plans.py.)"""
    url, metadata = rolled(service), SERVICES[service].metadata
    with opened(url) as engine:
        for name in {table for table, _ in HOT[service]}:
            many(engine, metadata.tables[name])
        for contracted in (False, True):
            if contracted:
                upgrade(service, url, after_roll=True)
            with engine.begin() as connection:
                for name in {table for table, _ in HOT[service]}:
                    connection.execute(text(f"ANALYZE {name}"))
            for table, ask in HOT[service]:
                with Session(engine) as session:
                    before = scans(session, table)
                    ask(session)
                    after = scans(session, table)
                whole, by_index = after[0] - before[0], after[1] - before[1]
                if (table, contracted) == ("inbox", False) and whole == 1:
                    continue  # whether a row without an account is there: none here
                assert whole == 0, f"{table} {contracted} {ask.__code__.co_names}"
                assert by_index > 0, table


def scans(session: Session, table: str) -> tuple[int, int]:
    """How often this connection has read the table from end to end, and how often by an index, since the server was last told:
    what was before this transaction may be among it."""
    found = session.execute(
        text("SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = :table"),
        {"table": table},
    ).one()
    return found[0], found[1]


def many(engine: Engine, table: Table) -> None:
    rows = []
    for number in range(MANY):
        row = {column.name: value_of(column, number, {}) for column in table.columns}
        row |= {name: f"{kind}_{number}" for name, kind in PREFIXES.items() if name in row}
        if table.name == "subscriptions":
            row["id"] = number
        rows.append(row | {"account": ""})
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)


def test_old_rows_of_the_inbox_are_found_changed_and_forgotten_before_the_step(
    rolled: Callable[[str], str],
) -> None:
    """A row whose account is NULL is the own account's: an operator's replay writes it, and retention deletes it."""
    from services.billing.retention import RULES

    url = rolled("billing")
    with opened(url) as engine:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO inbox (id, type, account, received_at, status, payload) VALUES "
                    "('evt_1', 't', NULL, '2026-01-01Z', 'ignored', ''), ('evt_2', 't', NULL, '2026-01-01Z', 'ignored', '')"
                )
            )
        with Session(engine) as session, session.begin():
            found = inbox.inbox_event(session, StripeId(OWN, "evt_1"), lock=True)
            assert found is not None
            found.replays += 1
        with Session(engine) as session, session.begin():
            assert inbox.inbox_event(session, StripeId(Account("acct_1"), "evt_1")) is None
            assert {one.id for one in session.scalars(select(InboxEvent))} == {"evt_1", "evt_2"}
            assert prune_batch(session, RULES, NOW)["inbox"] == 2
