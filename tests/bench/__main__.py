"""`python -m tests.bench`: the table of docs/benchmarks.md, measured anew. BENCH_ROUNDS, BENCH_SECONDS, BENCH_CUSTOMERS and
BENCH_FAILURES change how thoroughly; BENCH_WRITE= (empty) prints without writing the page. `python -m tests.bench alone` prints the part
about one failure, and nothing else.
"""

from __future__ import annotations

import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from local.processes import SERVICES
from tests.bench import alone, report
from tests.bench.measure import Figure, load, memory_mb
from tests.bench.system import System, running
from tests.bench.yardsticks import HAS_FASTAPI, Yardsticks, beside

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "100000"))
FAILURES = int(os.environ.get("BENCH_FAILURES", "120"))
CONNECTIONS = 64
CALLERS = (1, 4, 16, 64, 128, 256)
"""A process sheds load beyond 300: 50 requests in work and 250 that wait (shared/nameko_ext/web.py)."""
WARM = 600
"""Requests before the first round: templates, statements and connections are made by then, on every side."""
RPC_LOAD = "tests.bench.rpc_load"

Job = Callable[[], dict[str, Any]]
Tick = Callable[[], None]
"""Called after each step, for the progress bar."""


def jobs(system: System, yardsticks: Yardsticks, seconds: float) -> dict[str, Job]:
    """What is measured in each round, yardstick beside figure. FastAPI's are missing where it is not installed."""
    portal, bare, hello = system.process("portal"), yardsticks.bare, yardsticks.hello

    def gets(path: str, port: int, pid: int) -> dict[str, Any]:
        plan = {"port": port, "connections": CONNECTIONS, "seconds": seconds, "paths": [path]}
        return load(plan, pid)

    def looks(port: int, pid: int) -> dict[str, Any]:
        return load(system.page_plan(port, CONNECTIONS, seconds=seconds), pid)

    def posts(port: int, pid: int) -> dict[str, Any]:
        return load(system.webhook_plan(port, CONNECTIONS, seconds=seconds), pid)

    def calls(service: str, pid: int) -> dict[str, Any]:
        return load(system.rpc_plan(service, CONNECTIONS, seconds), pid, RPC_LOAD)

    bind = functools.partial
    made: dict[str, Job] = {
        "hello": bind(gets, "/hello/maria", hello.port, hello.pid),
        "healthz": bind(gets, "/healthz", portal.port, portal.pid),
        "page": bind(looks, portal.port, portal.pid),
        "webhook": bind(posts, bare.port, bare.pid),
        "lookup": bind(calls, "portal", portal.pid),
        "plain lookup": bind(calls, "hello", hello.pid),
        "disk": lambda: yardsticks.commits_a_second(max(1, int(seconds))),
    }
    for name, (port, child) in yardsticks.fastapis.items():
        made[f"{name} page"] = bind(looks, port, child.pid)
        made[f"{name} webhook"] = bind(posts, port, child.pid)
    order = [f"{who}{what}" for what in ("page", "webhook") for who in ("", "fastapi ", "asyncpg ")]
    return {name: made.pop(name) for name in ("hello", "healthz", *order) if name in made} | made


def warm_up(system: System, yardsticks: Yardsticks) -> None:
    """Bring every side to its working temperature."""
    others = [port for port, _ in yardsticks.fastapis.values()]
    for port in (system.process("portal").port, *others):
        load(system.page_plan(port, 16, most=WARM), os.getpid())
    for port in (yardsticks.bare.port, *others):
        load(system.webhook_plan(port, 16, most=WARM), os.getpid())
    for service in ("portal", "hello"):
        load(system.rpc_plan(service, 16, 2), os.getpid(), RPC_LOAD)


def by_callers(
    system: System, yardsticks: Yardsticks, tick: Tick
) -> dict[str, list[tuple[int, float, float]]]:
    """Rate and CPU an answer for one to 256 callers at a time: how batches grow."""
    portal, bare = system.process("portal"), yardsticks.bare
    found: dict[str, list[tuple[int, float, float]]] = {"page": [], "webhook": []}
    for callers in CALLERS:
        page = load(system.page_plan(portal.port, callers, seconds=SECONDS / 2), portal.pid)
        found["page"].append((callers, page["rate"], page["cpu"]))
        hook = load(system.webhook_plan(bare.port, callers, seconds=SECONDS / 2), bare.pid)
        found["webhook"].append((callers, hook["rate"], hook["cpu"]))
        tick()
    return found


def start_to_ready(system: System, tick: Tick) -> dict[str, tuple[float, float]]:
    """Seconds from starting a service's process until `/readyz` says yes, and its memory then: the median of three."""
    found = {}
    for service in SERVICES:
        seconds, memory = [], []
        for _ in range(3):
            process = system.process(service)
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


def in_rounds(system: System, yardsticks: Yardsticks, tick: Tick) -> dict[str, Figure]:
    """Each job in each round."""
    order = list(jobs(system, yardsticks, SECONDS).items())
    figures = {name: Figure(name) for name, _ in order}
    for number in range(ROUNDS):
        # In turn forwards and backwards, so that nobody always comes after the same one.
        for name, job in order if number % 2 == 0 else reversed(order):
            figures[name].rounds.append(job())
            tick()
    return figures


def one_failure() -> int:
    """Measure one failure alone, and print it."""
    with (
        running("bench", CUSTOMERS) as system,
        beside(system, hello_alone=True),
        report.progress() as progress,
    ):
        task = progress.add_task("one failure alone", total=FAILURES)
        found = alone.measure(system, FAILURES, lambda: progress.advance(task))
    report.show_alone(found)
    return 0


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:] == ["alone"]:
        return one_failure()
    if not HAS_FASTAPI:
        print("the yardstick is not installed: use `make bench`", file=sys.stderr)
        return 1
    began = time.monotonic()
    with (
        running("bench", CUSTOMERS) as system,
        beside(system) as yardsticks,
        report.progress() as progress,
    ):

        def bar(what: str, steps: int) -> Tick:
            task = progress.add_task(what, total=steps)
            return lambda: progress.advance(task)

        progress.print(f"started with {CUSTOMERS:,} customers, {time.monotonic() - began:.0f} s")
        failure = alone.measure(system, FAILURES, bar("one failure alone", FAILURES))
        warm_up(system, yardsticks)
        rounds = ROUNDS * len(jobs(system, yardsticks, SECONDS))
        figures = in_rounds(system, yardsticks, bar("rounds", rounds))
        curve = by_callers(system, yardsticks, bar("1 to 256 callers", len(CALLERS)))
        starts = start_to_ready(system, bar("starts", len(SERVICES)))
    found = report.Found(
        figures=figures,
        curve=curve,
        starts=starts,
        alone=failure,
        conditions=f"{CUSTOMERS:,} customers, {CONNECTIONS} callers, medians of {ROUNDS} interleaved rounds of {SECONDS:g} s.",
        minutes=(time.monotonic() - began) / 60,
    )
    report.show_found(found)
    if os.environ.get("BENCH_WRITE", "yes"):
        report.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
