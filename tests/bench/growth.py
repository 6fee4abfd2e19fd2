"""`python -m tests.bench.growth`: what size costs. The hot statements, sent by the services' own functions, on tables with
millions of rows and on small ones, in turns. GROWTH_CUSTOMERS and GROWTH_EVENTS say how many; GROWTH_WRITE= (empty) prints
without writing docs/benchmarks.md.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import text

from local.processes import Process
from local.servers import PostgreSQL, StartError, own_folder
from services.billing.handlers.inbox import Outcome, Received, read_webhook, store_webhooks
from services.billing.queries.outbox import OUTBOX
from services.portal.queries import customers as people
from services.portal.queries import page
from shared.contracts.accounts import OWN, StripeId
from shared.database import Transactions, make_engine
from tests.bench import growth_report, growth_seed, seed
from tests.bench.system import event_template
from tests.fixtures.accounts import OWN_ALONE

CUSTOMERS: Final = int(os.environ.get("GROWTH_CUSTOMERS", "10000000"))
EVENTS: Final = int(os.environ.get("GROWTH_EVENTS", "10000000"))
FEW: Final = 10_000
"""Customers of the small portal; the small billing has no old webhook at all."""
ROUNDS: Final = 400
WARMING: Final = 40
"""Calls before those that count: statements are compiled by then, on both sides."""
LOGGED: Final = 50
SERVER: Final = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}
"""Of the cluster: as on a small server, and quiet while it is measured."""

AGAIN: Final = 2_000
"""Customers that come again and again, in the case where PostgreSQL's buffers have what they need."""

Work = Callable[[Transactions], Any]
Took = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Sides:
    """The same database twice: small and large."""

    small: Transactions
    large: Transactions

    @property
    def both(self) -> tuple[Transactions, Transactions]:
        return self.small, self.large

    def in_turn(self, works: tuple[Callable[[], Work], Callable[[], Work]], rounds: int) -> Took:
        """Milliseconds of each call, for both sides; who goes first alternates. What is asked is made before the clock
        starts."""
        took: Took = ([], [])
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                work = works[which]()
                began = time.perf_counter()
                work(self.both[which])
                took[which].append(1000 * (time.perf_counter() - began))
        return took


class Growth:
    """A PostgreSQL with a small and a large database of both services that grow."""

    def __init__(self) -> None:
        self.folder = own_folder("growth")
        self.folder.chmod(0o711)
        self.postgres = PostgreSQL(self.folder / "postgresql", settings=SERVER)
        self.fill_seconds = 0.0

    def fill(self, progress: Progress) -> None:
        """Make, migrate and fill the databases, without fsync; then start again with it."""
        self.postgres.start()
        began = time.monotonic()
        for name in ("portal_small", "portal_large", "billing_small", "billing_large"):
            self._migrated(name)
        with ThreadPoolExecutor(3) as pool:
            jobs = [
                pool.submit(self._fill, progress, *job)
                for job in (
                    ("portal_large", growth_seed.fill_customers, CUSTOMERS),
                    ("billing_large", growth_seed.fill_events, EVENTS),
                    ("portal_small", growth_seed.fill_customers, FEW),
                )
            ]
            for job in jobs:
                job.result()
        self.fill_seconds = time.monotonic() - began
        self.postgres.stop()
        os.sync()
        self.postgres.durable = True
        self.postgres.start()

    def _migrated(self, name: str) -> None:
        service = name.partition("_")[0]
        url = self.postgres.create_database(name)
        migrating = Process(
            name,
            f"services.{service}",
            port=0,
            env={f"{service.upper()}_DATABASE_URL": url},
            log=self.folder / "migrate.log",
        )
        if code := migrating.command("migrate").wait(120):
            raise StartError(f"migrating ended with code {code}: {migrating.log_text()[-500:]}")

    def _fill(self, progress: Progress, name: str, work: Callable[..., None], rows: int) -> None:
        bar = progress.add_task(f"filling {name}: {rows:,}", total=None)
        with self.postgres.connection(name) as connection:
            work(connection, rows, lambda n, of: progress.update(bar, completed=n, total=of))

    def sides(self, service: str) -> Sides:
        """The service's two databases, as the service itself opens them."""
        small, large = (
            Transactions(make_engine(self.postgres.url(f"{service}_{size}")))
            for size in ("small", "large")
        )
        return Sides(small, large)

    def close(self) -> None:
        """End the server and remove its data."""
        self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# --- the portal ----------------------------------------------------------------------------------------------


