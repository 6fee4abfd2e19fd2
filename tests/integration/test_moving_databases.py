"""What the database helpers make of a PostgreSQL that moves, refuses or can't take a value: real errors, real connections."""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.portal.models import BusinessRow, CustomerRow
from shared.database import DatabaseUnavailable, Transactions, UnstorableValue, make_engine

NOW = dt.datetime(2026, 11, 29, 12, 0, tzinfo=dt.UTC)
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def url(database: Callable[[str], str]) -> str:
    """A fresh database of the portal's."""
    return database("portal")


@pytest.fixture
def portal(url: str) -> Iterator[Transactions]:
    engine = make_engine(url)
    yield Transactions(engine)
    engine.dispose()


@pytest.fixture
def connections(portal: Transactions) -> list[Any]:
    """Every connection that the engine makes from now on."""
    made: list[Any] = []
    event.listen(portal.engine, "connect", lambda connection, record: made.append(connection))
    return made


def business(**values: Any) -> BusinessRow:
    given = {"business_id": "b", "name": "B", "locale": "en", "timezone": "UTC"}
    return BusinessRow(**{**given, "created_at": NOW, "updated_at": NOW, **values})


def write(portal: Transactions, **values: Any) -> None:
    with portal.transaction() as session:
        session.add(business(**values))


def run(server: PostgreSQL, url: str, statement: str) -> None:
    """One statement of the superuser's about the database of `url`."""
    server.execute(statement.format(database=url.rpartition("/")[2]))


def test_connections_to_a_server_that_became_a_standby_are_all_dropped(
    portal: Transactions, connections: list[Any]
) -> None:
    """The refused write counts as absence, and the next one goes over a new connection: of the old ones each leads to the
    same server, and none would ever be refused again by its ping."""
    with portal.transaction() as first, portal.transaction() as second:
        for session in (first, second):
            session.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    assert len(connections) == 2
    with pytest.raises(DatabaseUnavailable, match="25006"):
        write(portal)
    with portal.transaction() as first, portal.transaction() as second:
        for number, session in enumerate((first, second)):
            session.add(business(business_id=f"b{number}"))
            session.flush()  # or one connection would do for both, one after the other
    assert len(connections) == 4


def test_the_probe_knows_that_no_write_would_be_taken(
    portal: Transactions, postgres: PostgreSQL, url: str
) -> None:
    """Without writing, at once, and back again at once; no connection from before stays."""
    portal.ping()
    run(postgres, url, "ALTER DATABASE {database} SET default_transaction_read_only = on")
    portal.engine.dispose()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="takes no writes"):
            portal.ping()
    run(postgres, url, "ALTER DATABASE {database} RESET default_transaction_read_only")
    portal.ping()
    write(portal)


@pytest.mark.parametrize("when", ["before its commit", "at its commit"])
def test_a_connection_that_is_ended_in_a_transaction_is_absence(
    portal: Transactions, postgres: PostgreSQL, url: str, when: str
) -> None:
    """57P01, as a primary says it that is shut down; the next transaction has a new connection."""

    def work(session: Session) -> None:
        session.add(business())
        session.flush()
        own = session.scalar(text("SELECT pg_backend_pid()"))
        run(postgres, url, f"SELECT pg_terminate_backend({own}, 5000)")
        if when == "before its commit":
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable), portal.transaction() as session:
        work(session)
    write(portal)


