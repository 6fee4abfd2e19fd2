"""Alembic without an ini file: one history a service, under `services/<service>/migrations`.

Migrations are run by a command (`python -m services.<service> migrate`), never by a replica at its start. Those that are marked
`AFTER_ROLL` (`shared.schema`) wait for a second one, `migrate --after-roll`, except in a database that is empty.

They run under traffic. Whoever changes a table has it for itself, and all that want it wait behind who waits for it. So a migration waits for
a lock for less time than anybody notices (`SHORT_TRY_MS`), lets everybody pass, and tries again. That is also less than the second after which
PostgreSQL looks for deadlocks (`deadlock_timeout`), of which it would end a page's transaction as soon as the migration's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from alembic import command, context, op
from alembic.config import Config
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from sqlalchemy import Connection, MetaData, event, inspect, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from shared.database import DatabaseUnavailable, make_engine
from shared.database_errors import reason_of
from shared.schema import ROOT, Schema, Standing, look, needed, revisions
from shared.settings import SettingsError
from shared.telemetry import get_logger

log = get_logger(__name__)

T = TypeVar("T")

WAIT_SECONDS: Final = 1500.0
WAIT_POLL_SECONDS: Final = 1.0
LOCK = 0x506F7274  # two migration jobs at once take turns (PostgreSQL advisory lock)
TURN_POLL_SECONDS: Final = 0.5
SHORT_TRY_MS: Final = 300
"""How long a transaction of a migration waits for locks: each statement for what those before it have left of that, since what is locked
already keeps others waiting."""
SHORTEST_TRY_MS: Final = 20
SHORT_TRIES: Final = 200
"""Two minutes in all."""
LOCK_LOST: Final = ("55P03", "40P01")
"""It was not to be had in time, or waiting for it closed a circle: what was done is undone, and another try may pass."""
FILL_BATCH: Final = 1000


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services" / service / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


class Upgrade(NamedTuple):
    """How a database was found, and how it was left."""

    before: Schema
    after: Schema


class NotUpgraded(SettingsError):
    """What runs after the roll was asked for before the rest. The text says what to run."""


def upgrade(
    service: str, url: str, revision: str | None = None, *, after_roll: bool = False
) -> Upgrade:
    """Bring the database of `service` at `url` to `revision`. Safe to run twice, and by two at once.

    Without a revision: as far as this release needs it; an empty one to the end, since no replica of a release before works on
    it. `after_roll`: what was left to do then. A database that is AHEAD is left as it is. Raises WrongOwner and NotUpgraded,
    having changed nothing; DatabaseUnavailable when a table was not to be had, with the migrations before that one done.
    """
    config = _config(service)
    before: Schema | None = None

    def go_on() -> Upgrade:
        nonlocal before
        with _turn(url) as connection:
            found = look(connection, service)
            connection.commit()  # the lock stays, and each migration begins a transaction of its own
            before = before or found
            found.refuse_wrong_owner()
            if after_roll and found.problem is not None:
                raise NotUpgraded(
                    f"{found.problem}, and `migrate --after-roll` once every replica runs this release"
                )
            if found.standing is not Standing.AHEAD:
                config.attributes["connection"] = connection
                to_the_end = after_roll or found.standing is Standing.EMPTY
                end = revisions(service)[-1] if to_the_end else needed(service)
                if revision is not None or (found.revision or "") < end:
                    command.upgrade(config, revision or end)
            connection.commit()
            left = look(connection, service)
            connection.commit()
            return Upgrade(before, left)

    return _in_tries(go_on)


def _in_tries(work: Callable[[], T]) -> T:
    """Do something that waits for locks, again where it lost one. Raises DatabaseUnavailable where others would not let go of one."""
    for left in reversed(range(SHORT_TRIES)):
        try:
            return work()
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) not in LOCK_LOST:
                raise
            lost = error
        if left == SHORT_TRIES - 1:
            log.info("a table is in use: it is tried again", error=str(lost.orig).strip())
        if left:
            time.sleep(SHORT_TRY_MS / 1000)
    raise DatabaseUnavailable(
        "somebody keeps a table from being changed, by a transaction that does not end (a dump, a session that somebody left open): "
        "see pg_locks, and run it again. It goes on where it was"
    ) from lost


@contextmanager
def _turn(url: str) -> Iterator[Connection]:
    """A connection to migrate on, and nobody else does meanwhile."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                _take_turn(connection)
                _wait_shortly(connection)
            yield connection
    finally:
        engine.dispose()  # the connection ends, and the lock with it


