"""Alembic without an ini file: one history a service, under `services/<service>/migrations`.

Migrations are run by a command (`python -m services.<service> migrate`), never by a replica at its start.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, text

from shared.database import make_engine

ROOT = Path(__file__).resolve().parent.parent
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
    return None if current == head else (current or "no migration at all")


def run(metadata: MetaData) -> None:
    """The body of each service's `env.py`: run the migrations on the connection that `upgrade` opened."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
