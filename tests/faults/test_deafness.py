"""Processes that stand still past the broker's patience, again and again, under load: afterwards everybody listens."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import kombu
import pytest

from local.processes import Process
from local.servers import own_folder
from shared import events
from shared.messaging.topology import queue_name
from tests.faults.load import MOST_CUSTOMERS, Load, make_visitors
from tests.faults.system import STALL_SECONDS, System

pytestmark = pytest.mark.timeout(900)

IN_HAND = 10
"""Events that billing holds when it stops."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Two billings, so that webhooks go on being taken while one stands still."""
    folder = own_folder("faults")
    folder.chmod(0o711)
    with System(folder, replicas={"billing": 2}) as made:
        made.make_customers(MOST_CUSTOMERS)
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def visitors(system: System) -> list[str]:
    """Customers with a card."""
    return make_visitors(system)


def stall(*processes: Process) -> None:
    for process in processes:
        process.signal(signal.SIGSTOP)
    time.sleep(STALL_SECONDS)
    for process in processes:
        process.signal(signal.SIGCONT)


def test_stalls_under_load_leave_nobody_deaf(system: System, visitors: list[str]) -> None:
    """Notifier and portal stop together three times while webhooks come and pages are opened: queues drain, consumers are as
    many as processes, nothing is lost and no process has ended."""
    notifier, portal = system.stack.processes("notifier")[0], system.stack.processes("portal")[0]
    with Load(system, visitors) as load:
        for _ in range(3):
            time.sleep(2)
            stall(notifier, portal)
            time.sleep(6)
    books = load.settle()
    assert books.complaints() == []
    assert system.fell == []


def test_six_stalls_with_messages_in_hand_leave_nobody_deaf(
    system: System, visitors: list[str]
) -> None:
    """Billing holds events that its database keeps waiting, stops past the broker's patience, and settles them first of all when
    it goes on: on a connection that the broker has closed."""
    customers = system.rows(
        "portal",
        "SELECT platform_stripe_customer_id FROM customers WHERE public_id = ANY(%(ids)s)",
        ids=visitors[:IN_HAND],
    )
    for number in range(6):
        with waiting_database(system, "billing"):
            for (customer,) in customers:
                publish(system, number, customer)
            time.sleep(1)
            for process in system.stack.processes("billing"):
                process.signal(signal.SIGSTOP)
        time.sleep(STALL_SECONDS)
        for process in system.stack.processes("billing"):
            process.signal(signal.SIGCONT)
        time.sleep(3)
    system.wait(lambda: not system.waiting(), 60)
    assert system.deaf() == {}
    assert system.fell == []


@contextmanager
def waiting_database(system: System, service: str) -> Iterator[None]:
    """Every statement of the service waits until this block has ended."""
    tables = [name for (name,) in system.rows(
        service, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )]  # fmt: skip
    with (
        system.postgres.connection(system.stack.database_name(service)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield
        cursor.execute("ROLLBACK")


def publish(system: System, number: int, customer: str) -> None:
    """An event of billing's to itself, straight into its queue."""
    event = events.Event(
        id=f"evt_stall{number}{customer}",
        occurred_at=dt.datetime.now(dt.UTC),
        correlation_id="stall",
        data=events.PaymentMethodChanged(stripe_customer_id=customer),
    )
    with kombu.Connection(system.rabbitmq.uri_of(system.stack.vhost)) as connection:
        kombu.Producer(connection.channel()).publish(
            events.encode(event),
            routing_key=queue_name("billing"),
            content_type="application/json",
            content_encoding="utf-8",
            serializer=None,
        )
