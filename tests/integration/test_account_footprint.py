"""What five hundred Stripe accounts take of a process beside one: no thread, connection, queue or series of a metric an account."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.processes import SERVICES, fetch
from local.servers import PostgreSQL, RabbitMQ
from tests.bench.measure import load
from tests.bench.system import System

ACCOUNTS = 500
LUCK = ACCOUNTS // 10
"""Pools grow with what is done at the same moment, and series with what came of it: far less than one an account."""

MOVE = """
UPDATE customers SET account = 'acct_1', platform_stripe_customer_id = 'cus_' || customers.id - %(accounts)s + 1, business_pk = b.id
FROM businesses b WHERE b.account = 'acct_1' AND platform_stripe_customer_id = 'cus_2'
"""


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: RabbitMQ,
    postgres: PostgreSQL,
    migrated: Callable[[str], str],
) -> Iterator[System]:
    """The system of the bench, with a customer an account, and in the first one as many as there are accounts, on the run's servers."""
    folder = tmp_path_factory.mktemp("accounts")
    made = System(folder, 2 * ACCOUNTS, name="accounts", rabbitmq=rabbitmq, postgres=postgres)
    made.stack.migrated = migrated
    try:
        made.start()
        made.let_in(ACCOUNTS)
        with made.stack.postgres.connection(made.stack.database_name("portal")) as connection:
            connection.cursor().execute(MOVE, {"accounts": ACCOUNTS})
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Footprint:
    """What the processes and their servers have."""

    threads: int
    database_connections: int
    open_files: int
    """Of all processes: connections to the broker, to the vendors and to callers among them."""
    queues: frozenset[str]
    series: frozenset[str]


def footprint(system: System) -> Footprint:
    """As it is now."""
    stack = system.stack
    pids = [system.process(service).pid for service in SERVICES]
    names = ", ".join(f"'{stack.database_name(service)}'" for service in SERVICES)
    counted = f"SELECT count(*) FROM pg_stat_activity WHERE datname IN ({names})"
    return Footprint(
        threads=sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
        database_connections=system.row(stack.database_name("billing"), counted)[0],
        open_files=sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        queues=frozenset(stack.rabbitmq.queues(stack.vhost)),
        series=frozenset(
            line.rpartition(" ")[0]
            for service in SERVICES
            for line in fetch(f"{system.process(service).url}/metrics").splitlines()
            if not line.startswith("#")
        ),
    )


def fail(system: System, accounts: int, failures: int) -> None:
    """So many failures, of so many accounts in turn; returns when the notifier has written all down and sent what it sends."""
    notifier = system.stack.database_name("notifier")
    before = written(system)
    plan = system.connect_plan("acct_1", 8, most=failures)
    plan |= {"accounts": accounts, "first": 0, "customers": failures // accounts}
    load(plan, system.process("billing").pid)
    end = time.monotonic() + 90
    due = "SELECT count(*) FROM notifications WHERE status IN ('pending', 'sending') AND due_at < now() + interval '1 second'"
    while written(system) < before + failures or system.row(notifier, due)[0]:
        assert time.monotonic() < end, "not all failures were written down and sent in time"
        time.sleep(0.25)


def written(system: System) -> int:
    """How many failures the notifier has written down."""
    (count,) = system.row(
        system.stack.database_name("notifier"), "SELECT count(*) FROM notifications"
    )
    return int(count)


@pytest.mark.timeout(240)
def test_five_hundred_accounts_take_no_more_than_one(system: System) -> None:
    """As many failures, first of one account, then of five hundred."""
    fail(system, 1, ACCOUNTS)
    one = footprint(system)
    fail(system, ACCOUNTS, ACCOUNTS)
    many = footprint(system)
    assert many.threads <= one.threads + LUCK
    assert many.database_connections <= one.database_connections + LUCK
    assert many.open_files <= one.open_files + LUCK
    assert many.queues <= one.queues
    assert len(many.series - one.series) <= LUCK
    assert not [line for line in many.series if "acct_" in line]