def look(database: Transactions, numbers: Sequence[int]) -> None:
    """Look at the pages of these customers at once."""
    ids = [seed.public_id(number) for number in numbers]
    with database.reading() as session:
        if len(page.lookup_many(session, ids, dt.datetime.now(dt.UTC))) != len(set(ids)):
            raise RuntimeError("a customer was not found")


def ask_contacts(database: Transactions, numbers: Sequence[int]) -> None:
    """The notifier's question about these customers."""
    ids = [f"cus_{number}" for number in numbers]
    with database.reading() as session:
        now = dt.datetime.now(dt.UTC)
        people.contacts(
            session, stripe_customers={StripeId(OWN, one) for one in ids}, public_ids=[], now=now
        )


PAGES: Final = text(
    "SELECT coalesce(sum(heap_blks_hit + coalesce(idx_blks_hit, 0)), 0),"
    " coalesce(sum(heap_blks_read + coalesce(idx_blks_read, 0)), 0) FROM pg_statio_user_tables"
)


def pages(side: Transactions) -> tuple[int, int]:
    """Pages (8 kB) of the service's tables that were found in PostgreSQL's buffers so far, and those that were not."""
    side.engine.dispose()  # a connection tells what it has counted when it ends
    time.sleep(1)
    with side.engine.connect() as connection:
        found, missed = connection.execute(PAGES).one()
    return int(found), int(missed)


def measure_portal(sides: Sides, tick: Callable[[], None]) -> list[growth_report.Line]:
    """Looks and contacts, alone and together, of customers that come again and of any."""
    chance = random.Random(1)
    everybody = [range(1, size + 1) for size in (FEW, CUSTOMERS)]
    again = [chance.sample(whole, AGAIN) for whole in everybody]
    for side, numbers in zip(sides.both, again, strict=True):
        for start in range(0, AGAIN, 100):
            look(side, numbers[start : start + 100])
            ask_contacts(side, numbers[start : start + 100])
    lines = []
    for what, ask in (("a page's look", look), ("the notifier's contacts", ask_contacts)):
        for whose, pools in ((f"{AGAIN:,} that come again", again), ("any customer", everybody)):
            for together in (1, 16):
                lines.append(
                    _asked(
                        sides,
                        f"{what}, {whose}",
                        together,
                        _questions(ask, pools, together, chance),
                    )
                )
                tick()
    return lines


def _questions(
    ask: Callable[[Transactions, Sequence[int]], None],
    pools: Sequence[Sequence[int]],
    together: int,
    chance: random.Random,
) -> tuple[Callable[[], Work], Callable[[], Work]]:
    def of(pool: Sequence[int]) -> Callable[[], Work]:
        def make() -> Work:
            numbers = [chance.choice(pool) for _ in range(together)]
            return lambda database: ask(database, numbers)

        return make

    return of(pools[0]), of(pools[1])


def _asked(
    sides: Sides, what: str, together: int, works: tuple[Callable[[], Work], Callable[[], Work]]
) -> growth_report.Line:
    before = [pages(side) for side in sides.both]
    sides.in_turn(works, WARMING)
    small, large = sides.in_turn(works, ROUNDS)
    told = []
    for side, (found, missed) in zip(sides.both, before, strict=True):
        now_found, now_missed = pages(side)
        calls = ROUNDS + WARMING
        all_pages = (now_found + now_missed - found - missed) / calls
        told.append(f"{all_pages:.0f} ({(now_missed - missed) / calls:.1f})")
    return growth_report.Line(what, together, small, large, " → ".join(told) + " pages")


# --- billing -------------------------------------------------------------------------------------------------


