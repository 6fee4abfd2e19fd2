"""Statements that are planned once a connection: what they tell stays what it was, whatever becomes of connections and tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from local.servers import PostgreSQL
from shared.database import Transactions, UnstorableValue, UtcDateTime, make_engine
from shared.postgresql import WITH_NEXT, Connection
from shared.prepared import MOST, OPTION, begin, prepare_on, prepared
from shared.statements import Kept, is_among, table_of

MOMENT = dt.datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=dt.UTC)
ODD = 'it\'s “100%(s)s” \\ \n\t{"a"} $1 ذهب 👩‍👩‍👧'
NOTE = prepared(
    text(
        "INSERT INTO notes (name, said_at, about) VALUES (:name, :at, CAST(:about AS json)) RETURNING name, about"
    )
)
FIND = prepared(
    text("SELECT name, said_at FROM notes WHERE name = ANY (:names) AND name LIKE '%%' || :end")
)


@pytest.fixture
def database(postgres: PostgreSQL) -> Iterator[Transactions]:
    """One connection to a database with a table."""
    engine = make_engine(postgres.create_database("prepared"), pool_size=1, max_overflow=0)
    made = Transactions(engine)
    with made.transaction() as session:
        session.execute(text("CREATE TABLE notes (name text, said_at timestamptz, about json)"))
    yield made
    engine.dispose()
    postgres.drop_database("prepared")


def find(database: Transactions, *names: str) -> list[Any]:
    with database.reading() as session:
        return list(session.execute(FIND, {"names": list(names), "end": names[-1][-1]}).tuples())


def note(database: Transactions, name: str, about: str | None = None) -> tuple[Any, ...]:
    with database.transaction() as session:
        return tuple(
            session.execute(NOTE, {"name": name, "at": MOMENT, "about": about}).tuples().one()
        )


def plans(database: Transactions) -> dict[str, int]:
    """How often each of the connection's statements went by the plan that it has."""
    with database.reading() as session:
        told = session.execute(text("SELECT name, generic_plans FROM pg_prepared_statements"))
        return {name: uses for name, uses in told.tuples() if name.startswith("portico_")}


def test_values_come_as_they_were_given(database: Transactions) -> None:
    """Quotes, percent signs, dollar signs and emoji, lists of one and of many, moments, documents and nothing."""
    assert note(database, ODD, '{"n": 1.50}') == (ODD, {"n": 1.5})
    assert note(database, "b") == ("b", None)
    assert find(database, ODD) == [(ODD, MOMENT)]
    assert find(database, "a", "c", *"xyz", "b") == [("b", MOMENT)]


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    name: Mapped[str] = mapped_column(primary_key=True)
    said_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


def test_a_statement_kept_as_text_tells_what_sqlalchemys_own_way_tells(
    database: Transactions,
) -> None:
    """Lists of constants and of parameters, percent signs, moments; and what the session was told a moment ago, and has not written yet."""
    notes = table_of(Note)
    statement = select(notes.c.name, notes.c.said_at).where(
        notes.c.name.in_(["b", ODD]), is_among(notes.c.name, "names"), notes.c.name.like("%")
    )
    kept = Kept(statement.order_by(notes.c.name))
    for name in ("b", ODD, "c"):
        with database.transaction() as session:
            session.add(Note(name=name, said_at=MOMENT))
            asked = {"names": ["c", name]}
            told = kept.run(session, asked).tuples().all()
            assert told == session.execute(statement, asked).tuples().all()
            assert told == ([] if name == "c" else [(name, MOMENT)])


def test_a_statement_is_planned_once_a_connection(database: Transactions) -> None:
    """However often it is used, and however long its lists are."""
    for count in range(1, 8):
        find(database, *(["a"] * count))
    assert list(plans(database).values()) == [7]


def test_a_plan_is_made_anew_after_a_while(database: Transactions) -> None:
    """Else one for an empty table would still be gone by when there are millions of rows."""
    how = {"options": OPTION, "connection_factory": Connection}
    engine = create_engine(database.engine.url, pool_size=1, max_overflow=0, connect_args=how)
    prepare_on(engine, planned_for=0)
    event.listen(engine, "connect", lambda _, record: begin(record.info, is_ours=True))
    try:
        for _ in range(3):
            find(Transactions(engine), "a")
        assert list(plans(Transactions(engine)).values()) == [1]
    finally:
        engine.dispose()


def test_a_new_connection_plans_for_itself(database: Transactions) -> None:
    """What was planned on a connection is gone with it."""
    find(database, "a")
    database.engine.dispose()
    find(database, "a")
    assert list(plans(database).values()) == [1]


@pytest.mark.parametrize("default", ["auto", "force_generic_plan"])
def test_where_the_connection_is_a_poolers_nothing_is_prepared(
    database: Transactions, postgres: PostgreSQL, default: str
) -> None:
    """A pooler drops the options of a connection, and gives it to others between two transactions. What the database has by default, as
    whoever knows what it drops may have set it, says nothing of that."""
    engine = database.engine
    postgres.execute(f"ALTER DATABASE prepared SET plan_cache_mode = {default}")
    engine.dispose()
    connect = engine.dialect.connect
    engine.dialect.connect = lambda *args, **given: connect(*args, **given | {"options": ""})  # type: ignore[method-assign]
    note(database, "a")
    assert (find(database, "a"), plans(database)) == ([("a", MOMENT)], {})


def test_a_statement_that_fails_is_told_as_ever(database: Transactions) -> None:
    """The server's words about it, and the next use of it is a new one."""
    note(database, "a")
    with pytest.raises(UnstorableValue, match="json"):
        note(database, "b", "no document")
    assert note(database, "c") == ("c", None)
    assert find(database, "a", "b", "c") == [("c", MOMENT)]


def test_a_plan_that_a_migration_has_left_behind_is_dropped(database: Transactions) -> None:
    """It fails once, where a column that it reads has another type since."""
    note(database, "a")
    find(database, "a")
    with database.transaction() as session:
        session.execute(text("ALTER TABLE notes ALTER said_at TYPE date"))
    with pytest.raises(DBAPIError, match="result type"):
        find(database, "a")
    assert find(database, "a") == [("a", MOMENT.date())]


def test_names_are_given_anew_after_a_message_that_failed_before_its_plan(
    database: Transactions,
) -> None:
    """What travels ahead of it may fail: then nobody knows whether the server has the name."""
    wrong = text("INSERT INTO notes (about) VALUES (CAST('no document' AS json))")
    for _ in range(2):
        with pytest.raises(UnstorableValue, match="json"), database.transaction() as session:
            session.execute(wrong, execution_options=WITH_NEXT)
            session.execute(FIND, {"names": ["a"], "end": "a"})
        assert find(database, "a") == []
    assert len(plans(database)) == 1


def test_what_can_not_be_planned_is_refused_each_time(database: Transactions) -> None:
    """Also where the plan was to be made anew."""
    gone = prepared(text("SELECT * FROM gone WHERE name = :name"))
    for _ in range(2):
        with pytest.raises(ProgrammingError, match="gone"), database.reading() as session:
            session.execute(gone, {"name": "a"})


def test_a_server_keeps_so_many_plans_and_no_more(database: Transactions) -> None:
    """Statements of ever new texts are sent as they are."""
    with database.reading() as session:
        for number in range(MOST + 10):
            told = session.scalar(prepared(text(f"SELECT {number} + :one")), {"one": 1})
            assert told == number + 1
    assert len(plans(database)) == MOST
