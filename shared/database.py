"""Databases under green threads: one engine a process and URL, short transactions, the same code on
PostgreSQL (production) and SQLite (embedded).

The rules come from measurements, each of them an outage elsewhere: psycopg2 ignores `connect_timeout` under
eventlet; SQLite over several connections loses updates or freezes the process.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import eventlet
import psycopg2
import psycopg2.extensions
from eventlet.hubs import trampoline
from eventlet.patcher import is_monkey_patched
from nameko.extensions import DependencyProvider
from sqlalchemy import DateTime, Dialect, Engine, Index, Table, create_engine, event, insert, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeDecorator

CONNECT_SECONDS: Final = 3
STATEMENT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 13
"""How long we wait for a word of PostgreSQL before the connection is given up. Longer than `STATEMENT_SECONDS`, which the
server itself keeps: this one is for a server that is frozen, or behind a network that swallows packets."""
POOL_WAIT_SECONDS: Final = 5

PASSING_TROUBLE: Final = ("53", "57", "55P03", "40001", "40P01")
"""SQLSTATEs, or their classes, that say "not now": no resources, operator intervention (a shutdown, a time-out), a lock
that was not to be had, a deadlock. https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class DatabaseUnavailable(Exception):
    """The database does not answer; nothing was written."""


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment in UTC: aware datetimes in and out, on PostgreSQL (timestamptz) and SQLite alike."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime: say which time zone it is in")
        return value.astimezone(dt.UTC)

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def make_engine(url: str, *, pool_size: int = 10, max_overflow: int = 10) -> Engine:
    """An engine that follows the rules of its kind.

    PostgreSQL: bounded connect, statement and pool waits, connections checked before use.
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
        pool_recycle=1800,
        # Several rows that change alike are one message to the server, not one each.
        executemany_mode="values_plus_batch",
        connect_args={
            "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000} -c timezone=UTC "
            "-c idle_in_transaction_session_timeout=60000 -c lock_timeout=5000",
            "application_name": "portico",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": ANSWER_SECONDS * 1000,
        },
    )
    if is_monkey_patched("psycopg"):
        psycopg2.extensions.set_wait_callback(_wait_within_limit)

    @event.listens_for(engine, "do_connect")
    def connect_within_limit(
        dialect: Dialect, record: Any, cargs: tuple[Any, ...], cparams: dict[str, Any]
    ) -> Any:
        with eventlet.Timeout(CONNECT_SECONDS, ConnectTimeout("no connection in time")):
            return dialect.connect(*cargs, **cparams)

    return engine


def _wait_within_limit(connection: Any) -> None:
    """eventlet's way to wait for PostgreSQL, with an end. What is raised here makes psycopg2 close the connection."""
    silence = psycopg2.OperationalError("no word from the database in time")
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        reading = state == psycopg2.extensions.POLL_READ
        trampoline(
            connection.fileno(),
            read=reading,
            write=not reading,
            timeout=ANSWER_SECONDS,
            timeout_exc=silence,
        )


class ConnectTimeout(Exception):
    """PostgreSQL did not accept a connection within the limit."""


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        connect_args={"check_same_thread": False, "timeout": 5},
    )

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


class Transactions:
    """What a service's method gets: short transactions on its own database.

    Never nest them, and call no other system inside one: on SQLite a nested one waits for itself, on PostgreSQL
    a slow neighbour would hold locks.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """BEGIN, the body, COMMIT; ROLLBACK when the body raises.

        Raises DatabaseUnavailable when no connection can be had or it breaks.
        """
        session = Session(self.engine, expire_on_commit=False)
        try:
            with session.begin():
                yield session
        except (PoolTimeout, ConnectTimeout) as error:
            raise DatabaseUnavailable(str(error)) from error
        except DBAPIError as error:
            if _is_passing(error):
                raise DatabaseUnavailable("the database does not answer, or not now") from error
            raise
        finally:
            session.close()

    reading = transaction
    """The same, named for what it is used for: a read sees one moment."""

    def ping(self) -> None:
        """Raise when the database does not answer a trivial statement."""
        with self.transaction() as session:
            session.execute(text("SELECT 1"))


def _is_passing(error: DBAPIError) -> bool:
    """Whether the same statement may well work in a moment."""
    if error.connection_invalidated:
        return True
    if isinstance(error, OperationalError) and not error.statement:  # no connection to begin with
        return True
    code = getattr(error.orig, "pgcode", None)
    return bool(code) and str(code).startswith(PASSING_TROUBLE)


class Database(DependencyProvider):
    """Injects `Transactions` on the database of the service's settings (`settings.database_url`)."""

    transactions: Transactions

    def setup(self) -> None:
        settings = self.container.config["settings"]
        workers = self.container.max_workers
        self.transactions = Transactions(
            make_engine(settings.database_url.reveal(), pool_size=min(10, workers))
        )

    def stop(self) -> None:
        self.transactions.engine.dispose()

    def kill(self) -> None:
        self.transactions.engine.dispose()

    def get_dependency(self, worker_ctx: Any) -> Transactions:
        return self.transactions

    def readiness(self) -> str | None:
        """None when the database answers, else what is wrong (for `/readyz`)."""
        try:
            with eventlet.Timeout(CONNECT_SECONDS, DatabaseUnavailable("no answer in time")):
                self.transactions.ping()
        except Exception as error:
            return type(error).__name__
        return None


def in_order_of_time(name: str, column: str) -> Index:
    """An index of a moment in whose order rows are written, for finding the oldest: a thousandth of a B-tree's size and
    next to nothing at each insert (BRIN, https://www.postgresql.org/docs/current/brin.html)."""
    return Index(name, column, postgresql_using="brin", postgresql_with={"autosummarize": True})


def insert_new(
    session: Session,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: Sequence[str],
    returning: str,
) -> list[Any]:
    """Insert the rows that are new by the unique columns `conflict`; leave the others as they are.

    Returns the `returning` column of the rows that were really inserted, in one statement on both databases:
    the one idempotency primitive that inbox, outbox and consumers share.
    """
    if not rows:
        return []
    statement = insert(table).returning(table.c[returning])
    # Both dialects' own `on_conflict_do_nothing` is compiled anew each time, which costs more than the database's work;
    # this is the same clause as text, which SQLAlchemy's cache knows. So are rows as parameters, not as `values()`.
    statement._post_values_clause = text(f"ON CONFLICT ({', '.join(conflict)}) DO NOTHING")
    return list(session.execute(statement, list(rows)).scalars())
