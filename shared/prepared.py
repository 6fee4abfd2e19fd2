"""Statements that PostgreSQL reads and plans once a connection, and not at each use (ADR 37).

psycopg2 sends each statement as a text, and to plan a large one takes the server longer than to carry it out. One that is marked
with `prepared` is given a name on each connection by PREPARE, and from then on only the name and the values are sent. Its plan is
made for no values in particular (docs/operations.md has the memory that it takes), and made anew every `PLANNED_FOR`, since tables
grow. SQLite's driver remembers its statements by itself.

A pooler between us and the server gives a session's name to whoever comes next, and does not know it where it is used. It drops the
options of the connection too, so we see that it is there (`IS_OURS`), and send statements as they are.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.sql.base import Executable

PLANNED_FOR: Final = 300.0
"""Seconds for which a plan is kept at most. The server makes one anew when it has counted a table's rows (ANALYZE), and by itself it does that
once a minute where many are new: this is for where it does not. Planned while it was empty, a statement would read all of a table."""
MOST: Final = 100
"""Statements that a connection has names for. Each is a plan in the server's memory; more are sent as they are."""
OPTION: Final = "-c plan_cache_mode=force_generic_plan"
"""Among the options of a connection. Left to itself, the server plans a statement of lists anew for each list that is short."""

IS_OURS: Final = "(name = 'plan_cache_mode' AND source = 'client')"
"""Of a row of `pg_settings`: the option came through. That the setting has its value says little: a role or a database may have it by default,
behind a pooler too."""

MARK: Final = "prepared"
"""The execution option of what is marked."""
_PLANS: Final = "plans"
"""In what the pool knows of a connection: its `_Plans`; None where it is not ours alone."""

Statement = TypeVar("Statement", bound=Executable)


def prepared(statement: Statement) -> Statement:
    """The statement, planned once a connection. One whose text is the same at each use: lists are one parameter
    (`shared.statements.is_among`), and the order of rows and what is read depends on no parameter."""
    return statement.execution_options(**{MARK: True})


class _Numbered(dict[str, str]):
    """Names of parameters as the server has them, in the order in which they were asked for."""

    def __missing__(self, name: str) -> str:
        return self.setdefault(name, f"${len(self) + 1}")


@lru_cache(maxsize=2 * MOST)
def spelled(statement: str) -> tuple[str, str, str]:
    """A statement of psycopg2's as the server is told it, forgets it and carries it out; the last one with its parameters."""
    numbered = _Numbered()
    text = statement % numbered
    name = f"portico_{hashlib.blake2s(statement.encode(), digest_size=12).hexdigest()}"
    values = ", ".join(f"%({name})s" for name in numbered)
    return (
        f"PREPARE {name} AS {text}",
        f"DEALLOCATE {name}",
        f"EXECUTE {name} ({values})" if values else f"EXECUTE {name}",
    )


class _Plans:
    """What a connection has names for."""

    def __init__(self) -> None:
        self._made: dict[str, float] = {}
        self._is_certain = True

    def ahead_of(self, statement: str, planned_for: float) -> list[str] | None:
        """What the server has to be told before it can carry the statement out; None: it gets no name."""
        ahead = []
        if not self._is_certain:
            ahead.append("DEALLOCATE ALL")
            self._made.clear()
            self._is_certain = True
        prepare, forget, _ = spelled(statement)
        made_at, now = self._made.get(statement), time.monotonic()
        if made_at is None and len(self._made) >= MOST:
            return None
        if made_at is None or now - made_at > planned_for:
            ahead += [forget, prepare] if made_at is not None else [prepare]
            self._made[statement] = now
        return ahead

    def have_failed(self) -> None:
        """A message with one of them has: perhaps before what went ahead in it, perhaps since a migration left a plan behind."""
        self._is_certain = False


def begin(info: dict[str, Any], *, is_ours: bool) -> None:
    """Note of a new connection, in what the pool knows of it, whether names may be given on it: `IS_OURS`."""
    info[_PLANS] = _Plans() if is_ours else None


def prepare_on(engine: Engine, planned_for: float = PLANNED_FOR) -> None:
    """Have what is marked planned once on each connection of an engine, whose connections are `shared.postgresql.Connection`s with
    `OPTION` among their options. On one of which nothing was noted (`begin`) statements go as they are."""

    @event.listens_for(engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if not context.execution_options.get(MARK):
            return False
        plans: _Plans | None = context.root_connection.connection.info.get(_PLANS)
        ahead = None if plans is None else plans.ahead_of(statement, planned_for)
        if plans is None or ahead is None:
            return False
        try:
            for each in ahead:
                cursor.connection.put_ahead(each.encode())
            cursor.execute(spelled(statement)[2], parameters)
        except Exception:
            plans.have_failed()
            raise
        return True
