"""`python -m tests.bench`: the table of docs/benchmarks.md, measured anew. BENCH_ROUNDS, BENCH_SECONDS, BENCH_CUSTOMERS and
BENCH_FAILURES change how thoroughly; BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench import report
from tests.bench.measure import Figure, load, memory_mb
from tests.bench.system import BENCH_PYTHON, System, running

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "100000"))
CONNECTIONS = 64
CALLERS = (1, 4, 16, 64, 128, 256)
"""A process sheds load beyond 300: 50 requests in work and 250 that wait (shared/nameko_ext/web.py)."""
SERVICES = ("portal", "billing", "notifier")
WARM = 600
"""Requests before the first round: templates, statements and connections are made by then, on every side."""
IDLE_FAILURES = int(os.environ.get("BENCH_FAILURES", "60"))
COLD_FAILURES = 5
"""The first ones, which are not counted: connections, statements and templates are made then."""

Job = Callable[[], dict[str, Any]]
Tick = Callable[[], None]
"""Called after each step, for the progress bar."""


def jobs(system: System, seconds: float) -> dict[str, Job]:
    """What is measured in each round, yardstick beside figure."""
    portal = system.stack.processes("portal")[0]
    fastapi = system.fastapi
    if fastapi is None:
        raise RuntimeError("the system was not started")
    hello_plan = {
        "port": system.hello.port,
        "connections": CONNECTIONS,
        "seconds": seconds,
        "paths": ["/hello/maria"],
    }
    pages, hooks, calls = system.page_plan, system.webhook_plan, system.rpc_plan
    rpc_load = "tests.bench.rpc_load"
    return {
        "hello": lambda: load(hello_plan, system.hello.pid),
        "page": lambda: load(pages(portal.port, CONNECTIONS, seconds), portal.pid),
        "fastapi page": lambda: load(pages(system.fastapi_port, CONNECTIONS, seconds), fastapi.pid),
        "webhook": lambda: load(hooks(system.bare.port, CONNECTIONS, seconds), system.bare.pid),
        "fastapi webhook": lambda: load(
            hooks(system.fastapi_port, CONNECTIONS, seconds), fastapi.pid
        ),
        "lookup": lambda: load(calls("portal", CONNECTIONS, seconds), portal.pid, rpc_load),
        "plain lookup": lambda: load(
            calls("hello", CONNECTIONS, seconds), system.hello.pid, rpc_load
        ),
        "disk": lambda: system.commits_a_second(max(1, int(seconds))),
    }


def warm_up(system: System) -> None:
    """Bring every side to its working temperature."""
    portal, fastapi = system.stack.processes("portal")[0], system.fastapi_port
    for plan in (
        system.page_plan(portal.port, 16, 1),
        system.page_plan(fastapi, 16, 1),
        system.webhook_plan(system.bare.port, 16, 1),
        system.webhook_plan(fastapi, 16, 1),
    ):
        plan.pop("seconds")
        load({**plan, "most": WARM}, os.getpid())
    for service in ("portal", "hello"):
        load(system.rpc_plan(service, 16, 2), os.getpid(), "tests.bench.rpc_load")


def by_callers(system: System, tick: Tick) -> dict[str, list[tuple[int, float, float]]]:
    """Rate and CPU an answer for one to 256 callers at a time: how batches grow."""
    portal = system.stack.processes("portal")[0]
    found: dict[str, list[tuple[int, float, float]]] = {"page": [], "webhook": []}
    for callers in CALLERS:
        page = load(system.page_plan(portal.port, callers, SECONDS / 2), portal.pid)
        found["page"].append((callers, page["rate"], page["cpu"]))
        hook = load(system.webhook_plan(system.bare.port, callers, SECONDS / 2), system.bare.pid)
        found["webhook"].append((callers, hook["rate"], hook["cpu"]))
        tick()
    return found


def failure_to_mail(system: System, tick: Tick) -> list[float]:
    """Milliseconds from sending one signed failure until SendGrid has the mail, one after another on an idle system."""
    billing = system.stack.processes("billing")[0]
    took = []
    for number in range(COLD_FAILURES + IDLE_FAILURES):
        before = count(system)["mails"]
        # Each of another customer: a second failure of one within minutes waits for the first one's mail.
        plan = system.webhook_plan(billing.port, 1, 1) | {"first_customer": 1 + number}
        plan.pop("seconds")
        began = time.time()
        load({**plan, "most": 1}, billing.pid)
        began = load_began(system, began)
        end = time.time() + 20
        while (now := count(system))["mails"] == before:
            if time.time() > end:
                raise RuntimeError("a failure did not become a mail in 20 s")
            time.sleep(0.01)
        took.append(1000 * (now["last"] - began))
        tick()
    return took[COLD_FAILURES:]


def load_began(system: System, fallback: float) -> float:
    """When the last webhook came, by billing's own clock: starting the load generator is no part of the way."""
    with (
        system.stack.postgres.connection("billing") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT extract(epoch FROM max(received_at)) FROM inbox")
        (moment,) = cursor.fetchone() or (None,)
    return float(moment) if moment is not None else fallback


def count(system: System) -> dict[str, Any]:
    """What the stand-in for SendGrid has counted."""
    import json

    with urllib.request.urlopen(f"{system.stub.url}/count", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def start_to_ready(system: System, tick: Tick) -> dict[str, tuple[float, float]]:
    """Seconds from starting a service's process until `/readyz` says yes, and its memory then: the median of three."""
    found = {}
    for service in SERVICES:
        seconds, memory = [], []
        for _ in range(3):
            process = system.stack.processes(service)[0]
            process.terminate()
            began = time.perf_counter()
            process.launch()
            process.wait()
            seconds.append(time.perf_counter() - began)
            time.sleep(1)
            memory.append(memory_mb(process.pid))
        found[service] = (statistics.median(seconds), statistics.median(memory))
        tick()
    return found


def in_rounds(system: System, tick: Tick) -> dict[str, Figure]:
    """Each job in each round."""
    figures = {name: Figure(name) for name in jobs(system, SECONDS)}
    for number in range(ROUNDS):
        # In turn forwards and backwards, so that nobody always comes after the same one.
        order = list(jobs(system, SECONDS).items())
        for name, job in order if number % 2 == 0 else reversed(order):
            figures[name].rounds.append(job())
            tick()
    return figures


def main() -> int:
    """Measure, print, write."""
    if not BENCH_PYTHON.exists():
        print("the yardstick is not installed: use `make bench`", file=sys.stderr)
        return 1
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress, running(CUSTOMERS) as system:

        def bar(what: str, steps: int) -> Tick:
            task = progress.add_task(what, total=steps)
            return lambda: progress.advance(task)

        progress.print(f"started with {CUSTOMERS:,} customers, {time.monotonic() - began:.0f} s")
        took = failure_to_mail(system, bar("failure to mail", COLD_FAILURES + IDLE_FAILURES))
        warm_up(system)
        figures = in_rounds(system, bar("rounds", ROUNDS * len(jobs(system, SECONDS))))
        curve = by_callers(system, bar("1 to 256 callers", len(CALLERS)))
        starts = start_to_ready(system, bar("starts", len(SERVICES)))
    found = report.Found(
        figures=figures,
        curve=curve,
        starts=starts,
        failure_to_mail=sorted(took),
        customers=CUSTOMERS,
        rounds=ROUNDS,
        seconds=SECONDS,
        connections=CONNECTIONS,
        minutes=(time.monotonic() - began) / 60,
    )
    report.show(found)
    if os.environ.get("BENCH_WRITE", "yes"):
        report.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
