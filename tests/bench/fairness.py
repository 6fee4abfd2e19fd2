"""`python -m tests.bench.fairness`: how long an account's mails take while another account's failures come by the thousand.

First without the flood, then with it: while the flooding account's Stripe is quick, while it takes two seconds an answer, and while it
says 429. FLOOD=2500 says how many failures; BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from local.processes import fetch
from tests.bench import report
from tests.bench.load import Connection, percentile, requests_of
from tests.bench.measure import load
from tests.bench.system import System, running

FLOOD = int(os.environ.get("FLOOD", "2500"))
LOUD, QUIET = "acct_1", "acct_2"
ACCOUNTS = 2
WARM = 10
CROWD = 150
"""Mails of the flood that wait: fewer go while one mail is looked up, drawn and posted, so that they tell nothing of who goes before whom."""
ALONE = 40
"""Failures of the quiet account without a flood."""
EVERY_SECONDS = 0.25
"""From one failure of the quiet account to the next."""
QUIET_MOST = 2000
"""Its customers, of whom each fails once: enough for the longest flood that is waited for."""
OTHERS_STRIPE = 0.1
"""Seconds until another account's Stripe answers."""
STRIPES = {"quick": (OTHERS_STRIPE, 200), "two seconds an answer": (2.0, 200), "429": (0.0, 429)}
"""Seconds until the flooding account's Stripe answers, and the status."""
AIM_SECONDS = 2
LEAST_A_SECOND = 10
"""Mails, as slow as a busy machine may be."""
COLUMNS = ("the flooding account's Stripe", "mails beside", "written down: longest s", "mail: p50 s", "p99 s", "longest s", "the flood's own p50 s", "its mails a second")  # fmt: skip


class Mail(NamedTuple):
    """When billing had its webhook, when the notifier wrote it down, and when it came, in seconds since the epoch."""

    came: float
    written: float
    mailed: float


@dataclass(frozen=True)
class Delays:
    """Seconds from each webhook of an account to its row at the notifier, and to its mail, in order of size."""

    written: Sequence[float]
    mailed: Sequence[float]

    @classmethod
    def of(cls, mails: Sequence[Mail]) -> Delays:
        return cls(
            sorted(one.written - one.came for one in mails),
            sorted(one.mailed - one.came for one in mails),
        )

    @property
    def p50(self) -> float:
        return self.at(50)

    def at(self, percent: float) -> float:
        """A percentile of the mails'."""
        return percentile(list(self.mailed), percent) / 1000


@dataclass(frozen=True)
class Found:
    """What came of a flood: another account's delays beside it, its own, and its mails a second."""

    quiet: Delays
    loud: Delays
    rate: float
    ahead: Sequence[float]
    """Of each mail of the other account: the share of the flood's that waited when its webhook came, and went before it; in order of size."""


def settle(system: System) -> None:
    """Spread the customers over two accounts that are connected, and wait until billing knows them."""
    system.let_in(ACCOUNTS)
    fetch(f"{system.stub.url}/stripe-takes/{OTHERS_STRIPE}")
    alone(system, WARM)


class Poster:
    """The quiet account's failures, one by one."""

    def __init__(self, system: System, most: int) -> None:
        plan = system.connect_plan(QUIET, 1, most=most)
        self.mark: str = plan["mark"]
        self.posted = 0
        self._requests = requests_of(plan)
        self._door = Connection(system.process("billing").port)

    def post(self) -> None:
        """One more. Raises RuntimeError when it is not taken."""
        self._door.send(next(self._requests))
        if (status := self._door.answer()) != 200:
            raise RuntimeError(f"a webhook was answered {status}")
        self.posted += 1
        time.sleep(EVERY_SECONDS)

    def close(self) -> None:
        self._door.socket.close()


def mails_of(system: System, mark: str, count: int) -> list[Mail]:
    """Those of the failures with this mark, once all are there. Raises TimeoutError."""
    end = time.monotonic() + 60
    while len(found := _mails(system, mark)) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(found)} mails of {count} after a minute")
        time.sleep(0.2)
    return found


