"""Alembic without an ini file: one history a service, under `services/<service>/migrations`.

Migrations are run by a command (`python -m services.<service> migrate`), never by a replica at its start.
"""

from __future__ import annotations

import time
from typing import Final

from alembic import command, context
from alembic.config import Config
from sqlalchemy import MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import make_engine
from shared.database_errors import reason_of
from shared.schema import ROOT, Standing, look
from shared.telemetry import get_logger

log = get_logger(__name__)

WAIT_SECONDS: Final = 1500.0
WAIT_POLL_SECONDS: Final = 1.0
LOCK = 0x506F7274  # two migration jobs at once take turns (PostgreSQL advisory lock)


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
                connection.execute(text("SET statement_timeout = 0"))
                connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
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


def wait_migrated(service: str, url: str, *, seconds: float = WAIT_SECONDS) -> bool:
    """Wait until the database of `service` has this code's newest migration, or a newer one; False after `seconds`.

    A new replica waits so for the migrations' job. A database that is ahead is right for old code, which must come up
    again while its successor is rolled out. Raises WrongOwner at once.
    """
    end = time.monotonic() + seconds
    told = None
    engine = make_engine(url, pool_size=1)
    try:
        while True:
            try:
                with engine.connect() as connection:
                    found = look(connection, service)
                found.refuse_wrong_owner()
                problem = found.problem
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