def test_only_a_connection_that_rested_is_asked_about(
    portal: Transactions,
    postgres: PostgreSQL,
    url: str,
    connections: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that the server ended while it rested is replaced without anybody noticing; one that was used just now fails the
    work, which is absence, and the next has a new one."""

    def ended() -> None:
        with portal.transaction() as session:
            own = session.scalar(text("SELECT pg_backend_pid()"))
        run(postgres, url, f"SELECT pg_terminate_backend({own}, 5000)")

    ended()
    with pytest.raises(DatabaseUnavailable):
        write(portal)
    write(portal)
    ended()
    monkeypatch.setattr("shared.database.FRESH_SECONDS", 0)
    write(portal, business_id="b2")
    assert len(connections) == 3


def test_no_connection_to_be_had_is_absence(url: str, postgres: PostgreSQL) -> None:
    """53300: the role, or the server, has as many connections as it may; and a port where nobody listens."""
    run(postgres, url, "CREATE ROLE crowded LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
    try:
        engine = make_engine(url.replace(f"portico:{postgres.password}", "crowded:x"))
        with pytest.raises(DatabaseUnavailable):
            Transactions(engine).ping()
    finally:
        run(postgres, url, "DROP ROLE crowded")
    with pytest.raises(DatabaseUnavailable):
        Transactions(make_engine("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")).ping()


@pytest.mark.parametrize(
    "values",
    [
        {"name": "half a \ud800 character"},
        {"name": "a NUL\x00 in it"},
        {"name": "too long " * 30},
    ],
    ids=["surrogate", "NUL", "long"],
)
def test_a_value_that_no_column_takes_has_one_name(
    portal: Transactions, values: dict[str, Any]
) -> None:
    """Whether PostgreSQL, psycopg2 or a codec refuses it; and what is beside it can be stored afterwards."""
    with pytest.raises(UnstorableValue):
        write(portal, **values)
    write(portal)


def test_a_number_that_is_too_large_has_the_same_name(portal: Transactions) -> None:
    """22003, beyond 64 bits."""
    with pytest.raises(UnstorableValue, match="22003"), portal.transaction() as session:
        session.add(customer(session, link_generation=1 << 70))


def customer(session: Session, **values: Any) -> CustomerRow:
    made = business()
    session.add(made)
    session.flush()
    given = {"public_id": "p", "external_id": "e", "name": "N", "email": "ada@example.com"}
    return CustomerRow(
        **{**given, "business_pk": made.id, "created_at": NOW, "updated_at": NOW, **values}
    )


def everything(error: BaseException) -> str:
    """What a log would show of an error."""
    return "".join(traceback.format_exception(error))


def test_no_error_shows_a_value(portal: Transactions) -> None:
    """Neither the statement's parameters nor what PostgreSQL quotes in its messages and details, on the whole chain."""
    secret = "ada@example.com"
    found: list[BaseException] = []
    with pytest.raises(IntegrityError) as twice, portal.transaction() as session:
        session.add(customer(session, external_id=secret))
        session.flush()
        session.execute(
            text(
                "INSERT INTO customers SELECT id + 1, 'q', business_pk, external_id, name, email, locale, timezone, NULL, 1, NULL, NULL, created_at, updated_at FROM customers"
            )
        )
    found.append(twice.value)
    with pytest.raises(IntegrityError) as missing, portal.transaction() as session:
        session.add(customer(session, email=secret, name=None))
    found.append(missing.value)
    with pytest.raises(UnstorableValue) as wrong, portal.transaction() as session:
        session.execute(text("SELECT CAST(:value AS integer)"), {"value": secret})
    found.append(wrong.value)
    with pytest.raises(UnstorableValue) as broken, portal.transaction() as session:
        session.execute(text("SELECT CAST(:value AS json)"), {"value": '{"x": ' + secret})
    found.append(broken.value)
    for error in found:
        shown = everything(error)
        assert "ada" not in shown, shown
    assert "uq_customers_business_pk_external_id" in everything(found[0])
    assert "(SQLSTATE 22P02)" in str(found[2])


ASK = """
import shared.nameko_ext.green
import sys, time
from sqlalchemy import text
from shared.database import Transactions, make_engine
began = time.monotonic()
with Transactions(make_engine(sys.argv[1])).transaction() as session:
    print(session.scalar(text("SELECT inet_server_port()")), time.monotonic() - began < 30)
"""


def test_the_first_host_that_takes_writes_is_taken(url: str, postgres: PostgreSQL) -> None:
    """One that swallows packets stands before it: still within a limit, not minutes later when the kernel gives up. Where none takes
    writes, there is none."""
    name = url.rpartition("/")[2]
    standby = postgres.create_database(f"{name}_standby")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hosts = f"host=127.0.0.1:{silent.getsockname()[1]}&host=127.0.0.1:{postgres.port}"
        wanted = f"postgresql+psycopg2://portico:{postgres.password}@/{name}?{hosts}&target_session_attrs=read-write"
        done = subprocess.run(
            [sys.executable, "-c", ASK, wanted],
            cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.stdout.split() == [str(postgres.port), "True"], done.stderr
    run(postgres, standby, "ALTER DATABASE {database} SET default_transaction_read_only = on")
    only = standby + "?target_session_attrs=read-write"
    with pytest.raises(DatabaseUnavailable):
        Transactions(make_engine(only)).ping()
    postgres.drop_database(f"{name}_standby")


SILENT = """
import sys, time
from shared.database import DatabaseUnavailable, Transactions, make_engine
began = time.monotonic()
try:
    Transactions(make_engine(sys.argv[1])).ping()
except DatabaseUnavailable as away:
    print(away, time.monotonic() - began < 30, sep="; ")
"""


@pytest.mark.parametrize("first", ["", "import shared.nameko_ext.green\n"], ids=["plain", "green"])
def test_a_silent_host_is_given_up_in_time(first: str) -> None:
    """In a plain process libpq sees to it, and in one of green threads, where it does not, our own wait."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = subprocess.run(
            [sys.executable, "-c", first + SILENT, f"postgresql+psycopg2://x@127.0.0.1:{silent.getsockname()[1]}/x"],
            cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.stdout == "the database gives no connection in time; True\n", done.stderr


FROZEN = """
import shared.nameko_ext.green as green
import socket, time
import eventlet
from psycopg2 import OperationalError, extensions

class Standing:
    status = extensions.STATUS_BEGIN

    def __init__(self):
        self.ours, self.servers = socket.socketpair()

    def fileno(self):
        return self.ours.fileno()

    def poll(self):
        return extensions.POLL_READ

green.DATABASE_ANSWERS = 0.2
others = []
eventlet.spawn_after(0.1, others.append, "went on")
try:
    green.wait_for_postgresql(Standing())
except OperationalError as error:
    print(error, *others, sep="; ")
"""


def test_a_frozen_server_is_given_up_and_holds_nobody_else_up() -> None:
    """A connection that stands, whose server says nothing more: others go on meanwhile, and then it is over."""
    done = subprocess.run(
        [sys.executable, "-c", FROZEN],
        cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "no word from the database in time; went on\n", done.stderr
