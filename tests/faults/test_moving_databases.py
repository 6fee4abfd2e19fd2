"""A database that takes no writes, ends connections, has none left or gives way to its standby, under real services."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg2
import pytest

from examples.host_app import Portico, PorticoError
from local.processes import SERVICES
from local.servers import PostgreSQL
from tests.faults.poster import Poster
from tests.faults.system import System
from tests.faults.test_promises import alive, failed, mails, ready, settle

pytestmark = pytest.mark.punctual

READY_SECONDS = 5
TRIES = ("retry", "dead")
OWN_SERVERS = True
CUSTOMERS = 200
"""For the fixture `system`: what all failures of this module use up."""


def outcomes(system: System, service: str) -> dict[str, float]:
    """How often an event was handled with each outcome, as the service counts it."""
    url = f"{system.stack.processes(service)[0].url}/metrics"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as page:
        lines = page.read().decode().splitlines()
    found: dict[str, float] = {}
    for line in lines:
        if line.startswith("portico_event_handler_duration_seconds_count"):
            outcome = line.partition('outcome="')[2].partition('"')[0]
            found[outcome] = found.get(outcome, 0) + float(line.rpartition(" ")[2])
    return found


@contextlib.contextmanager
def read_only(system: System, services: Sequence[str]) -> Iterator[None]:
    """The databases of these services take no writes, on new connections and on those that stand."""
    names = [system.stack.database_name(service) for service in services]
    change = "ALTER DATABASE {} SET default_transaction_read_only = {}"
    for name in names:
        system.postgres.execute(change.format(name, "on"))
        system.postgres.end_connections(name)
    try:
        yield
    finally:
        for name in names:
            system.postgres.execute(change.format(name, "off"))


def unready(system: System, services: Sequence[str] = SERVICES) -> None:
    """All of these say so within seconds, and are alive."""
    for service in services:
        system.wait(lambda service=service: not ready(system, service), READY_SECONDS)  # type: ignore[misc]
        assert alive(system, service)


def recovered(system: System, services: Sequence[str] = SERVICES) -> None:
    """All are ready again, by themselves."""
    for service in services:
        system.wait(lambda service=service: ready(system, service), 30)  # type: ignore[misc]
    assert system.fell == []


def test_databases_that_take_no_writes_are_away(system: System, poster: Poster) -> None:
    """A failover's first seconds: 503 and nothing else for webhooks, a named error for calls; then all of it is done once."""
    with read_only(system, SERVICES):
        poster.post([failed(system, f"readonly{number}") for number in range(10)])
        unready(system)
        with Portico(system.stack.amqp_uri) as portico, pytest.raises(PorticoError) as refused:
            portico.call("portal", "upsert_business", business_id="faults", name="Faults & Sons")
        assert "TemporarilyUnavailable" in str(refused.value)
        time.sleep(3)
    poster.drain(60)
    recovered(system)
    assert set(poster.ledger.answers) == {200, 503}
    settle(system)
    assert mails(system, "readonly") == [1] * 10


def test_events_wait_for_a_database_that_takes_no_writes_without_a_try_lost(
    system: System, poster: Poster
) -> None:
    """Billing accepts, the others' databases refuse: each event is held, none is retried, and each failure is mailed once."""
    consumers = ("portal", "notifier")
    before = {service: outcomes(system, service) for service in consumers}
    with read_only(system, consumers):
        unready(system, consumers)
        poster.post([failed(system, f"held{number}") for number in range(10)])
        poster.drain(60)
        for service in consumers:
            system.wait(
                lambda service=service: (  # type: ignore[misc]
                    outcomes(system, service).get("held", 0) > before[service].get("held", 0)
                ),
                20,
            )
    recovered(system)
    settle(system)
    assert mails(system, "held") == [1] * 10
    for service in consumers:
        after = outcomes(system, service)
        assert [after.get(one, 0) - before[service].get(one, 0) for one in TRIES] == [0, 0]


def test_connections_that_are_ended_under_load_cost_nothing(system: System, poster: Poster) -> None:
    """57P01 ten times in five seconds, wherever each transaction is just then."""
    poster.post([failed(system, f"ended{number}") for number in range(100)], over=5)
    for _ in range(10):
        system.postgres.end_connections()
        time.sleep(0.5)
    poster.drain(60)
    settle(system)
    recovered(system)
    assert set(poster.ledger.answers) <= {200, 503}
    assert mails(system, "ended") == [1] * 100


@contextlib.contextmanager
def all_connections_taken(system: System) -> Iterator[None]:
    """Others hold every connection that the server gives: counted, for one that is just being made has no name yet."""
    with contextlib.ExitStack() as taken, system.postgres.connection("postgres") as greedy:
        with greedy.cursor() as cursor:
            cursor.execute("SELECT current_setting('max_connections')::int")
            (free,) = cursor.fetchone() or (0,)
        free -= 1  # this one

        def all_ours() -> bool:
            nonlocal free
            with contextlib.suppress(psycopg2.OperationalError):
                while free:
                    taken.enter_context(system.postgres.connection("postgres"))
                    free -= 1
            with greedy.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
                    "WHERE application_name = 'portico'"
                )
            return free == 0

        system.wait(all_ours, 30)
        yield


def test_a_server_without_a_free_connection_is_away(system: System, poster: Poster) -> None:
    """53300, once the services' own connections are gone: others have taken all that there are."""
    with all_connections_taken(system):
        poster.post([failed(system, f"crowded{number}") for number in range(5)])
        unready(system)
    poster.drain(60)
    recovered(system)
    assert set(poster.ledger.answers) == {200, 503}
    settle(system)
    assert mails(system, "crowded") == [1] * 5


def test_a_standby_takes_over(system: System, poster: Poster, tmp_path: Path) -> None:
    """The address leads to a standby: away, as long as it is one. Promoted, it is the database, and nothing was lost."""
    standby = PostgreSQL(tmp_path / "standby", durable=True)
    primary = system.postgres
    standby.follow(primary)
    standby.start()
    poster.post([failed(system, f"takeover{number}") for number in range(60)], over=6)
    time.sleep(2)
    system.stack.database.lead_to(standby.port)
    system.stack.database.cut()
    unready(system)
    primary.stop()  # in order: the standby has all that it wrote
    system.postgres = system.stack.postgres = standby
    standby.promote()
    primary.close()
    poster.drain(60)
    recovered(system)
    settle(system)
    assert mails(system, "takeover") == [1] * 60
