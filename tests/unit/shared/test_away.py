"""What happens while the database is away: told apart from real errors, held rather than used up, answered 503."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from structlog.testing import capture_logs

from shared.database import (
    REFUSED_SECONDS,
    DatabaseUnavailable,
    Transactions,
    UnstorableValue,
    make_engine,
)
from shared.database_errors import ends_connection
from shared.events import CustomerDeleted, Event, encode
from shared.nameko_ext import consumer
from shared.nameko_ext.consumer import EventConsumer
from shared.nameko_ext.web import Http
from tests.unit.billing.conftest import NOW

EVENT = Event(
    id="evt_1/customer.deleted",
    occurred_at=NOW,
    correlation_id="evt_1",
    data=CustomerDeleted(stripe_customer_id="cus_1"),
)


class Coded(psycopg2.OperationalError):
    """An error of PostgreSQL's with an SQLSTATE."""

    def __init__(self, pgcode: str) -> None:
        super().__init__("said by the server")
        self._code = pgcode

    @property
    def pgcode(self) -> str:
        return self._code


@pytest.fixture
def database() -> Iterator[Transactions]:
    engine = make_engine("sqlite://")
    yield Transactions(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('FATAL:  password authentication failed for user "portal"', "refuses the user or the password"),
        ('FATAL:  database "portal" does not exist', "the server has no such database"),
        ('FATAL:  role "portal" does not exist', "the database has no such user"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "lets nobody in from here"),
        ("could not connect to server: Connection refused", "the database does not answer"),
    ],
)  # fmt: skip
def test_why_no_connection_is_had_is_told_in_words(
    database: Transactions, said: str, told: str
) -> None:
    """psycopg2 gives no SQLSTATE then. What is told names no user, host or database."""
    failed = f'connection to server at "10.0.0.2", port 5432 failed: {said}'
    refused = OperationalError(
        "", {}, psycopg2.OperationalError(failed), connection_invalidated=True
    )
    with pytest.raises(DatabaseUnavailable, match=told) as caught, database.transaction():
        raise refused
    assert not {"10.0.0", '"portal"'} & set(str(caught.value).split())


@pytest.mark.parametrize(
    "code",
    ["08006", "25006", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "58030"],
)  # fmt: skip
def test_trouble_that_passes_is_the_databases_absence(database: Transactions, code: str) -> None:
    """A broken connection, a standby, a conflict or deadlock, no room, memory or connections, a lock, a cancelled statement,
    a shutdown or start, a failing disk: try again, nothing is wrong with us."""
    with pytest.raises(DatabaseUnavailable, match=code), database.transaction():
        raise OperationalError("SELECT 1", {}, Coded(code))


@pytest.mark.parametrize(
    ("code", "useless"), [("08003", True), ("25006", True), ("57P01", True), ("57P03", True), ("53100", False), ("57014", False), ("40P01", False)]
)  # fmt: skip
def test_a_connection_goes_where_it_is_of_no_more_use(code: str, useless: bool) -> None:
    """A full disk or a slow statement says nothing about the connection; a standby or a shutdown does, about all."""
    assert ends_connection(Coded(code)) is useless


