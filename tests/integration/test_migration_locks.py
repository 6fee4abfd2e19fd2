"""Migrations of a database that is worked on: each lets everybody pass, tries again, and costs nobody a page."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from local.servers import PostgreSQL
from shared import migrations
from shared.database import DatabaseUnavailable
from shared.migrations import SHORT_TRY_MS, upgrade
from shared.schema import needed
from tests.fixtures.story import eventually

BEFORE, REVISION = "0021", "0022"
FIRST, SECOND = "businesses", "invoices"
"""A migration of the portal's that changes two tables in one transaction, in this order."""
LOOKS_FOR_DEADLOCKS_SECONDS = 10
"""PostgreSQL's `deadlock_timeout` here: a busy machine may take the second of PostgreSQL's own for the rest."""
LOOKS_BY_ITSELF_MS = 1000
OLDEST = {"portal": "0011", "billing": "0008", "notifier": "0012"}
"""Where the release before stands."""
BUSIEST = {
    "portal": ("businesses", "customers", "invoices"),
    "billing": ("inbox", "payment_tries", "recoveries"),
    "notifier": ("notifications", "incidents", "processed_events"),
}
"""Tables that pages and events read and write, and migrations change."""
CALLERS = 8
PAGE_SECONDS = 0.1


@pytest.fixture
def made(postgres: PostgreSQL) -> Iterator[Callable[[str, str], str]]:
    """`made(service, revision)`: the URL of a database that stands there."""
    names: list[str] = []

    def database(service: str, revision: str) -> str:
        names.append(f"locks_{service}")
        url = postgres.create_database(names[-1])
        upgrade(service, url, revision)
        name = names[-1]
        postgres.execute(
            f"ALTER DATABASE {name} SET deadlock_timeout = '{LOOKS_FOR_DEADLOCKS_SECONDS}s'"
        )
        return url

    yield database
    for name in names:
        postgres.drop_database(name)


@contextlib.contextmanager
def transaction(url: str) -> Iterator[psycopg2.extensions.cursor]:
    """Somebody's transaction."""
    plain = url.replace("postgresql+psycopg2://", "postgresql://")
    with contextlib.closing(psycopg2.connect(plain)) as connection, connection.cursor() as cursor:
        yield cursor
        connection.commit()


def one(url: str, statement: str) -> object:
    """The one value that a statement gives."""
    with transaction(url) as look:
        look.execute(statement)
        (found,) = look.fetchone() or (None,)
    return found


def until_waited_for(url: str, table: str) -> None:
    waits = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    eventually(lambda: one(url, waits), what=f"a wait for {table}")


def test_a_page_in_the_way_of_a_migration_passes(made: Callable[[str, str], str]) -> None:
    """It has one of two tables, and wants the other, which the migration has: it gets it before PostgreSQL looks for a deadlock, and the
    migration gets both when the page has done."""
    url = made("portal", BEFORE)
    with ThreadPoolExecutor(1) as pool, transaction(url) as page:
        page.execute(f"SELECT count(*) FROM {SECOND}")
        migrating = pool.submit(upgrade, "portal", url, REVISION)
        until_waited_for(url, SECOND)
        began = time.monotonic()
        page.execute(f"SELECT count(*) FROM {FIRST}")
        waited = time.monotonic() - began
        page.connection.commit()
        assert migrating.result(30).after.revision == REVISION
    assert waited < LOOKS_FOR_DEADLOCKS_SECONDS
    assert SHORT_TRY_MS < LOOKS_BY_ITSELF_MS


def test_a_migration_that_a_deadlock_ended_tries_again(
    made: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PostgreSQL looks for deadlocks sooner than the migration gives way, and ends it for one."""
    url = made("portal", BEFORE)
    # It looks once in a wait: by then the page has to wait too.
    one(url, "ALTER DATABASE locks_portal SET deadlock_timeout = 1000; SELECT 1")
    monkeypatch.setattr(migrations, "SHORT_TRY_MS", 3000)
    with ThreadPoolExecutor(1) as pool, transaction(url) as page:
        page.execute("SET deadlock_timeout = '1min'")
        page.execute(f"SELECT count(*) FROM {SECOND}")
        migrating = pool.submit(upgrade, "portal", url, REVISION)
        until_waited_for(url, SECOND)
        page.execute(f"SELECT count(*) FROM {FIRST}")
        page.connection.commit()
        assert migrating.result(30).after.revision == REVISION
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    eventually(lambda: one(url, deadlocks), what="a deadlock")


def test_a_table_that_is_never_let_go_ends_it_and_leaves_nothing_half(
    made: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump that takes hours: the migration gives up with a word, is undone whole, and passes when it is run again afterwards."""
    url = made("portal", BEFORE)
    monkeypatch.setattr(migrations, "SHORT_TRIES", 3)
    columns = f"SELECT count(*) FROM pg_attribute WHERE attrelid = '{FIRST}'::regclass"
    before = one(url, columns)
    with transaction(url) as dump:
        dump.execute(f"LOCK TABLE {SECOND} IN ACCESS SHARE MODE")
        with pytest.raises(DatabaseUnavailable, match="run it again"):
            upgrade("portal", url, REVISION)
        assert one(url, columns) == before
        assert one(url, "SELECT version_num FROM alembic_version") == BEFORE
    assert upgrade("portal", url, REVISION).before.revision == BEFORE
    assert one(url, "SELECT version_num FROM alembic_version") == REVISION


@pytest.mark.parametrize("service", OLDEST)
def test_a_release_of_migrations_costs_nobody_a_page(
    service: str, made: Callable[[str, str], str]
) -> None:
    """All since the release before and the step after the roll, while transactions read and write two tables, in any order."""
    url = made(service, OLDEST[service])
    pairs = list(itertools.permutations(BUSIEST[service], 2))
    ended = threading.Event()
    waits: list[float] = []
    errors: list[psycopg2.Error] = []

    def open_pages(seed: int) -> None:
        chosen = random.Random(seed)
        with transaction(url) as page:
            while not ended.is_set():
                began = time.monotonic()
                try:
                    for table in chosen.choice(pairs):
                        mode = chosen.choice(("ACCESS SHARE", "ROW EXCLUSIVE"))
                        page.execute(f"LOCK TABLE {table} IN {mode} MODE")
                        ended.wait(PAGE_SECONDS)
                    page.connection.commit()
                except psycopg2.Error as error:
                    errors.append(error)
                    page.connection.rollback()
                waits.append(time.monotonic() - began)

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(open_pages, seed) for seed in range(CALLERS)]
        try:
            assert upgrade(service, url).after.revision == needed(service)
            assert upgrade(service, url, after_roll=True).after.contracted
        finally:
            ended.set()
        for caller in callers:
            caller.result(30)
    print(f"{service}: {len(waits):,} pages, the longest {max(waits) * 1000:.0f} ms")
    assert errors == []
    assert max(waits) < LOOKS_FOR_DEADLOCKS_SECONDS
