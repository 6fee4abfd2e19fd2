"""`python -m tests.bench.hooks`: how many webhooks to hosts go out a second, with one endpoint and with 200 businesses' endpoints.

Hosts answer at once, then after 100 ms. HOOKS=2000 says how many webhooks in each turn; BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from examples.host_app import Portico
from local.processes import fetch
from services.notifier.domain.hooks import PER_OWNER
from tests.bench import report
from tests.bench.system import System, running

HOOKS = int(os.environ.get("HOOKS", "2000"))
BUSINESSES = 200
SENDERS = 8
"""As many as there are where nobody says another number."""
ANSWERS = {"at once": 0.0, "after 100 ms": 0.1}
LEAST_A_SECOND = 5
"""Webhooks, as slow as a busy machine may be."""
AIM = 40
"""Webhooks a second to one endpoint whose host answers at once: ten thousand in about four minutes."""
COLUMNS = ("endpoints", "hosts answer", "webhooks/s", "what the senders allow")

EVENTS = """
INSERT INTO hook_events (hook_event_id, account, event_id, type, occurred_at, object_type, object_id, version, stripe_customer_id,
                         on_behalf_of, livemode, correlation_id, traceparent, received_at, due_at, lookups)
SELECT %(mark)s || n, 'acct_' || 1 + n %% %(businesses)s, %(mark)s || n, 'invoice.payment_failed', now(), 'invoice', 'in_' || n,
       n, 'cus_' || 1 + n / %(businesses)s, '', false, 'evt_' || n, '', now(), now(), 0
FROM generate_series(0, %(many)s - 1) AS n
"""
SENT = """
SELECT count(*), extract(epoch FROM max(at) - min(at)) FROM hook_attempts
WHERE hook_event_id LIKE %(mark)s AND status = 200
"""


def rows(system: System, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """What a statement finds in the notifier's database, or changes there."""
    stack = system.stack
    with (
        stack.postgres.connection(stack.database_name("notifier")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def listening(system: System, businesses: Sequence[str | None]) -> Iterator[None]:
    """An endpoint of each business, None being the installation's; they are gone afterwards."""
    with Portico(system.stack.amqp_uri) as portico:
        made = [
            portico.call(
                "notifier",
                "create_webhook_endpoint",
                url=f"{system.stub.url}/hook/{business}",
                business_id=business,
            )["about"]["endpoint_id"]
            for business in businesses
        ]
        yield
        for endpoint_id in made:
            portico.call("notifier", "delete_webhook_endpoint", endpoint_id=endpoint_id)


def sent_a_second(system: System, many: int, answer: float) -> float:
    """Write so many events down at once, and wait for their webhooks. Raises TimeoutError."""
    fetch(f"{system.stub.url}/hosts-take/{answer}")
    mark = f"evh_{time.time_ns():x}x"
    rows(system, EVENTS, mark=mark, many=many, businesses=BUSINESSES)
    end = time.monotonic() + 60 + many / LEAST_A_SECOND
    while True:
        ((sent, seconds),) = rows(system, SENT, mark=f"{mark}%")
        if sent == many:
            return (many - 1) / float(seconds)
        if time.monotonic() > end:
            raise TimeoutError(f"{sent} webhooks of {many}")
        time.sleep(0.5)


def allowed(endpoints: int, answer: float) -> str:
    """What the senders could send if nothing but the hosts took time."""
    at_once = min(SENDERS, endpoints * PER_OWNER)
    return f"{at_once / answer:.0f}" if answer else ""


def main() -> int:
    """Measure, print, write."""
    found: dict[tuple[int, str], float] = {}
    with running(
        "hooks",
        HOOKS,
        settings={"HOOKS_ALLOW_LOOPBACK": "true", "NOTIFIER_HOOK_SENDERS": f"{SENDERS}"},
    ) as system:
        system.let_in(BUSINESSES)
        theirs = [f"a{number}" for number in range(1, BUSINESSES + 1)]
        for businesses in ([None], theirs):
            with listening(system, businesses):
                for name, answer in ANSWERS.items():
                    found[len(businesses), name] = sent_a_second(system, HOOKS, answer)
    lines = [
        (f"{endpoints}", name, f"{rate:.0f}", allowed(endpoints, ANSWERS[name]))
        for (endpoints, name), rate in found.items()
    ]
    aims = [report.at_least_of("webhooks a second to one endpoint", AIM, found[1, "at once"])]
    title = f"{HOOKS:,} webhooks to hosts, one notifier with {SENDERS} senders for them, {PER_OWNER} at a time to one owner"
    report.conclude("hooks", title, aims, COLUMNS, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