@pytest.mark.parametrize(
    ("error", "useless"),
    [
        (psycopg2.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg2.InterfaceError("connection already closed"), True),
        (psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message"), True),
        (psycopg2.ProgrammingError("can't adapt type 'dict'"), False),
    ],
)
def test_without_an_sqlstate_it_is_the_connection(error: Exception, useless: bool) -> None:
    """The server gives one with each of its errors; what has none never came from it, and is libpq's or our own mistake."""
    assert ends_connection(error) is useless


def test_no_room_is_told_for_a_while_though_a_probe_can_not_see_it(
    database: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk answers reads: after a refused write the database is not ready for ten seconds, then work may try again."""
    database.ping()
    with pytest.raises(DatabaseUnavailable), database.transaction():
        raise OperationalError("INSERT", {}, Coded("53100"))
    with pytest.raises(DatabaseUnavailable, match="refused a write"):
        database.ping()
    later = time.monotonic() + REFUSED_SECONDS
    monkeypatch.setattr("shared.database.time.monotonic", lambda: later)
    database.ping()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SQLite database with a table."""
    path = tmp_path / "some.sqlite3"
    engine = make_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT)"))
    engine.dispose()
    return path


def test_an_sqlite_file_that_takes_no_writes_is_absence(file: Path) -> None:
    """SQLITE_READONLY; the database counts as not ready."""
    engine = make_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    database = Transactions(engine)
    with (
        pytest.raises(DatabaseUnavailable, match="SQLITE_READONLY"),
        database.transaction() as session,
    ):
        session.execute(text("INSERT INTO notes VALUES ('x')"))
    with pytest.raises(DatabaseUnavailable, match="refused a write"):
        database.ping()
    engine.dispose()


def test_an_sqlite_file_without_room_is_absence(file: Path) -> None:
    """SQLITE_FULL; the database counts as not ready."""
    engine = make_engine(f"sqlite:///{file}")
    database = Transactions(engine)
    with pytest.raises(DatabaseUnavailable, match="SQLITE_FULL"), database.transaction() as session:
        session.execute(text("PRAGMA max_page_count = 1"))
        session.execute(text("INSERT INTO notes VALUES (:note)"), {"note": "x" * 100_000})
    with pytest.raises(DatabaseUnavailable, match="refused a write"):
        database.ping()
    engine.dispose()


def test_an_sqlite_file_that_somebody_else_writes_is_absence(file: Path) -> None:
    """SQLITE_BUSY, after the wait for it."""
    engine = make_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", lambda made, record: made.execute("PRAGMA busy_timeout = 20"))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="SQLITE_BUSY"):
        Transactions(engine).ping()
    other.close()
    Transactions(engine).ping()
    engine.dispose()


def test_a_value_that_sqlite_can_not_take_has_the_same_name(file: Path) -> None:
    """A number beyond 64 bits and half a character: the driver refuses them, with errors of its own."""
    engine = make_engine(f"sqlite:///{file}")
    for value in (1 << 70, "half a \ud800 character"):
        with pytest.raises(UnstorableValue), Transactions(engine).transaction() as session:
            session.execute(text("INSERT INTO notes VALUES (:note)"), {"note": value})
    engine.dispose()


def test_no_error_shows_its_statements_parameters(database: Transactions) -> None:
    """A log line, a dead letter's reason: neither names what was to be written."""
    with pytest.raises(DBAPIError) as error, database.transaction() as session:
        session.execute(text("INSERT INTO nowhere VALUES (:email)"), {"email": "ada@example.com"})
    assert "ada" not in str(error.value)


def test_an_error_of_ours_stays_an_error(database: Transactions) -> None:
    """A statement that can never work is not called "unavailable": it would be tried indefinitely."""
    with pytest.raises(OperationalError), database.transaction() as session:
        session.execute(text("SELECT * FROM no_such_table"))
    with pytest.raises(ProgrammingError), database.transaction():
        raise ProgrammingError("SELECT", {}, Coded("42P01"))


def test_a_webhook_during_an_outage_is_told_to_come_back() -> None:
    """503 with Retry-After, and no word of what failed; any other error stays a 500."""
    entrypoint: Any = Http("GET", "/webhooks/x")
    entrypoint.container = SimpleNamespace(service_cls=object)
    away = entrypoint.response_from_exception(DatabaseUnavailable("secret detail"))
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
    assert b"secret" not in away.data
    assert entrypoint.response_from_exception(ValueError("detail")).status_code == 500


class Held:
    """A consumer's surroundings: runs handlers in place, keeps what became of the message."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.outcomes: list[str] = []
        self.service_name = "notifier"
        self.config = {"AMQP_URI": "amqp://nowhere"}
        self.threads: list[Any] = []

    def spawn_worker(self, entrypoint: Any, args: Any, kwargs: Any, **options: Any) -> None:
        failure = self.failures.pop(0) if self.failures else None
        options["handle_result"](None, None, failure and (type(failure), failure, None))

    def spawn_managed_thread(self, function: Any) -> None:
        self.threads.append(function)

    def ack_message(self, message: Any) -> None:
        self.outcomes.append("acked")


def consuming(held: Held) -> Any:
    made: Any = EventConsumer()
    made.container, made.queue_consumer, made.embedded = held, held, False
    made.queue = SimpleNamespace(name="notifier.billing-events")
    made._move = lambda message, body, queue, headers: held.outcomes.append(queue)
    return made


def message() -> Any:
    return SimpleNamespace(
        headers={},
        delivery_info={},
        body=encode(EVENT),
        refusal="",
        content_type="application/json",
        content_encoding="utf-8",
        channel=SimpleNamespace(connection=True),
    )


def test_an_event_outlives_any_outage_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten failed rounds cost no try: the message is neither moved nor given back, and acked when its effect stands."""
    pauses: list[float] = []
    monkeypatch.setattr(consumer.eventlet, "sleep", pauses.append)
    held = Held([DatabaseUnavailable("away")] * 10)
    entrypoint = consuming(held)
    entrypoint._handle(message(), EVENT, 0)
    while held.threads:
        held.threads.pop()()
    assert held.outcomes == ["acked"]
    assert pauses == [1, 2, 4, 8, 15, 15, 15, 15, 15, 15]


def test_a_held_event_whose_connection_broke_is_left_to_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker delivers it again; handling the old copy would only be work."""
    monkeypatch.setattr(consumer.eventlet, "sleep", lambda seconds: None)
    held = Held([DatabaseUnavailable("away")] * 3)
    old = message()
    consuming(held)._handle(old, EVENT, 0)
    old.channel.connection = None
    held.threads.pop()()
    assert (held.threads, held.outcomes, len(held.failures)) == ([], [], 2)


def test_a_second_copy_joins_the_work_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection broke and the broker delivered the event again: no second handler runs, and the new copy is acked."""
    monkeypatch.setattr(consumer.eventlet, "sleep", lambda seconds: None)
    acked: list[Any] = []
    held = Held([DatabaseUnavailable("away")])
    held.ack_message = acked.append  # type: ignore[method-assign]
    entrypoint, old, new = consuming(held), message(), message()
    entrypoint.handle_message(old.body, old)
    old.channel.connection = None
    entrypoint.handle_message(new.body, new)
    assert len(held.threads) == 1
    held.threads.pop()()
    assert (acked, held.threads) == ([new], [])
    entrypoint.handle_message(old.body, message())  # what is done is not remembered indefinitely
    assert len(acked) == 2


def test_two_events_of_one_id_on_a_connection_that_stands_are_two_messages() -> None:
    """A relay that died before its mark publishes again: each is settled for itself."""
    acked: list[Any] = []
    held = Held([])
    held.ack_message = acked.append  # type: ignore[method-assign]
    entrypoint, one, two = consuming(held), message(), message()
    assert not entrypoint._in_hand.joins(EVENT.id, one)
    assert not entrypoint._in_hand.joins(EVENT.id, two)
    assert entrypoint._in_hand.release(EVENT.id, two) is two
    assert entrypoint._in_hand.release(EVENT.id, one) is one


@pytest.mark.parametrize("error", [ValueError("broken"), consumer.Permanent("never")])
def test_a_failure_whose_connection_broke_is_left_to_the_next_copy(error: Exception) -> None:
    """Neither a waiting room nor the dead letters get a copy, as the broker delivers the message again."""
    held = Held([error])
    entrypoint, old = consuming(held), message()
    del entrypoint._move
    held.spawn_worker = lambda entry, args, kwargs, **options: (  # type: ignore[method-assign]
        setattr(old.channel, "connection", None),
        options["handle_result"](None, None, (type(error), error, None)),
    )
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr(consumer, "publish_raw", lambda *what, **how: held.outcomes.append("moved"))
        entrypoint._handle(old, EVENT, 0)
    assert held.outcomes == []


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([], [("event handled", "done")]),
        ([ValueError("broken")], [("event not handled", "retry")]),
        (
            [consumer.Permanent("never")],
            [("event not handled", "dead"), ("dead letter", None)],
        ),
        ([DatabaseUnavailable("away")], [("event held, the database is away", None)]),
    ],
)
def test_each_event_is_told_by_the_id_that_began_it(
    failures: list[Exception], told: list[tuple[str, str | None]]
) -> None:
    """One line an event and outcome, each with its type, its queue, and Stripe's event id as the correlation id."""
    with capture_logs() as lines:
        consuming(Held(failures))._handle(message(), EVENT, 0)
    assert [(line["event"], line.get("outcome")) for line in lines] == told
    for line in lines:
        assert (line["correlation_id"], line["type"]) == ("evt_1", "customer.deleted")
        assert (line["event_id"], line["queue"]) == (EVENT.id, "notifier.billing-events")


