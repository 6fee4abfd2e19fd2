"""Empty tables in memory for a test, one engine a process: making them for each test, and compiling every statement again for
each new engine, took a third of the unit tests' time."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData

from shared.database import Transactions, make_engine
from tests.unit import accounts

_engines: dict[MetaData, Engine] = {}


def empty(metadata: MetaData) -> Transactions:
    """Transactions on the tables of `metadata`, which hold nothing, not even the trigger of a test before."""
    engine = _engines.get(metadata)
    if engine is None:
        engine = _engines[metadata] = make_engine("sqlite://")
        accounts.watch(engine)
    with engine.begin() as connection:
        # One script of the driver's: a statement a table, each through SQLAlchemy, costs more than most tests.
        cursor = connection.connection.cursor()
        there = cursor.execute("SELECT type, name FROM sqlite_master").fetchall()
        if not any(kind == "table" for kind, _ in there):  # new, or a test has closed it
            metadata.create_all(connection)
        script = [f"DROP TRIGGER {name};" for kind, name in there if kind == "trigger"]
        script += [f'DELETE FROM "{table.name}";' for table in reversed(metadata.sorted_tables)]
        cursor.executescript("".join(script))
        cursor.close()
    return Transactions(engine)


def close() -> None:
    """End all engines."""
    for engine in _engines.values():
        engine.dispose()
    _engines.clear()
