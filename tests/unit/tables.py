"""Empty tables in memory for a test, one engine a process: making them for each test, and compiling every statement again for
each new engine, took a third of the unit tests' time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import Session

from shared.database import Transactions, make_engine
from tests.unit import accounts

T = TypeVar("T")
Given = TypeVar("Given")

_engines: dict[MetaData, Engine] = {}
_filled: dict[Callable[..., Any], tuple[str, Any]] = {}


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


def filled(engine: Engine, fill: Callable[[Given], T], given: Given) -> T:
    """What `fill` answers, with the rows that it adds to empty tables. It is called once a process, and its rows are written down as
    one script for each further test: it may know nothing of a test that is not the same in all of them."""
    if fill not in _filled:
        answer = fill(given)
        if isinstance(given, Session):
            given.commit()
        _filled[fill] = _script(engine), answer
        return answer
    script, made = _filled[fill]
    connection = engine.raw_connection()
    connection.cursor().executescript(script)
    connection.close()
    answered: T = made
    return answered


def _script(engine: Engine) -> str:
    """All rows as a dump has them: by the names of tables, whichever refers to which."""
    connection = engine.raw_connection()
    dump = connection.driver_connection.iterdump()  # type: ignore[union-attr]
    rows = [one for one in dump if one.startswith("INSERT") and "sqlite_sequence" not in one]
    connection.close()
    return "\n".join(["BEGIN; PRAGMA defer_foreign_keys=ON;", *rows, "COMMIT;"])


def close() -> None:
    """End all engines."""
    for engine in _engines.values():
        engine.dispose()
    _engines.clear()
    _filled.clear()
