"""psycopg2's connections with fewer waits (ADR 37).

Each message to the server is a wait for its answer, in which other green threads go on, and a process that has to wake up on either
side. So what needs no answer of its own travels in the message of what comes next (PostgreSQL does the statements of one message in
their order, and none after one that fails: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT):

- BEGIN, in that of its transaction's first statement. psycopg2 would say it by itself, and wait.
- A statement that is executed with the option `WITH_NEXT`, in that of the next statement, or of COMMIT. What is wrong with it is raised
  there, inside the same transaction. Within a savepoint it goes by itself: what is wrong is to be known before the savepoint's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg2 import NotSupportedError, extensions
from sqlalchemy import Engine, event

WITH_NEXT: Final[Mapping[str, bool]] = {"with_next": True}
"""Execution options of a statement that returns nothing, and of which nobody asks how many rows it changed. It has no effect elsewhere than
on PostgreSQL."""

IDLE: Final = extensions.TRANSACTION_STATUS_IDLE


class Connection(extensions.connection):  # type: ignore[misc]
    """A connection on which transactions are begun and ended by us. psycopg2 itself takes each statement for a transaction of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.set_session(autocommit=True)
        self.cursor_factory = Cursor
        self._autocommit = False
        self._ahead: list[bytes] = []

    def set_isolation_level(self, level: int | None) -> None:
        """That of the session, or transactions of single statements: what SQLAlchemy calls AUTOCOMMIT. As psycopg2's own does, it rolls back what is
        under way. Raises NotSupportedError."""
        if level not in (
            extensions.ISOLATION_LEVEL_AUTOCOMMIT,
            extensions.ISOLATION_LEVEL_READ_COMMITTED,
        ):
            raise NotSupportedError(f"isolation level {level}")
        self.rollback()
        self._autocommit = level == extensions.ISOLATION_LEVEL_AUTOCOMMIT

    @property
    def autocommit(self) -> bool:
        """Whether statements are transactions of their own also for whoever uses the connection."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, wanted: bool) -> None:
        self._autocommit = wanted

    @property
    def _is_idle(self) -> bool:
        return not self._ahead and self.get_transaction_status() == IDLE

    def take_ahead(self) -> list[bytes]:
        """What goes before the next statement in its message."""
        begin = [b"BEGIN"] if not self._autocommit and self._is_idle else []
        ahead, self._ahead = self._ahead, []
        return begin + ahead

    def put_ahead(self, statement: bytes) -> None:
        """Have a statement travel with the next one."""
        self._ahead = [*self.take_ahead(), statement]

    def commit(self) -> None:
        if self._is_idle:
            super().commit()  # which does nothing, or says that it is closed
        else:
            self._say(b"COMMIT")

    def rollback(self) -> None:
        self._ahead.clear()
        if self._is_idle:
            super().rollback()
        else:
            self._say(b"ROLLBACK")

    def _say(self, word: bytes) -> None:
        words, self._ahead = [*self._ahead, word], []
        with super().cursor(cursor_factory=extensions.cursor) as cursor:
            cursor.execute(b";\n".join(words))


class Cursor(extensions.cursor):  # type: ignore[misc]
    """Sends with a statement what travels with it."""

    connection: Connection

    def execute(self, query: Any, vars: Any = None) -> None:
        said = self.mogrify(query, vars)  # if that fails, what travels waits for another one
        super().execute(b";\n".join([*self.connection.take_ahead(), said]))

    def executemany(self, query: Any, vars_list: Any) -> None:
        if ahead := self.connection.take_ahead():
            super().execute(b";\n".join(ahead))
        super().executemany(query, vars_list)


def use_few_messages(engine: Engine) -> None:
    """Have an engine, whose connections are `Connection`s, understand `WITH_NEXT`."""

    @event.listens_for(engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        goes_along = bool(context.execution_options.get("with_next"))
        if goes_along and not context.root_connection.in_nested_transaction():
            cursor.connection.put_ahead(cursor.mogrify(statement, parameters))
            return True
        return False