def shares_ahead(quiet: Sequence[Mail], loud: Sequence[Mail]) -> list[float]:
    """`Found.ahead`, of each mail beside which `CROWD` or more waited. Were there one queue for all, it were the whole."""
    shares = []
    for one in quiet:
        waiting = [other.mailed for other in loud if other.came < one.came < other.mailed]
        if len(waiting) >= CROWD:
            shares.append(sum(at < one.mailed for at in waiting) / len(waiting))
    return sorted(shares)


def _mails(system: System, mark: str) -> list[Mail]:
    came = {
        event_id.replace("evt_", "in_"): moment.timestamp()
        for event_id, moment in _found(
            system, "billing", "SELECT id, received_at FROM inbox WHERE id LIKE %s", f"evt_{mark}%"
        )
    }
    rows = _found(
        system,
        "notifier",
        "SELECT notification_id, invoice_id, created_at FROM notifications WHERE invoice_id LIKE %s",
        f"in_{mark}%",
    )
    mails = json.loads(fetch(f"{system.stub.url}/mails"))
    return [
        Mail(came[invoice_id], written.timestamp(), mails[id])
        for id, invoice_id, written in rows
        if id in mails
    ]


def _found(system: System, service: str, statement: str, like: str) -> list[tuple[Any, ...]]:
    stack = system.stack
    with (
        stack.postgres.connection(stack.database_name(service)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, (like,))
        return list(cursor.fetchall())


def alone(system: System, failures: int = ALONE) -> Delays:
    """The quiet account without a flood."""
    with contextlib.closing(Poster(system, failures)) as poster:
        for _ in range(failures):
            poster.post()
    return Delays.of(mails_of(system, poster.mark, failures))


def beside(
    system: System, flood: int, stripe: tuple[float, int], *, quiet_most: int = QUIET_MOST
) -> Found:
    """The quiet account beside a flood, from its first webhook to its last mail. Raises RuntimeError, TimeoutError."""
    fetch(f"{system.stub.url}/stripe-of/{LOUD}/{stripe[0]}/{stripe[1]}")
    before, billing = system.count()["mails"], system.process("billing")
    plan = system.connect_plan(LOUD, 64, most=flood)
    began, patience = time.monotonic(), 60 + flood / LEAST_A_SECOND
    with (
        contextlib.closing(Poster(system, quiet_most)) as poster,
        ThreadPoolExecutor(1) as pool,
        report.progress() as bar,
    ):
        task = bar.add_task("the flood's mails", total=flood)
        posting = pool.submit(load, plan, billing.pid)
        # While the last of the flood's are on their way, some of the others' are, too.
        while (now := system.count()["mails"] - before) < flood + poster.posted - WARM:
            bar.update(task, completed=max(0, now - poster.posted))
            if posting.done() and posting.exception():
                break
            if time.monotonic() - began > patience:
                raise RuntimeError(f"{now} mails of a flood of {flood} in {patience:.0f} s")
            poster.post()
        posting.result()
        bar.update(task, completed=flood)
    seconds = time.monotonic() - began
    quiet = mails_of(system, poster.mark, poster.posted)
    loud = mails_of(system, plan["mark"], flood)
    return Found(Delays.of(quiet), Delays.of(loud), flood / seconds, shares_ahead(quiet, loud))


def targets(found: Mapping[str, Found]) -> list[report.Target]:
    """What was aimed at."""
    return [
        report.at_most(
            f"an account's mail beside a flood whose Stripe is {name}", AIM_SECONDS, one.quiet.at(100), "s"
        )
        for name, one in found.items()
    ]  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    customers = ACCOUNTS * (WARM + ALONE + len(STRIPES) * (FLOOD + QUIET_MOST))
    with running("fairness", customers) as system:
        settle(system)
        none = alone(system)
        found = {name: beside(system, FLOOD, stripe) for name, stripe in STRIPES.items()}
    rows = [("(no flood)", *_cells(none), "", "")]
    rows += [
        (name, *_cells(one.quiet), f"{one.loud.p50:.1f}", f"{one.rate:.0f}")
        for name, one in found.items()
    ]
    title = f"An account's mails beside a flood of {FLOOD:,} failures of another account's"
    report.conclude("fairness", title, targets(found), COLUMNS, rows)
    return 0


def _cells(one: Delays) -> tuple[str, ...]:
    figures = one.written[-1], one.p50, one.at(99), one.at(100)
    return str(len(one.mailed)), *(f"{figure:.2f}" for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