def _wait_shortly(connection: Connection) -> None:
    """Let each transaction wait for its locks for `SHORT_TRY_MS` in all, counted from the first statement that takes any."""
    holds_since: float | None = None

    @event.listens_for(connection, "before_cursor_execute")
    def limit(_: Connection, cursor: Any, statement: str, *ignored: Any) -> None:
        nonlocal holds_since
        driver = cursor.connection
        if driver.get_transaction_status() != TRANSACTION_STATUS_INTRANS:
            holds_since = None
        if driver.autocommit or statement.lstrip().startswith("SELECT"):
            return  # each waits by itself; what reads holds nobody up
        if holds_since is None:
            holds_since = time.monotonic()
            return
        left = SHORT_TRY_MS - 1000 * (time.monotonic() - holds_since)
        cursor.execute(f"SET LOCAL lock_timeout = {max(SHORTEST_TRY_MS, int(left))}")


def _take_turn(connection: Connection) -> None:
    """Hold `LOCK` from now on, for as long as the connection stands; whoever comes second asks until it is free.

    Each question is a transaction of its own. One that waited inside `pg_advisory_lock` would hold a snapshot, for which CREATE INDEX
    CONCURRENTLY of the first runner waits in turn: a deadlock
    (https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY).
    """
    level = connection.get_isolation_level()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text(f"SET lock_timeout = {SHORT_TRY_MS}"))
    told = False
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})")):
        if not told:
            log.info("waiting for another migration to end")
            told = True
        connection.commit()
        time.sleep(TURN_POLL_SECONDS)
    connection.commit()
    connection.execution_options(isolation_level=level)


def create_index(name: str, table: str, columns: Sequence[Any], **options: Any) -> None:
    """For a migration: an index on a table that is being written to. PostgreSQL makes it beside the writes (CONCURRENTLY), which no
    transaction may hold: what the migration did before it is committed, so let it stand first, or alone. `options` are alembic's.

    It waits for all transactions that had begun before, a backup's of hours too, and holds nobody up meanwhile: so for as long as they
    take. A try that was cut off leaves an index that is not valid, which writes keep up and
    no read uses; it is dropped and made again.
    """
    migration = op.get_context()
    if migration.dialect.name != "postgresql":
        op.create_index(name, table, columns, if_not_exists=True, **options)
        return
    with migration.autocommit_block(), _waiting_beside():
        half_made = text(
            "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
        )
        if op.get_bind().scalar(half_made, {"name": name}):
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(
            name, table, columns, if_not_exists=True, postgresql_concurrently=True, **options
        )


@contextmanager
def _waiting_beside() -> Iterator[None]:
    """What waits for its locks in here holds nobody up, so it waits for as long as it takes."""
    op.execute("SET lock_timeout = 0")
    yield
    op.execute(f"SET lock_timeout = {SHORT_TRY_MS}")  # after an error the connection ends


def replace_key(
    table: str, old: str, columns: Sequence[str], new: str | None = None, **options: Any
) -> None:
    """For a migration: the primary key, unique constraint or unique index `old` of a table is over other columns from now on,
    which are not NULL; called `new` if that is given (of a primary key the name stays). `options` are those of a unique index.

    On PostgreSQL the index is made beside the writes, and takes the old one's place in one statement, which waits for its lock
    in short tries. So each time one of the two is in force. Cut off and run again, it goes on. On SQLite the table is written anew.
    """
    there = inspect(op.get_bind())
    primary = there.get_pk_constraint(table)
    is_primary = primary["name"] == old and new is None
    constraints = {one["name"] for one in there.get_unique_constraints(table)}
    unique = constraints | {one["name"] for one in there.get_indexes(table)}
    is_constraint = old in constraints
    name = new or old
    replaced = primary["constrained_columns"] == list(columns) if is_primary else old not in unique
    if replaced and (is_primary or name in unique):
        return
    if op.get_context().dialect.name != "postgresql":
        _write_anew(table, old, name, columns, is_primary, is_constraint, options)
        return
    if not is_primary and not is_constraint:
        create_index(name, table, columns, unique=True, **options)
        in_short_tries(f"DROP INDEX IF EXISTS {old}")
        return
    beside = f"{old}_anew" if is_primary else name
    kind = "PRIMARY KEY" if is_primary else "UNIQUE"
    create_index(beside, table, columns, unique=True)
    in_short_tries(
        f"ALTER TABLE {table} DROP CONSTRAINT {old}, ADD CONSTRAINT {name} {kind} USING INDEX {beside}"
    )


