"""`python -m tests.bench.accounts`: do a page and a webhook cost more CPU in an installation of ten thousand Stripe accounts?

Two installations on the same servers, one with the own account alone, one with ACCOUNTS=10000 connected ones and as many customers; each is
loaded in turns, forwards and backwards. The webhook is billing without its relay, as in `make bench`: how often Stripe is looked at again
before a mail goes by each account's own budget, so that ten thousand accounts are looked at more often than one. BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.servers import PostgreSQL, RabbitMQ, own_folder
from tests.bench import report
from tests.bench.load import percentile
from tests.bench.measure import Figure, load
from tests.bench.system import System
from tests.bench.yardsticks import WithoutRelay

ACCOUNTS = int(os.environ.get("ACCOUNTS", "10000"))
CUSTOMERS = int(os.environ.get("CUSTOMERS", "20000"))
TURNS = int(os.environ.get("TURNS", "10"))
SECONDS = float(os.environ.get("SECONDS", "2"))
CALLERS = 16
AIM = 1.05
ONE, MANY = "one account", f"{ACCOUNTS:,} accounts"
COLUMNS = ("", "answers/s", "CPU µs an answer", "p50 ms", "memory MB")
TARGET = "{what}: CPU an answer over that with one account"
Systems = Mapping[str, WithoutRelay]


@contextlib.contextmanager
def both(accounts: int, customers: int) -> Iterator[Systems]:
    """The two installations, on servers of their own, each with a billing without its relay; removed at the end."""
    folder = own_folder("accounts")
    folder.chmod(0o711)
    rabbitmq, postgres = RabbitMQ(folder / "rabbitmq"), PostgreSQL(folder / "postgresql", durable=True)  # fmt: skip
    made = {
        name: System(_private(folder / short), customers, name=short, rabbitmq=rabbitmq, postgres=postgres)
        for name, short in ((ONE, "one"), (MANY, "many"))
    }  # fmt: skip
    beside = {name: WithoutRelay(system) for name, system in made.items()}
    try:
        rabbitmq.launch()
        postgres.start()
        rabbitmq.wait()
        for system in made.values():
            system.start()
        made[MANY].let_in(accounts)
        beside[ONE].start()
        beside[MANY].start(accounts)
        yield beside
    finally:
        for each in beside.values():
            each.process.kill()
        for system in made.values():
            system.close()
        rabbitmq.close()
        postgres.close()
        shutil.rmtree(folder, ignore_errors=True)


def _private(folder: Path) -> Path:
    folder.mkdir()
    return folder


def plans(systems: Systems, accounts: int, seconds: float) -> dict[tuple[str, str], tuple[int, dict[str, Any]]]:  # fmt: skip
    """What loads each: by page or webhook and installation, the process and its plan. The webhooks are new, signed failures, of many
    accounts in turn."""
    found = {}
    until = {"seconds": seconds}
    for name, beside in systems.items():
        system, billing = beside.system, beside.process
        portal = system.process("portal")
        found["page", name] = (portal.pid, system.page_plan(portal.port, CALLERS, **until))
        found["webhook", name] = (
            billing.pid,
            system.connect_plan("acct_1", CALLERS, port=billing.port, **until)
            | {"accounts": accounts, "customers": system.customers // accounts}
            if name == MANY
            else system.webhook_plan(billing.port, CALLERS, **until),
        )
    return found


def measured(systems: Systems, accounts: int, turns: int, seconds: float) -> dict[tuple[str, str], Figure]:  # fmt: skip
    """Each in each turn, after one that doesn't count."""
    figures = {key: Figure(" ".join(key)) for key in plans(systems, accounts, seconds)}
    with report.progress() as bar:
        task = bar.add_task("turns", total=(turns + 1) * len(figures))
        for number in range(turns + 1):
            pairs = list(plans(systems, accounts, seconds).items())
            for key, (pid, plan) in pairs if number % 2 == 0 else reversed(pairs):
                took = load(plan, pid)
                if number:
                    figures[key].rounds.append(took)
                bar.advance(task)
    return figures


def targets(figures: Mapping[tuple[str, str], Figure]) -> list[report.Target]:
    """What was aimed at: by the median of the turns' own ratios."""
    return [
        report.at_most(
            TARGET.format(what=what),
            AIM,
            1 / figures[what, MANY].cheaper_than(figures[what, ONE]),
        )
        for what in ("page", "webhook")
    ]


def spread_of(figures: Mapping[tuple[str, str], Figure], what: str) -> str:
    """The least and the largest of the turns' ratios: what one turn is worth."""
    pairs = zip(figures[what, MANY].rounds, figures[what, ONE].rounds, strict=True)
    ratios = sorted(many["cpu"] / one["cpu"] for many, one in pairs)
    return f"{what}: {percentile(ratios, 0) / 1000:.2f} to {percentile(ratios, 100) / 1000:.2f}"


def main() -> int:
    """Measure, print, write."""
    with both(ACCOUNTS, CUSTOMERS) as systems:
        figures = measured(systems, ACCOUNTS, TURNS, SECONDS)
    rows = [
        (
            one.name,
            *(f"{value:,.0f}" for value in (one.rate, one.cpu)),
            f"{one.p50:.1f}",
            f"{one.memory:.0f}",
        )
        for one in figures.values()
    ]
    turns = "; ".join(spread_of(figures, what) for what in ("page", "webhook"))
    title = f"{CUSTOMERS:,} customers, {CALLERS} callers, medians of {TURNS} turns of {SECONDS:g} s; the turns' ratios are {turns}"
    report.conclude("accounts", title, targets(figures), COLUMNS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
