"""The database helpers on SQLite; tests/integration runs the same on PostgreSQL."""

import datetime as dt

import pytest
from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.database import Transactions, UnstorableValue, UtcDateTime, count_on_commit, make_engine
from shared.statements import insert_new


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.fixture
def db():
    engine = make_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield Transactions(engine)
    engine.dispose()


def test_insert_new_tells_what_was_new(db):
    """Rows that exist already are left alone and not returned."""
    with db.transaction() as session:
        first = insert_new(
            session, Note.__table__, [{"key": "a", "at": NOW}], conflict=["key"], returning="key"
        )
    with db.transaction() as session:
        second = insert_new(
            session,
            Note.__table__,
            [{"key": "a", "at": NOW}, {"key": "b", "at": NOW}],
            conflict=["key"],
            returning="key",
        )
    assert (first, second) == (["a"], ["b"])


def test_no_rows_is_no_statement(db):
    """An empty batch is fine."""
    with db.transaction() as session:
        assert insert_new(session, Note.__table__, [], conflict=["key"], returning="key") == []


def test_moments_come_back_aware_in_utc(db):
    """What went in with any offset comes back as the same moment in UTC."""
    with db.transaction() as session:
        session.add(Note(key="a", at=NOW))
    with db.reading() as session:
        at = session.scalars(select(Note.at)).one()
    assert at == NOW
    assert at.tzinfo is dt.UTC


def test_naive_moments_are_refused(db):
    """A datetime without a zone is a mistake that must not reach the table."""
    with pytest.raises(Exception, match="naive"), db.transaction() as session:
        session.add(Note(key="a", at=dt.datetime(2026, 1, 1)))
        session.flush()


def test_a_moment_outside_the_years_of_utc_is_no_storable_value(db):
    """Nobody has to be asked again for what no try can write: its event is given up at once."""
    beyond = dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1)))
    with pytest.raises(UnstorableValue, match="years"), db.transaction() as session:
        session.add(Note(key="a", at=beyond))
        session.flush()


def test_rollback_when_the_body_raises(db):
    """Nothing half-written stays."""
    with pytest.raises(KeyError), db.transaction() as session:
        session.add(Note(key="a", at=NOW))
        session.flush()
        raise KeyError
    with db.reading() as session:
        assert session.scalars(select(Note)).all() == []


def counted_by(counter):
    ((metric,),) = ([family.samples[0]] for family in counter.collect())
    return metric.value


def test_only_what_is_committed_is_counted(db):
    """A transaction that is rolled back, and done again, counts once: what it counted is what came of it."""
    counter = Counter("notes_total", "Notes", registry=None)

    def note(key):
        with db.transaction() as session:
            count_on_commit(session, counter)
            assert counted_by(counter) == counted  # not before the commit
            session.add(Note(key=key, at=NOW))

    counted = 0
    note("a")
    counted = 1
    assert counted_by(counter) == 1
    with pytest.raises(IntegrityError):
        note("a")
    assert counted_by(counter) == 1
    with pytest.raises(KeyError), db.transaction() as session:
        count_on_commit(session, counter)
        raise KeyError
    assert counted_by(counter) == 1
    note("b")
    assert counted_by(counter) == 2
