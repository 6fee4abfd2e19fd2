"""`python -m tests.bench.host_api`: what the HTTP API for hosts costs beside a customer's page, and how many customers a host tells of
in a second with one key. API_ROUNDS=3 and API_SECONDS=5 say how thoroughly; BENCH_WRITE= (empty) prints without writing.

Each upsert changes a name, so each writes a row and commits; no two requests under way are about one customer. What HTTP costs is what
is left without a page's look-up and drawing, and without the upsert's handler and transaction, which RPC has too (`tests/bench/hollow_portal.py`).
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from examples.host_app import Portico
from local.processes import Process
from local.servers import free_port
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
PAGE, UPSERT, BULK = "page", "upsert", "1,000 in bulk, one key"
PAGE_HTTP, UPSERT_HTTP = "page, HTTP alone", "upsert, HTTP alone"
TELLS_OF = {PAGE: 0, PAGE_HTTP: 0, UPSERT: 1, UPSERT_HTTP: 0, BULK: AT_ONCE}
"""What is measured, and of how many customers each request tells."""
ONE = '{"business_id": "bench", "external_id": "c-NUMBER", "name": "Customer COUNT", "email": "NUMBER@example.com", "locale": "en"}'
OF_MANY = '{"external_id": "c-NUMBER", "name": "Customer COUNT", "email": "NUMBER@example.com", "locale": "en"}'
COLUMNS = ("one portal", "answers/s", "customers/s", "CPU µs an answer", "p50 ms", "p99 ms", "memory MB")  # fmt: skip


def one_more_portal(system: System, module: str) -> tuple[Process, int]:
    """A portal besides, started, and the port of its API."""
    api, port = free_port(), free_port()
    process = Process(module, module, port=port, env={}, log=system.folder / "one-more.log")
    process.env |= system.stack.env("portal", port)
    process.env |= {"API_ADDRESS": f"127.0.0.1:{api}", "API_MODE": "test"}
    process.start()
    return process, api


def made_ready(system: System, port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plans of the upserts: one at a time, and many."""
    with Portico(system.stack.amqp_uri, exchange="nameko-rpc") as portico:
        keys = [
            portico.call("portal", "create_api_key", name=f"bench {n}", scopes=list(SCOPES))["key"]
            for n in range(KEYS)
        ]
        portico.call("portal", "upsert_business", business_id="bench", name="Bench")
    bodies = [_many(range(first, first + AT_ONCE)) for first in range(0, CUSTOMERS, AT_ONCE)]
    single = {"port": port, "path": "/api/v1/customers", "keys": keys, "bodies": [ONE], "numbers": CUSTOMERS}  # fmt: skip
    bulk = {"port": port, "path": "/api/v1/customers/bulk", "keys": keys[:1], "bodies": bodies, "numbers": 1}  # fmt: skip
    return single, bulk


def _many(numbers: range) -> str:
    entries = ", ".join(OF_MANY.replace("NUMBER", str(number)) for number in numbers)
    return f'{{"business_id": "bench", "customers": [{entries}]}}'


def measured(system: System, hollow: Process, hollow_api: int, tick: Any) -> dict[str, Figure]:
    """A page, an upsert, what HTTP costs of either, and many at once, in turns."""
    portal = system.process("portal")
    port = urlsplit(system.stack.api_url).port or 0
    single, bulk = made_ready(system, port)
    page = system.page_plan(portal.port, CALLERS, seconds=SECONDS)
    one = single | {"connections": CALLERS, "seconds": SECONDS}
    many = bulk | {"connections": BULK_CALLERS, "seconds": SECONDS}
    plans = {
        PAGE: (portal, page),
        PAGE_HTTP: (hollow, page | {"port": hollow.port}),
        UPSERT: (portal, one),
        UPSERT_HTTP: (hollow, one | {"port": hollow_api}),
        BULK: (portal, many),
    }
    load(bulk | {"connections": 1, "most": len(bulk["bodies"])}, portal.pid)  # all are there
    for name in (PAGE, UPSERT):
        load(plans[name][1] | {"seconds": 1}, portal.pid)
    for name in (PAGE_HTTP, UPSERT_HTTP):  # each is done once
        process, plan = plans[name]
        most = {"connections": CALLERS, "most": CUSTOMERS}
        load({key: plan[key] for key in plan if key != "seconds"} | most, process.pid)
    figures = {name: Figure(name) for name in plans}
    for number in range(ROUNDS):
        pairs = list(plans.items())
        for name, (process, plan) in pairs if number % 2 == 0 else reversed(pairs):
            figures[name].rounds.append(load(plan, process.pid))
            tick()
    return figures


def targets(figures: dict[str, Figure]) -> list[Target]:
    """What was aimed at."""
    customers = figures[BULK].rate * AT_ONCE
    return [
        at_most(
            "what HTTP costs an upsert over what it costs a page, CPU",
            1.2,
            1 / figures[UPSERT_HTTP].cheaper_than(figures[PAGE_HTTP]),
        ),
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
        task = bar.add_task("rounds", total=len(TELLS_OF) * ROUNDS)
        hollow, api = one_more_portal(system, "tests.bench.hollow_portal")
        try:
            figures = measured(system, hollow, api, lambda: bar.advance(task))
        finally:
            hollow.kill()
    rows = [row(figures[name], customers) for name, customers in TELLS_OF.items()]
    title = f"{CUSTOMERS:,} customers, {CALLERS} callers ({BULK_CALLERS} in bulk), medians of {ROUNDS} rounds of {SECONDS:g} s"
    report.conclude("host api", title, targets(figures), COLUMNS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