def _write_anew(
    table: str,
    old: str,
    name: str,
    columns: Sequence[str],
    is_primary: bool,
    is_constraint: bool,
    options: dict[str, Any],
) -> None:
    """The same on SQLite: a table is copied, which its foreign keys must not see, and no transaction may switch them."""
    _watch_foreign_keys("OFF")
    if not is_primary and not is_constraint:
        op.drop_index(old, table, if_exists=True)
        op.create_index(name, table, columns, unique=True, if_not_exists=True, **options)
    else:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(old, type_="primary" if is_primary else "unique")
            if is_primary:
                batch.create_primary_key(name, list(columns))
            else:
                batch.create_unique_constraint(name, list(columns))
    _watch_foreign_keys("ON")


def _watch_foreign_keys(word: str) -> None:
    with (
        op.get_context().autocommit_block()
    ):  # what came before is committed, and nothing begins here
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA foreign_keys={word}")


def in_short_tries(statement: str) -> None:
    """For a migration: run a statement that needs a table for itself for a moment, as a transaction of its own, on PostgreSQL. What the
    migration did before it is committed, and is not done again for its sake."""
    with op.get_context().autocommit_block():
        _in_tries(lambda: op.execute(statement))


def fill_nulls(table: str, column: str, value: str, key: str) -> None:
    """For a migration: `value` in the place of each NULL of a column, which takes no more NULLs from now on.

    On PostgreSQL in batches in the order of the unique column `key`, each a transaction of its own, past rows that somebody
    works on; then the check of the whole table holds nobody up
    (https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-NOT-NULL).
    """
    migration, bind = op.get_context(), op.get_bind()
    columns = {one["name"]: one for one in inspect(bind).get_columns(table)}
    if not columns[column]["nullable"]:
        return
    if migration.dialect.name != "postgresql":
        op.execute(f"UPDATE {table} SET {column} = '{value}' WHERE {column} IS NULL")  # noqa: S608 (ours)
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                column, existing_type=columns[column]["type"], nullable=False, server_default=value
            )
        return
    in_short_tries(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT '{value}'")
    while _fill_once(table, column, value, key):
        time.sleep(TURN_POLL_SECONDS)
    check = f"ck_{table}_{column}_filled"
    in_short_tries(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}")
    in_short_tries(
        f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
    )
    with migration.autocommit_block(), _waiting_beside():
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
    in_short_tries(
        f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}"
    )


def _fill_once(table: str, column: str, value: str, key: str) -> bool:
    """One walk through the table; whether a row was left out because somebody held it."""
    batch = text(
        f"WITH chosen AS (SELECT {key} FROM {table} WHERE {column} IS NULL AND {key} > :after ORDER BY {key} "  # noqa: S608 (ours)
        f"LIMIT {FILL_BATCH} FOR UPDATE SKIP LOCKED), "
        f"filled AS (UPDATE {table} SET {column} = :value WHERE {column} IS NULL AND {key} IN (SELECT {key} FROM chosen)) "
        f"SELECT max({key}) FROM chosen"
    )
    left = text(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} IS NULL)")  # noqa: S608 (ours)
    after: str | None = ""
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        while after is not None:
            after = bind.scalar(batch, {"after": after, "value": value})
        return bool(bind.scalar(left))


def wait_for_database(url: str) -> bool:
    """Wait until the database at `url` takes connections; False after `WAIT_SECONDS`. What migrates on a volume that is still being made
    waits so, instead of using up its tries."""
    return _wait(url, lambda connection: None, WAIT_SECONDS)


def wait_migrated(service: str, url: str, *, seconds: float = WAIT_SECONDS) -> bool:
    """Wait until the database of `service` has this code's newest migration, or a newer one; False after `seconds`.

    A new replica waits so for the migrations' job. A database that is ahead is right for old code, which must come up
    again while its successor is rolled out. Raises WrongOwner at once.
    """

    def problem(connection: Connection) -> str | None:
        found = look(connection, service)
        found.refuse_wrong_owner()
        return found.problem

    return _wait(url, problem, seconds)


def _wait(url: str, problem_of: Callable[[Connection], str | None], seconds: float) -> bool:
    """Ask until there is no problem; each is told once. False after `seconds`."""
    end = time.monotonic() + seconds
    told = None
    engine = make_engine(url, pool_size=1)
    try:
        while True:
            try:
                with engine.connect() as connection:
                    problem = problem_of(connection)
            except SQLAlchemyError as error:  # it may be coming up, too
                problem = reason_of(error)
            if problem is None:
                return True
            if problem != told:
                log.info("waiting for the database", reason=problem)
                told = problem
            if time.monotonic() >= end:
                return False
            time.sleep(WAIT_POLL_SECONDS)
    finally:
        engine.dispose()


def run(metadata: MetaData) -> None:
    """The body of each service's `env.py`: run the migrations on the connection that `upgrade` opened.

    Each is a transaction of its own: one that changed a table would hold it while the next waits for another table, and a
    page that reads both would meet it there (a deadlock, which PostgreSQL ends by failing the page).
    """
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
