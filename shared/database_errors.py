"""What the errors of PostgreSQL, SQLite and their drivers mean: not now, the connection is of no more use, never."""

from __future__ import annotations

import sqlite3
from typing import Final

import psycopg2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

TRANSIENT_SQLSTATES: Final = ("08", "25006", "40001", "40P01", "53", "55P03", "57", "58030")
"""SQLSTATEs, or their classes, that say "not now": no connection, a server that takes no writes (a standby, a failover's
first seconds), a conflict or a deadlock with others, no resources (too many connections, a full disk), a lock that was not
to be had, an operator's intervention (a shutdown, a start that is under way, a time-out), a disk that fails.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
DROPPED_SQLSTATES: Final = ("08", "25006", "57P")
"""Those after which a connection is of no more use. With it goes every other one of its age: they lead to the same server."""
DISK_FULL: Final = "53100"

TRANSIENT_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""The same of SQLite's primary result codes (https://www.sqlite.org/rescode.html)."""
DROPPED_SQLITE: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)


REFUSALS: Final = (
    ("timeout expired", "the database gives no connection in time"),
    ("password authentication failed", "the database refuses the user or the password"),
    ("no password supplied", "the database wants a password, and its URL has none"),
    ("no pg_hba.conf entry", "the database lets nobody in from here under that name (pg_hba.conf)"),
    ("permission denied for database", "the user may not connect to that database"),
    ("is not permitted to log in", "the user may not log in to the database"),
    ('FATAL:  role "', "the database has no such user"),
    ('FATAL:  database "', "the server has no such database"),
)
"""What PostgreSQL or libpq says of a connection that is not to be had, and what it means. psycopg2 gives no SQLSTATE then."""
NO_RIGHTS: Final = "42501"


def without_values(error: psycopg2.Error) -> str:
    """PostgreSQL's own words without what they quote: its details show whole rows, and errors about data the data."""
    said = error.diag.message_primary or "no reason given"
    if str(error.pgcode).startswith("22"):
        said = said.partition(': "')[0]
    return f"{said} (SQLSTATE {error.pgcode})"


def ends_connection(error: BaseException) -> bool:
    """Whether the connection that gave this error is of no more use."""
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) in DROPPED_SQLITE
    if not isinstance(error, psycopg2.Error):
        return False
    if error.pgcode:
        return str(error.pgcode).startswith(DROPPED_SQLSTATES)
    # The server says each of its errors with an SQLSTATE: without one the connection broke, or never stood.
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or (
        type(error) is psycopg2.DatabaseError
    )


def _sqlite_code(error: BaseException) -> int:
    """SQLite's primary result code; its extended ones say more in the bits above."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_transient(error: DBAPIError) -> bool:
    """Whether the same statement may well work in a moment."""
    code = getattr(error.orig, "pgcode", None) or ""
    return (
        error.connection_invalidated
        or code.startswith(TRANSIENT_SQLSTATES)
        or _sqlite_code(error.orig or error) in TRANSIENT_SQLITE
    )


def is_away(error: BaseException) -> bool:
    """Whether a database that gives this error may well give none in a moment, or once somebody has seen to it."""
    if isinstance(error, DBAPIError):
        return _is_transient(error)
    return isinstance(error, PoolTimeout)


def reason_of(error: BaseException) -> str:
    """Why the database can't be used, in words that show no value."""
    if isinstance(error, PoolTimeout):
        return "the database gives no connection in time"
    original = getattr(error, "orig", None) or error
    code = getattr(original, "pgcode", None)
    if code is None and isinstance(original, psycopg2.OperationalError):
        for words, meaning in REFUSALS:
            if words in str(original):
                return meaning
    if code == NO_RIGHTS:
        return f"the database's user may not read or write its own tables ({code})"
    if isinstance(error, DBAPIError) and is_away(error):
        return f"the database does not answer, or not now{_why(error)}"
    return f"the database can't be used: {type(original).__name__}"


def is_unseen(error: DBAPIError) -> bool:
    """Whether a write was refused, and a read would not be."""
    return getattr(error.orig, "pgcode", None) == DISK_FULL or _sqlite_code(
        error.orig or error
    ) in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
    )


def _why(error: DBAPIError) -> str:
    code = getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlite_errorname", None)
    return f" ({code})" if code else ""
