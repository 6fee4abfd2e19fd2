"""Alembic without an ini file: one history a service, under `services/<service>/migrations`.

Migrations are run by a command (`python -m services.<service> migrate`), never by a replica at its start.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import ConnectTimeout, make_engine

ROOT = Path(__file__).resolve().parent.parent
NO_MIGRATION: Final = "no migration at all"
WAIT_SECONDS: Final = 1500.0
WAIT_POLL_SECONDS: Final = 1.0
LOCK = 0x506F7274  # two migration jobs at once take turns (PostgreSQL advisory lock)


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services" / service / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(service: str, url: str, revision: str = "head") -> None:
    """Bring the database of `service` at `url` to `revision`. Safe to run twice, and by two at once."""
    config = _config(service)
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def behind(service: str, engine: Engine) -> str | None:
    """None when the database has this code's newest migration, else which one it has (`doctor`, `/readyz`)."""
    head = ScriptDirectory.from_config(_config(service)).get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return None if current == head else (current or NO_MIGRATION)


def wait_migrated(service: str, url: str, *, seconds: float = WAIT_SECONDS) -> bool:
    """Wait until the database of `service` has this code's newest migration, or a newer one; False after `seconds`.

    A new replica waits so for the migrations' job. A database that is ahead is right for old code, which must come up
    again while its successor is rolled out.
    """
    end = time.monotonic() + seconds
    known = {
        script.revision for script in ScriptDirectory.from_config(_config(service)).walk_revisions()
    }
    engine = make_engine(url, pool_size=1)
    try:
        while True:
            try:
                found = behind(service, engine)
                if found is None or (found != NO_MIGRATION and found not in known):
                    return True
            except (SQLAlchemyError, ConnectTimeout):  # the database itself may be coming up, too
                pass
            if time.monotonic() >= end:
                return False
            time.sleep(WAIT_POLL_SECONDS)
    finally:
        engine.dispose()


def run(metadata: MetaData) -> None:
    """The body of each service's `env.py`: run the migrations on the connection that `upgrade` opened."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
