"""Databases: one engine a process and URL, short transactions, the same code on PostgreSQL (production) and SQLite
(embedded).

Every wait has an end. libpq keeps those of a connection in a plain process, and `shared.nameko_ext.green`, which waits in
its place, in one of green threads. SQLite over several connections loses updates or freezes the process, so it has one.

Databases move: a primary fails over, is restarted, runs out of room. What is said in that time about a statement is no
verdict on the statement. All of it is one error, DatabaseUnavailable, and the rest of the code knows no other: webhooks
answer 503, events are held, loops come again. A connection to a server that has become a standby goes on working for
ever and refuses each write, so it is dropped with all others of its age.
"""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg2
from prometheus_client import Counter
from sqlalchemy import (
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    Index,
    String,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeDecorator

from shared import prepared
from shared.contracts.accounts import OWN
from shared.contracts.deadlines import DATABASE_ANSWERS, DATABASE_STATEMENT
from shared.database_errors import ends_connection, is_away, is_unseen, reason_of, without_values
from shared.postgresql import Connection, use_few_messages
from shared.schema import Schema, look

CONNECT_SECONDS: Final = 3
POOL_WAIT_SECONDS: Final = 5
MOST_CONNECTIONS: Final = 20
"""Of a service's process; the capacity table of docs/operations.md counts with them."""

FRESH_SECONDS: Final = 1.0
"""How long a connection that was given back is taken again without a question to the server, which would be one more wait in
each transaction of a piece of work. One that broke in that time fails what is done on it: DatabaseUnavailable, and the pool is
made anew."""

REFUSED_SECONDS: Final = 10
"""How long a database is not ready after it refused a write as no probe would see it: reading works without room on its disk,
and in a file of SQLite's that is write-protected. After this time work may come again, and tells."""


class DatabaseUnavailable(Exception):
    """The database does not answer, takes no writes now, or is not yet (or no more) one that this release can work on. What
    was to be written is not there, or (when the answer to the commit was lost) is there whole: the same work can be done
    again."""


class WrongSchema(DatabaseUnavailable):
    """Its schema is not one that this release can work on; `schema` says what was found."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema.problem)
        self.schema = schema


class UnstorableValue(Exception):
    """The database can't take a value: too long for its column, too large, or a text with NUL or half a character in it.
    Each further try is refused too."""


def as_stored(moment: dt.datetime) -> dt.datetime:
    """The moment in UTC, as both databases keep it. Raises UnstorableValue for one that is outside the years 1 to 9999 there:
    PostgreSQL would take it, and nobody could read it again; ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime: say which time zone it is in")
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        raise UnstorableValue("a moment outside the years 1 to 9999 in UTC") from None


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment in UTC: aware datetimes in and out, on PostgreSQL (timestamptz) and SQLite alike."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return None if value is None else as_stored(value)

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class InAccount:
    """A row that names Stripe objects, all of one account. What replicas of the release before write has the default, which is
    the installation's own."""

    account: Mapped[str] = mapped_column(String(255), server_default=OWN)
    """`shared.contracts.accounts.Account`."""


class KeyedByAccount:
    """The same where Stripe's id alone would be the key: this is the first column of the primary key."""

    account: Mapped[str] = mapped_column(
        String(255), primary_key=True, server_default=OWN, sort_order=-1
    )
    """`shared.contracts.accounts.Account`."""


def make_engine(url: str, *, pool_size: int = 10, max_overflow: int = 10) -> Engine:
    """An engine that follows the rules of its kind.

    PostgreSQL: bounded connect, statement and pool waits, connections checked before use unless they were used just now, the
    latest one first; long values compressed by LZ4; where the URL names several hosts (`?host=a:5432&host=b:5432&target_session_attrs=read-write`), the first
    one that fits is taken.
    SQLite: one connection, BEGIN IMMEDIATE, WAL: the only arrangement that neither loses updates nor freezes.
    """
    if url.startswith("sqlite"):
        return _sqlite_engine(url)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,
        pool_recycle=1800,
        hide_parameters=True,
        # Several rows that change alike are one message to the server, not one each.
        executemany_mode="values_plus_batch",
        connect_args={
            "connection_factory": Connection,
            "options": f"-c statement_timeout={DATABASE_STATEMENT * 1000} -c timezone=UTC "
            "-c idle_in_transaction_session_timeout=60000 -c lock_timeout=5000 "
            # Whatever the server, the database or the user has by default.
            rf"-c default_transaction_isolation=read\ committed {prepared.OPTION}",
            "application_name": "portico",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": DATABASE_ANSWERS * 1000,
        },
    )
    event.listen(engine, "handle_error", _on_error)
    event.listen(engine, "connect", _meet)
    _ask_the_rested(engine)
    prepared.prepare_on(engine)
    use_few_messages(engine)

    @event.listens_for(engine, "do_connect")
    def connect_in_time(
        dialect: Dialect, record: Any, cargs: tuple[Any, ...], cparams: dict[str, Any]
    ) -> Any:
        places = _places(cparams)
        for place in places[:-1]:
            with suppress(psycopg2.OperationalError):
                return dialect.connect(*cargs, **cparams | place)
        return dialect.connect(*cargs, **cparams | places[-1])

    return engine


