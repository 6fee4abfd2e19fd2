"""`python -m tests.bench.host_api`: what the HTTP API for hosts costs beside a customer's page, and how many customers a host tells of
in a second with one key. API_ROUNDS=3 and API_SECONDS=5 say how thoroughly; BENCH_WRITE= (empty) prints without writing.

Each upsert changes a name, so each writes a row and commits; no two requests under way are about one customer.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from examples.host_app import Portico
from shared.contracts.rpc.api_keys import SCOPES
from tests.bench import report
from tests.bench.measure import Figure, load
from tests.bench.report import Target, at_most
from tests.bench.system import System, running

ROUNDS = int(os.environ.get("API_ROUNDS", "3"))
SECONDS = float(os.environ.get("API_SECONDS", "5"))
CUSTOMERS = 20_000
AT_ONCE = 1000
"""Customers in a request of the bulk call."""
CALLERS = 32
BULK_CALLERS = 2
KEYS = 4
"""One key may make 60,000 requests a minute at most."""
AIM_CUSTOMERS = 1000
ONE = '{"business_id": "bench", "external_id": "c-NUMBER", "name": "Customer COUNT", "email": "NUMBER@example.com", "locale": "en"}'
OF_MANY = '{"external_id": "c-NUMBER", "name": "Customer COUNT", "email": "NUMBER@example.com", "locale": "en"}'
COLUMNS = ("one portal", "answers/s", "customers/s", "CPU µs an answer", "p50 ms", "p99 ms", "memory MB")  # fmt: skip


def made_ready(system: System) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Keys, and the plans of the upserts: one at a time, and many."""
    with Portico(system.stack.amqp_uri, exchange="nameko-rpc") as portico:
        keys = [
            portico.call("portal", "create_api_key", name=f"bench {n}", scopes=list(SCOPES))["key"]
            for n in range(KEYS)
        ]
        portico.call("portal", "upsert_business", business_id="bench", name="Bench")
    port = urlsplit(system.stack.api_url).port
    bodies = [_many(range(first, first + AT_ONCE)) for first in range(0, CUSTOMERS, AT_ONCE)]
    single = {"port": port, "path": "/api/v1/customers", "keys": keys, "bodies": [ONE], "numbers": CUSTOMERS}  # fmt: skip
    bulk = {"port": port, "path": "/api/v1/customers/bulk", "keys": keys[:1], "bodies": bodies, "numbers": 1}  # fmt: skip
    return keys, single, bulk


def _many(numbers: range) -> str:
    entries = ", ".join(OF_MANY.replace("NUMBER", str(number)) for number in numbers)
    return f'{{"business_id": "bench", "customers": [{entries}]}}'


def measured(system: System, tick: Any) -> tuple[Figure, Figure, Figure]:
    """A page, an upsert, and many at once, in turns."""
    portal = system.process("portal")
    _, single, bulk = made_ready(system)
    page = system.page_plan(portal.port, CALLERS, seconds=SECONDS)
    one = single | {"connections": CALLERS, "seconds": SECONDS}
    many = bulk | {"connections": BULK_CALLERS, "seconds": SECONDS}
    load(bulk | {"connections": 1, "most": len(bulk["bodies"])}, portal.pid)  # all are there
    load(page | {"seconds": 1}, portal.pid)
    load(one | {"seconds": 1}, portal.pid)
    figures = Figure("page"), Figure("upsert"), Figure("1,000 in bulk, one key")
    for number in range(ROUNDS):
        pairs = list(zip(figures, (page, one, many), strict=True))
        for figure, plan in pairs if number % 2 == 0 else reversed(pairs):
            figure.rounds.append(load(plan, portal.pid))
            tick()
    return figures


def targets(page: Figure, one: Figure, many: Figure) -> list[Target]:
    """What was aimed at."""
    customers = many.rate * AT_ONCE
    return [
        at_most("an upsert over HTTP: CPU over that of a page", 1.2, one.cpu / page.cpu),
        Target(
            "customers a second by one key, in bulk",
            f"≥ {AIM_CUSTOMERS:,}",
            f"{customers:,.0f}",
            customers >= AIM_CUSTOMERS,
        ),
    ]


def row(figure: Figure, customers: int) -> tuple[str, ...]:
    """Of the table."""
    told = f"{figure.rate * customers:,.0f}" if customers else ""
    rest = (figure.cpu, figure.p50, figure.p99, figure.memory)
    return (figure.name, f"{figure.rate:,.1f}", told, *(f"{value:,.0f}" for value in rest))


def main() -> int:
    """Measure, print, write."""
    with running("host-api", CUSTOMERS) as system, report.progress() as bar:
        task = bar.add_task("rounds", total=3 * ROUNDS)
        page, one, many = measured(system, lambda: bar.advance(task))
    rows = [row(page, 0), row(one, 1), row(many, AT_ONCE)]
    aims = targets(page, one, many)
    title = f"{CUSTOMERS:,} customers, {CALLERS} callers ({BULK_CALLERS} in bulk), medians of {ROUNDS} rounds of {SECONDS:g} s"
    report.show(title, COLUMNS, rows)
    report.show_targets(aims)
    if os.environ.get("BENCH_WRITE", "yes"):
        report.write_part("host api", f"{title}.", aims, COLUMNS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
