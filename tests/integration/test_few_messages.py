"""What needs no answer of its own travels with the next statement, and is done as if it had been sent by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2 import NotSupportedError
from sqlalchemy import text
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from shared.database import DatabaseUnavailable, Transactions, UnstorableValue, make_engine
from shared.postgresql import WITH_NEXT
from shared.prepared import MARK

ADD = text("INSERT INTO words (id, word) VALUES (:id, :word)")
READ = text("SELECT word FROM words WHERE id = ANY(:ids) ORDER BY id")


@pytest.fixture
def db(postgres: PostgreSQL, request: pytest.FixtureRequest) -> Iterator[Transactions]:
    """An empty table of words."""
    name = f"few_messages_{abs(hash(request.node.name))}"
    engine = make_engine(postgres.create_database(name), pool_size=1, max_overflow=0)
    made = Transactions(engine)
    with made.transaction() as session:
        session.execute(text("CREATE TABLE words (id integer PRIMARY KEY, word varchar(8))"))
    yield made
    engine.dispose()
    postgres.drop_database(name)


Look = Callable[[], tuple[str, str]]


@pytest.fixture
def look(db: Transactions, postgres: PostgreSQL) -> Look:
    """What the server knows of the one connection: its latest message, and whether a transaction is open."""

    def look() -> tuple[str, str]:
        name = db.engine.url.database
        with postgres.connection("postgres") as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT query, state FROM pg_stat_activity WHERE datname = %s AND application_name = 'portico'",
                (name,),
            )
            ((message, state),) = cursor.fetchall()
        return " ".join(message.split()), state

    return look


def add(session: Session, id: int, word: str = "word", **how: Any) -> None:
    session.execute(ADD, {"id": id, "word": word}, execution_options=how)


def words(session: Session, *ids: int) -> list[str]:
    return list(session.scalars(READ, {"ids": list(ids)}))


def test_begin_travels_with_the_first_statement(db: Transactions, look: Look) -> None:
    """And COMMIT is said where there is something to commit."""
    with db.transaction() as session:
        session.execute(text("SELECT 1"))
        assert look() == ("BEGIN; SELECT 1", "idle in transaction")
        session.execute(text("SELECT 2"))
        assert look() == ("SELECT 2", "idle in transaction")
    assert look() == ("COMMIT", "idle")
    with db.transaction():
        pass
    assert look() == ("COMMIT", "idle")


def test_what_travels_with_the_next_one_is_seen_by_it(db: Transactions, look: Look) -> None:
    """It is done before, in their order, in one message; what is left goes with COMMIT."""
    with db.transaction() as session:
        add(session, 1, "first", **WITH_NEXT)
        session.execute(text("UPDATE words SET word = 'then' WHERE id = 1"), execution_options=WITH_NEXT)  # fmt: skip
        assert words(session, 1) == ["then"]
        assert look()[0].startswith("BEGIN; INSERT INTO words (id, word) VALUES (1, 'first'); UPDATE words")  # fmt: skip
        add(session, 2, "per%cent", **WITH_NEXT)
    assert look() == ("INSERT INTO words (id, word) VALUES (2, 'per%cent'); COMMIT", "idle")
    with db.reading() as session:
        assert words(session, 1, 2) == ["then", "per%cent"]


def test_what_is_rolled_back_never_travels(db: Transactions) -> None:
    """What waited for the next statement is forgotten with its transaction, and not sent with another one's."""
    with pytest.raises(LookupError), db.transaction() as session:
        add(session, 1)
        add(session, 2, **WITH_NEXT)
        raise LookupError
    with db.transaction() as session:
        assert words(session, 1, 2) == []


@pytest.mark.parametrize("follows", [True, False])
def test_what_is_wrong_with_it_is_raised_with_the_next_one(db: Transactions, follows: bool) -> None:
    """Or at COMMIT; nothing of its transaction is kept, and the connection goes on."""
    with pytest.raises(UnstorableValue), db.transaction() as session:
        add(session, 1)
        add(session, 2, "longer than its column", **WITH_NEXT)
        if follows:
            words(session, 1)
    with db.transaction() as session:
        assert words(session, 1, 2) == []


@pytest.mark.parametrize("options", [{}, {MARK: True}])
def test_what_waits_is_kept_where_a_value_can_not_be_said(
    db: Transactions, options: dict[str, bool]
) -> None:
    """psycopg2 refuses a value before anything is sent: the transaction goes on, and lacks nothing that came before."""
    with db.transaction() as session:
        add(session, 1, **options)
        add(session, 2, **WITH_NEXT)
        with pytest.raises(UnstorableValue, match="NUL"):
            add(session, 3, "\0", **options)
        add(session, 4, **options)
    with db.reading() as session:
        assert words(session, 1, 2, 3, 4) == ["word"] * 3


def test_nothing_is_put_off_within_a_savepoint(db: Transactions) -> None:
    """What is wrong is known before its end, so that going back to it undoes just that."""
    with db.transaction() as session:
        add(session, 1, **WITH_NEXT)
        with session.begin_nested():
            add(session, 2, **WITH_NEXT)
        with pytest.raises(UnstorableValue), session.begin_nested():
            add(session, 3, "longer than its column", **WITH_NEXT)
    with db.reading() as session:
        assert words(session, 1, 2, 3) == ["word", "word"]


def test_reading_opens_no_transaction(db: Transactions, look: Look) -> None:
    """Each statement is by itself, and the next transaction is one again."""
    with db.reading() as session:
        session.execute(text("SELECT 1"))
        assert look() == ("SELECT 1", "idle")
    assert look() == ("SELECT 1", "idle")
    with pytest.raises(LookupError), db.transaction() as session:
        add(session, 1)
        assert look()[1] == "idle in transaction"
        raise LookupError
    with db.reading() as session:
        assert words(session, 1) == []


def test_a_connection_that_broke_is_away_and_another_one_taken(
    db: Transactions, postgres: PostgreSQL
) -> None:
    """Also where only something that travels with COMMIT was left to be said."""
    with pytest.raises(DatabaseUnavailable), db.transaction() as session:
        add(session, 1)
        add(session, 2, **WITH_NEXT)
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portico'")  # fmt: skip
    with db.transaction() as session:
        assert words(session, 1, 2) == []
        add(session, 1)


def test_a_servers_other_default_of_isolation_changes_nothing(
    db: Transactions, postgres: PostgreSQL
) -> None:
    """Neither what a transaction sees, nor that its connection goes back to the pool after reading."""
    url = db.engine.url
    postgres.execute(f"ALTER DATABASE {url.database} SET default_transaction_isolation = 'serializable'")  # fmt: skip
    db.engine.dispose()
    for _ in range(2):
        for begin in (db.reading, db.transaction):
            with begin() as session:
                assert session.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_no_other_isolation_is_promised(db: Transactions) -> None:
    """A level that BEGIN would not say is refused, instead of being another one."""
    with db.engine.connect() as connection, pytest.raises(NotSupportedError):
        connection.execution_options(isolation_level="SERIALIZABLE")