_MEETING: Final = f"""
SELECT bool_or({prepared.IS_OURS}),
    max(CASE name WHEN 'default_toast_compression' THEN set_config(name, 'lz4', false) END)
FROM pg_settings WHERE {prepared.IS_OURS} OR (name = 'default_toast_compression' AND 'lz4' = ANY(enumvals))
"""  # noqa: S608 (ours)


def _meet(connection: Any, record: Any) -> None:
    """Ask a new connection whether it is ours alone, and have long values compressed by LZ4 where the server can: of all that it does to
    store a webhook, its own algorithm is a seventh. A column with a compression of its own keeps it."""
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(_MEETING)
        is_ours, _ = cursor.fetchone()
    connection.autocommit = False
    prepared.begin(record.info, is_ours=bool(is_ours))


def _ask_the_rested(engine: Engine) -> None:
    """Have the pool ask the server only about connections that nobody used for `FRESH_SECONDS`."""
    given_back: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
    ask = engine.dialect.do_ping

    @event.listens_for(engine, "checkin")
    def on_checkin(connection: Any, record: Any) -> None:
        if connection is not None:
            given_back[connection] = time.monotonic()

    def answers(connection: Any) -> bool:
        rested = time.monotonic() - given_back.get(connection, -math.inf)
        return rested < FRESH_SECONDS or ask(connection)

    engine.dialect.do_ping = answers  # type: ignore[assignment, method-assign]


