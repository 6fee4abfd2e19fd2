"""Alembic without an ini file: one history a service, under `services/<service>/migrations`.

Migrations are run by a command (`python -m services.<service> migrate`), never by a replica at its start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import make_engine
from shared.database_errors import reason_of
from shared.schema import ROOT, Standing, look
from shared.telemetry import get_logger

log = get_logger(__name__)

WAIT_SECONDS: Final = 1500.0
WAIT_POLL_SECONDS: Final = 1.0
LOCK = 0x506F7274  # two migration jobs at once take turns (PostgreSQL advisory lock)
TURN_POLL_SECONDS: Final = 0.5


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services" / service / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(service: str, url: str, revision: str = "head") -> Standing:
    """Bring the database of `service` at `url` to `revision`. Safe to run twice, and by two at once.

    Returns how it stood before: one that is AHEAD is left as it is. Raises WrongOwner, having changed nothing.
    """
    config = _config(service)
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                _take_turn(connection)
            found = look(connection, service)
            connection.commit()  # the lock stays, and each migration begins a transaction of its own
            found.refuse_wrong_owner()
            if found.standing is not Standing.AHEAD:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
            connection.commit()
            return found.standing
    finally:
        engine.dispose()  # the connection ends, and the lock with it


def _take_turn(connection: Connection) -> None:
    """Hold `LOCK` from now on, for as long as the connection stands; whoever comes second asks until it is free.

    Each question is a transaction of its own. One that waited inside `pg_advisory_lock` would hold a snapshot, for which CREATE INDEX
    CONCURRENTLY of the first runner waits in turn: a deadlock
    (https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY).
    """
    level = connection.get_isolation_level()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.execute(text("SET statement_timeout = 0"))
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

    It waits for all transactions that had begun before, a backup's of hours too, and holds nobody up meanwhile: so without the 5
    seconds that a statement else waits for a lock. A try that was cut off leaves an index that is not valid, which writes keep up and
    no read uses; it is dropped and made again.
    """
    migration = op.get_context()
    if migration.dialect.name != "postgresql":
        op.create_index(name, table, columns, if_not_exists=True, **options)
        return
    with migration.autocommit_block():
        op.execute("SET lock_timeout = 0")
        half_made = text(
            "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
        )
        if op.get_bind().scalar(half_made, {"name": name}):
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(
            name, table, columns, if_not_exists=True, postgresql_concurrently=True, **options
        )
        op.execute("RESET lock_timeout")


def wait_for_database(url: str, *, seconds: float = WAIT_SECONDS) -> bool:
    """Wait until the database at `url` takes connections; False after `seconds`. What migrates on a volume that is still being made
    waits so, instead of using up its tries."""
    return _wait(url, lambda connection: None, seconds)


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
