"""Migrating a real database: while it is still coming up, two at once, and on a table that is being written to."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local.processes import Process
from local.servers import PostgreSQL
from shared.migrations import upgrade
from tests.faults.proxy import Proxy
from tests.fixtures.listener import eventually
from tests.fixtures.servers import REPOSITORY

OTHER_LOCKS_SECONDS = 5
"""`lock_timeout` of each connection (shared/database.py)."""
INDEX = "ix_inbox_next_release"
NEXT_RELEASE = f'''"""An index that the next release wants."""
from shared.migrations import create_index

revision = "9999"
down_revision = {{newest!r}}
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("{INDEX}", "inbox", ["type"])
'''

Migrating = Callable[[str], Process]


@pytest.fixture
def next_release(tmp_path: Path) -> Migrating:
    """`next_release(url)`: billing's command line of a release with one more migration, on the database at `url`."""
    code = tmp_path / "next"
    for room in ("shared", "services"):
        shutil.copytree(
            REPOSITORY / room, code / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    versions = code / "services" / "billing" / "migrations" / "versions"
    newest = max(path.name for path in versions.glob("*.py")).partition("_")[0]
    (versions / "9999_next_release.py").write_text(NEXT_RELEASE.format(newest=newest))

    def made(url: str) -> Process:
        return Process(
            "migrating",
            "services.billing",
            port=0,
            env={"BILLING_DATABASE_URL": url},
            log=tmp_path / "migrating.log",
            code=code,
        )

    return made


def index_is_valid(url: str) -> bool | None:
    """None where there is no such index."""
    with (
        contextlib.closing(psycopg2.connect(plain(url))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [INDEX]
        )
        found = cursor.fetchone()
    return found[0] if found else None


def plain(url: str) -> str:
    """The URL as libpq takes it."""
    return url.replace("postgresql+psycopg2://", "postgresql://")


@contextlib.contextmanager
def open_transaction(url: str) -> Iterator[Any]:
    """A connection that has written to the inbox and not committed: an index beside the writes waits for its end."""
    with contextlib.closing(psycopg2.connect(plain(url))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE inbox SET replays = 0")
        yield connection


def test_two_at_once_take_turns_around_an_index_beside_the_writes(
    next_release: Migrating, database: Callable[[str], str]
) -> None:
    """The second runner holds no snapshot while it waits: the first one's index, which waits for old snapshots, gets made."""
    url = database("billing")
    migrating = next_release(url)
    with open_transaction(url) as writer:
        first = migrating.command("migrate")
        eventually(lambda: index_is_valid(url) is False, within=30)
        second = migrating.command("migrate")
        eventually(lambda: "another migration" in migrating.log_text(), within=30)
        writer.commit()
    assert (first.wait(30), second.wait(30)) == (0, 0), migrating.log_text()
    assert index_is_valid(url) is True


def test_an_index_waits_for_old_transactions_however_long_they_take(
    next_release: Migrating, database: Callable[[str], str]
) -> None:
    """A backup may go on for longer than any other lock is waited for: the migration doesn't give up, and writes go on."""
    url = database("billing")
    migrating = next_release(url)
    with open_transaction(url) as old:
        runner = migrating.command("migrate")
        eventually(lambda: index_is_valid(url) is False, within=30)
        time.sleep(OTHER_LOCKS_SECONDS + 1)
        assert runner.running, migrating.log_text()
        old.commit()
    assert runner.wait(30) == 0, migrating.log_text()
    assert index_is_valid(url) is True


def test_an_index_that_was_cut_off_is_made_again(
    next_release: Migrating, database: Callable[[str], str]
) -> None:
    """A runner that is killed half-way leaves an index that no read uses; the next one doesn't take it for made."""
    url = database("billing")
    migrating = next_release(url)
    with open_transaction(url) as writer:
        first = migrating.command("migrate")
        eventually(lambda: index_is_valid(url) is False, within=30)
        first.kill()
        with writer.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'CREATE INDEX%' AND datname = current_database()"
            )
        writer.commit()
    assert index_is_valid(url) is False
    assert migrating.command("migrate").wait(30) == 0, migrating.log_text()
    assert index_is_valid(url) is True


def test_a_database_that_is_coming_up_is_waited_for(
    next_release: Migrating, database: Callable[[str], str], postgres: PostgreSQL
) -> None:
    """The reason is told once, and the waiting ends when it takes connections."""
    with Proxy(postgres.port) as proxy:
        proxy.refuse()
        url = database("billing").replace(f":{postgres.port}/", f":{proxy.port}/")
        migrating = next_release(url)
        waiting = migrating.command("wait-for-database")
        eventually(lambda: "waiting for the database" in migrating.log_text(), within=30)
        assert waiting.running
        proxy.open()
        assert waiting.wait(30) == 0
    assert migrating.log_text().count("waiting for the database") == 1


BEFORE_ACCOUNTS = {
    "billing": ("0008", "recovery_leases"),
    "portal": ("0011", "deleted_stripe_customers"),
    "notifier": ("0012", "deleted_customers"),
}
"""The revision before accounts, and a table that gets one."""


def files_of_tables(cursor: Any) -> dict[str, int]:
    """In which file each table lies: a table that is written anew gets another one."""
    cursor.execute(
        "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return dict(cursor.fetchall())


@pytest.mark.parametrize("service", BEFORE_ACCOUNTS)
def test_naming_the_account_rewrites_no_table(postgres: PostgreSQL, service: str) -> None:
    """However large a table is, it keeps its file. Where the migration was cut off between two tables, it goes on."""
    revision, table = BEFORE_ACCOUNTS[service]
    url = postgres.create_database(f"accounts_{service}")
    upgrade(service, url, revision)
    with contextlib.closing(psycopg2.connect(plain(url))) as connection:
        with connection, connection.cursor() as cursor:
            before = files_of_tables(cursor)
            cursor.execute(
                f"ALTER TABLE {table} ADD COLUMN account VARCHAR(255) NOT NULL DEFAULT ''"
            )
        upgrade(service, url)
        with connection, connection.cursor() as cursor:
            after = files_of_tables(cursor)
            cursor.execute(
                "SELECT count(*) FROM information_schema.columns WHERE column_name = 'account' AND table_schema = 'public'"
            )
            assert cursor.fetchone()[0] > 1  # more than the one that stood there
    assert before.items() <= after.items()
    postgres.drop_database(f"accounts_{service}")