def _places(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Each host of a connection's parameters with its port, and its share of `CONNECT_SECONDS`, in libpq's whole seconds. libpq
    would go through the hosts by itself, but where it does not wait itself, it never leaves a silent one."""
    hosts = str(parameters.get("host", "")).split(",")
    ports = str(parameters.get("port", "")).split(",")
    limit = {"connect_timeout": math.ceil(CONNECT_SECONDS / len(hosts))}
    if len(hosts) == 1:
        return [limit]
    return [
        {"host": host, "port": ports[min(number, len(ports) - 1)] or "5432", **limit}
        for number, host in enumerate(hosts)
    ]


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": 5},
    )
    event.listen(engine, "handle_error", _on_error)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's `begin` below speaks instead of pysqlite
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _on_error(failure: ExceptionContext) -> Exception | None:
    """Called for each error of a driver: drops the connection where that is what it means, and says no values.

    Returns UnstorableValue in the place of what PostgreSQL, SQLite, psycopg2 and sqlite3 each call it.
    """
    error = failure.original_exception
    if isinstance(error, UnstorableValue):
        return error
    if ends_connection(error):
        failure.is_disconnect = True
    if isinstance(error, psycopg2.Error) and error.pgcode:
        error.args = (without_values(error),)
        if failure.sqlalchemy_exception is not None:
            name = type(error).__name__
            failure.sqlalchemy_exception.args = (f"(psycopg2.{name}) {error}",)
    refused = isinstance(error, psycopg2.DataError | sqlite3.DataError) or (
        # Of the driver, before anything is sent. A type of ours that refuses a value has no execution yet.
        isinstance(error, ValueError | OverflowError)
        and failure.execution_context is not None
        and failure.statement is not None
    )
    return UnstorableValue(str(error)) if refused else None


_ON_COMMIT: Final = "on_commit"


def on_commit(session: Session, action: Callable[[], object]) -> None:
    """Do something that can't fail, to count it or to log it, once the session's transaction is committed. Nothing is done of
    one that is rolled back, and done again perhaps."""
    session.info.setdefault(_ON_COMMIT, []).append(action)


def count_on_commit(session: Session, counter: Counter) -> None:
    """Count one more once the session's transaction is committed."""
    on_commit(session, counter.inc)


class Transactions:
    """What a service's method gets: short transactions on its own database.

    Never nest them, and call no other system inside one: on SQLite a nested one waits for itself, on PostgreSQL
    a slow neighbour would hold locks.
    """

    def __init__(
        self, engine: Engine, service: str | None = None, info: Mapping[str, Any] | None = None
    ) -> None:
        """With a `service` nothing is done before the schema has proved to be that service's, and new enough. `info` is what each
        session knows of the process that it works for (`Session.info`)."""
        self.engine = engine
        self._info = dict(info or {})
        self._service = service
        self._is_proved = False
        self._refused_at = -math.inf

    def transaction(self) -> AbstractContextManager[Session]:
        """BEGIN, the body, COMMIT; ROLLBACK when the body raises. Then what was put off by `on_commit` is done.

        Raises DatabaseUnavailable when no connection can be had, it breaks, the database takes no writes now, or its schema
        is not ours to work on; UnstorableValue when it can take a value never.
        """
        return self._session(self.engine)

    def reading(self) -> AbstractContextManager[Session]:
        """The same for what writes nothing and locks nothing. On PostgreSQL each statement is done by itself: in one transaction, too, each
        would see what is committed when it begins, and BEGIN and COMMIT would only be more waits."""
        return self._session(self._reading)

    @cached_property
    def _reading(self) -> Engine:
        if self.engine.dialect.name != "postgresql":
            return self.engine
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        session = Session(engine, expire_on_commit=False, info=self._info)
        try:
            with session.begin():
                if self._service is not None and not self._is_proved:
                    self._prove(session, self._service)
                yield session
            for action in session.info.get(_ON_COMMIT, ()):
                action()
        except (PoolTimeout, DBAPIError) as error:
            if not is_away(error):
                raise
            if isinstance(error, DBAPIError) and is_unseen(error):
                self._refused_at = time.monotonic()
            raise DatabaseUnavailable(reason_of(error)) from error
        finally:
            session.close()

    def _prove(self, session: Session, service: str) -> None:
        try:
            found = look(session.connection(), service)
        except ProgrammingError as error:
            raise DatabaseUnavailable(reason_of(error)) from error
        if found.problem is not None:
            raise WrongSchema(found)
        self._is_proved = True

    def ping(self) -> None:
        """Raise DatabaseUnavailable when the database does not answer a trivial statement, takes no writes, or has another
        schema than work needs."""
        if time.monotonic() - self._refused_at < REFUSED_SECONDS:
            raise DatabaseUnavailable("the database refused a write a moment ago")
        self._is_proved = False  # it may have been restored, or emptied, since
        with self.transaction() as session:
            read_only = session.scalar(text(_READ_ONLY[self.engine.dialect.name]))
        if read_only == "on":
            # A standby, or a primary that lost its place: no connection of today leads to the new one.
            self.engine.dispose()
            raise DatabaseUnavailable("the database takes no writes")


_READ_ONLY: Final = {
    "postgresql": "SELECT current_setting('transaction_read_only')",
    "sqlite": "SELECT 'off'",  # what it answers to BEGIN IMMEDIATE tells
}


def brin_index(name: str, column: str) -> Index:
    """An index of a moment in whose order rows are written, for finding the oldest: a thousandth of a B-tree's size and
    next to nothing at each insert (BRIN, https://www.postgresql.org/docs/current/brin.html)."""
    return Index(name, column, postgresql_using="brin", postgresql_with={"autosummarize": True})


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows for which the condition holds: few of many."""
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