@pytest.mark.parametrize(
    ("body", "event_id", "type_"),
    [
        (b'{"id": "evt_1/x", "type": "later.than_us"}', "evt_1/x", "later.than_us"),
        (b"no JSON", "body:29ecbeb830e32446", "(unreadable)"),
        (b"[]", "body:4f53cda18c2baa0c", "(unreadable)"),
    ],
)
def test_a_dead_letter_is_told_by_what_can_be_read_of_it(
    body: bytes, event_id: str, type_: str
) -> None:
    """Id, type and reason stand in the line; the metric's reason is a word of a small set, whatever the body says."""
    labels = {"service": "notifier", "reason": "unreadable"}
    before = REGISTRY.get_sample_value("portico_dead_letters_total", labels) or 0
    broken = message()
    broken.body = body
    with capture_logs() as lines:
        consuming(Held([])).handle_message(body, broken)
    (line,) = lines
    assert (line["event"], line["event_id"], line["type"]) == ("dead letter", event_id, type_)
    assert line["reason"]
    assert REGISTRY.get_sample_value("portico_dead_letters_total", labels) == before + 1


def test_dead_letters_are_told_before_there_is_one() -> None:
    """A series that begins with 1 has no increase: each usual reason is there with 0 from a service's start."""
    made: Any = EventConsumer()
    made.container = SimpleNamespace(
        service_name="billing", config={"AMQP_URI": "amqp://localhost"}
    )
    made.queue_consumer = SimpleNamespace(register_provider=lambda provider: None)
    made.setup()
    for reason in ("unreadable", "not handled", "Permanent"):
        labels = {"service": "billing", "reason": reason}
        assert REGISTRY.get_sample_value("portico_dead_letters_total", labels) == 0


def test_what_an_error_says_leaves_without_secrets() -> None:
    """Its text lies in a queue for days and is shown on terminals."""
    headers = EventConsumer._headers(message(), "ValueError: sk_live_abc of ada@example.com", 1)
    assert headers["x-error"] == "ValueError: *** of ***@***"


def test_other_failures_still_use_up_their_tries() -> None:
    """A handler's own error goes to the first waiting room."""
    held = Held([ValueError("broken")])
    consuming(held)._handle(message(), EVENT, 0)
    assert held.outcomes == ["notifier.billing-events.retry.5s"]


def test_an_event_whose_value_no_column_takes_is_given_up_at_once() -> None:
    """Each further try would be refused too, with the others waiting behind it."""
    held = Held([UnstorableValue("too long")])
    consuming(held)._handle(message(), EVENT, 0)
    assert held.outcomes == ["notifier.billing-events.dead"]


def test_a_dead_letters_reason_holds_no_address() -> None:
    """It lies in a queue for days, and people copy it into tickets."""
    headers = consuming(Held([]))._headers(message(), "ValueError: ada@example.com", 1)
    assert headers["x-error"] == "ValueError: ***@***"
