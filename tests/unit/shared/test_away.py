"""What happens while the database is away: told apart from real errors, held rather than used up, answered 503."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.database import DatabaseUnavailable, Transactions, make_engine
from shared.events import CustomerDeleted, Event, encode
from shared.messaging import consumer
from shared.messaging.consumer import EventConsumer
from shared.web import Http
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


@pytest.mark.parametrize("code", ["57P01", "57014", "53300", "55P03", "40P01"])
def test_trouble_that_passes_is_the_databases_absence(database: Transactions, code: str) -> None:
    """A shutdown, a cancelled statement, no connections, a lock or a deadlock: try again, nothing is wrong with us."""
    with pytest.raises(DatabaseUnavailable), database.transaction():
        raise OperationalError("SELECT 1", {}, Coded(code))


def test_an_error_of_ours_stays_an_error(database: Transactions) -> None:
    """A statement that can never work is not called "unavailable": it would be tried for ever."""
    with pytest.raises(OperationalError), database.transaction() as session:
        session.execute(text("SELECT * FROM no_such_table"))
    with pytest.raises(ProgrammingError), database.transaction():
        raise ProgrammingError("SELECT", {}, Coded("42P01"))


def test_a_webhook_during_an_outage_is_told_to_come_back() -> None:
    """503 with Retry-After, and no word of what failed; any other error stays a 500."""
    entrypoint: Any = Http("POST", "/webhooks/x")
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
    entrypoint.handle_message(old.body, message())  # what is done is not remembered for ever
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


def test_other_failures_still_use_up_their_tries() -> None:
    """A handler's own error goes to the first waiting room."""
    held = Held([ValueError("broken")])
    consuming(held)._handle(message(), EVENT, 0)
    assert held.outcomes == ["notifier.billing-events.retry.5s"]