def webhooks(together: int, ordered: bool) -> list[Received]:
    """New failures. `ordered`: their ids grow with time, as those of one Stripe account do; else they are scattered.
    Their customers are scattered in any case."""
    made = []
    for _ in range(together):
        mark = f"zz{time.time_ns():x}" if ordered else random.randbytes(12).hex()
        body = event_template().replace("NUMBER", mark).replace('"cus_1"', f'"cus_{mark[::-1]}"')
        made.append(read_webhook(body.encode(), directory=OWN_ALONE))
    return made


def receive(together: int, ordered: bool) -> Work:
    """Take so many webhooks in one commit."""
    batch = webhooks(together, ordered)

    def work(database: Transactions) -> None:
        with database.transaction() as session:
            outcomes = store_webhooks(session, batch, dt.datetime.now(dt.UTC))
        if set(outcomes) != {Outcome.TRANSLATED}:
            raise RuntimeError(f"webhooks were not taken as new: {outcomes}")

    return work


def ask_relay(database: Transactions) -> None:
    """The relay's question."""
    with database.transaction() as session:
        OUTBOX.due(session, dt.datetime.now(dt.UTC), 100)


def wal_written(database: Transactions, work: Callable[[], Any]) -> float:
    """Bytes of write-ahead log while `work` runs; nobody else writes."""
    position = text("SELECT pg_current_wal_insert_lsn() - '0/0'")
    with database.engine.connect() as connection:
        before = connection.execute(position).scalar_one()
    work()
    with database.engine.connect() as connection:
        return float(connection.execute(position).scalar_one() - before)


def measure_billing(sides: Sides, tick: Callable[[], None]) -> list[growth_report.Line]:
    """Taking webhooks, and the relay's question."""
    lines = []
    for together, ordered in ((1, False), (16, False), (16, True)):
        what = f"taking webhooks, ids {'in order of time' if ordered else 'scattered'}"

        def make(together: int = together, ordered: bool = ordered) -> Work:
            return receive(together, ordered)

        sides.in_turn((make, make), WARMING)
        small, large = sides.in_turn((make, make), ROUNDS // 2)
        small_log, large_log = (_log_after_checkpoint(side, make, together) for side in sides.both)
        log = f"{small_log:,.0f} → {large_log:,.0f} bytes of log a webhook"
        lines.append(growth_report.Line(what, together, small, large, log))
        tick()
    for side in sides.both:
        _command(side, "ANALYZE")  # as autovacuum would have by now
    lines.append(_asked(sides, "the relay's question", 1, (lambda: ask_relay, lambda: ask_relay)))
    tick()
    return lines


def _log_after_checkpoint(side: Transactions, make: Callable[[], Work], together: int) -> float:
    """The first touch of a page after a checkpoint writes it whole into the log: the dear case, so the one to know."""
    _command(side, "CHECKPOINT")
    batches = [make() for _ in range(LOGGED)]
    written = wal_written(side, lambda: [work(side) for work in batches])
    return written / (LOGGED * together)


def _command(side: Transactions, words: str) -> None:
    with side.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(words))


# --- all -----------------------------------------------------------------------------------------------------


def run() -> growth_report.Found:
    """Fill, measure, remove."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    growth = Growth()
    try:
        with Progress(*columns) as progress:
            growth.fill(progress)
            bar = progress.add_task("measuring", total=12)
            portal, billing = growth.sides("portal"), growth.sides("billing")
            lines = measure_portal(portal, lambda: progress.advance(bar))
            lines += measure_billing(billing, lambda: progress.advance(bar))
            indexes = [
                *growth_report.indexes(growth.postgres, "portal_large", seed.TABLES),
                *growth_report.indexes(growth.postgres, "billing_large", ("inbox", "outbox")),
            ]
        return growth_report.Found(lines, indexes, CUSTOMERS, EVENTS, growth.fill_seconds / 60)
    finally:
        growth.close()


def main() -> int:
    """Measure, print, write."""
    found = run()
    growth_report.show(found)
    if os.environ.get("GROWTH_WRITE", "yes"):
        growth_report.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
