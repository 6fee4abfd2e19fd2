"""One run: thousands of webhooks while things die, then quiet, then the books. `python -m tests.faults.run --events 10000 --seed 1`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.servers import PostgreSQL, own_folder
from tests.bench.report import progress
from tests.faults.accounts import Accounts
from tests.faults.books import Books, check
from tests.faults.hooks import (
    ALLOWED,
    FailingHost,
    HookBooks,
    are_delivered,
    are_half_delivered,
    check_hooks,
    listen,
)
from tests.faults.plan import Plan, make_plan
from tests.faults.poster import Ledger, Poster
from tests.faults.system import System

SEGMENT_SECONDS = 3.0
"""How long the webhooks of one step are spread over."""
QUIET_WITHIN = 420.0
"""The longest waiting room of a failed event is five minutes."""
MAILS_A_SECOND = 5
"""As slow as a busy machine may be."""
TELL_EVERY = 15.0
"""Seconds between two lines that tell how far it is."""


@dataclass
class Run:
    """What happened."""

    plan: Plan
    books: Books
    hooks: HookBooks
    ledger: Ledger
    kills: int
    fell: list[str]
    forced: set[str] = field(default_factory=set)
    posting_seconds: float = 0.0
    quiet_seconds: float = 0.0

    def table(self) -> str:
        """For people."""
        copies = sum(count for status, count in self.ledger.answers.items() if 200 <= status < 300)
        rows: list[tuple[str, object]] = [
            ("seed", self.plan.seed),
            ("events", len(self.plan.genuine)),
            *self._accounts(),
            ("webhooks accepted, copies included", copies),
            (
                "webhooks refused or unanswered, and repeated",
                sum(self.ledger.answers.values()) - copies,
            ),
            ("forgeries (stored)", f"{len(self.plan.forged)} ({len(self.books.invented)})"),
            ("things that went wrong", len(self.plan.steps)),
            ("kills -9", self.kills),
            ("processes that fell over by themselves", len(self.fell)),
            ("failed charges", len(self.plan.failures)),
            ("mails accepted by SendGrid", self.books.mails),
            ("charges without a mail, with a reason", sum(self.books.reasons.values())),
            ("lost webhooks", len(self.books.lost_webhooks)),
            ("lost mails", len(self.books.lost_mails) + len(self.books.silent)),
            ("doubled mails", len(self.books.doubled)),
            (
                "doubled after a lost answer of SendGrid's",
                len(self.books.doubled_after_lost_answer),
            ),
            ("sent once more after the grace period", len(self.forced)),
            ("deaf", sum(self.books.deaf.values())),
            ("messages left in queues", sum(self.books.queues.values())),
            ("events for a host", self.hooks.events),
            (
                "refused by it, its deaths",
                f"{self.hooks.refused}, {self.hooks.deaths}",
            ),
            (
                "lost, twice, out of order there",
                f"{len(self.hooks.lost)}, {self.hooks.twice}, {self.hooks.out_of_order}",
            ),
            ("longest delay, webhook to mail", f"{self.books.longest_delay:.1f} s"),
            ("posting", f"{self.posting_seconds:.0f} s"),
            ("until quiet", f"{self.quiet_seconds:.0f} s"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _accounts(self) -> list[tuple[str, object]]:
        accounts = {one.account for one in self.plan.people}
        if not accounts:
            return []
        return [
            ("accounts", len(accounts)),
            ("calls on a wrong account", len(self.books.wrong_calls)),
            ("mails to somebody else", len(self.books.wrong_people)),
        ]


def run(
    folder: Path,
    events: int,
    seed: int,
    *,
    accounts: int = 0,
    steps: int | None = None,
    with_templates: Callable[[PostgreSQL], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    tick: Callable[[int, int], None] = lambda done, steps: None,
    look: Callable[[System, Plan, Ledger], None] = lambda system, plan, ledger: None,
) -> Run:
    """Do it all, in the own account alone or in so many `accounts` beside it; the servers and processes are ended when it returns.

    `with_templates` is the system's. `tick` is called after each step, with how many are done of how many; `look` sees the system when all is quiet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user passes through
    world = Accounts(folder, accounts)
    settings = world.settings | ALLOWED
    with (
        System(folder, settings=settings, with_templates=with_templates) as system,
        FailingHost(seed) as host,
    ):
        known = listen(system, host)
        if accounts:
            world.settle(system, events)
        plan = make_plan(events, seed, steps=steps, people=world.people)
        kinds = Counter(step.what for step in plan.steps)
        say(f"seed {seed}: {len(plan.genuine)} events, {len(plan.steps)} steps: {dict(kinds)}")
        if not accounts:
            system.make_customers(plan.customers)
        time.sleep(max(0.0, known - time.monotonic()))
        ports = [process.port for process in system.stack.processes("billing")]
        doors = world.doors(system) if accounts else None
        poster = Poster(ports, system.stack.webhook_secret, seed, doors)
        began = time.monotonic()
        try:
            for number, (segment, step) in enumerate(zip(plan.segments, plan.steps, strict=True)):
                poster.post(segment, over=SEGMENT_SECONDS)
                time.sleep(step.after)
                say(f"{time.monotonic() - began:6.1f} s  {number + 1:3}  {step.what}")
                if number % 3 == 0:
                    host.die()
                system.happen(step)
                tick(number + 1, len(plan.steps))
                time.sleep(max(0.0, SEGMENT_SECONDS - step.after - step.seconds))
            poster.drain(within=180)
            posting = time.monotonic() - began
            system.sandbox("DELETE", "/sandbox/faults")
            say(f"{posting:6.1f} s  every webhook is accepted; waiting for quiet")
            within = QUIET_WITHIN + events / MAILS_A_SECOND
            forced: set[str] = set()

            def wait(ready: Callable[..., bool], *about: Any) -> float:
                return system.wait(_telling(ready, system, *about, say=say, since=began), within)

            wait(are_half_delivered)
            host.heal()
            quiet = wait(is_quiet, forced)
            wait(are_delivered)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{what_is_left(system)}") from error
        finally:
            poster.close()
        time.sleep(1)  # a double that comes late is still a double
        books = check(system, plan, poster.ledger, forced)
        hooks = check_hooks(system, host)
        look(system, plan, poster.ledger)
        return Run(
            plan,
            books,
            hooks,
            poster.ledger,
            system.kills,
            list(system.fell),
            forced,
            posting,
            quiet,
        )


def _telling(
    ready: Callable[..., bool],
    system: System,
    *about: Any,
    say: Callable[[str], None],
    since: float,
) -> Callable[[], bool]:
    """A question about the system; now and then, while it isn't so, it is told how far all is."""
    told = time.monotonic()

    def look() -> bool:
        nonlocal told
        if ready(system, *about):
            return True
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            ((mails,),) = system.rows(
                "notifier",
                "SELECT count(*) FROM notifications WHERE status IN ('pending', 'sending')",
            )
            ((sent, whole),) = system.rows(
                "notifier",
                "SELECT count(*) FILTER (WHERE status = 'delivered'), count(*) FROM hook_deliveries",
            )
            say(
                f"{told - since:6.1f} s  {mails} emails wait; the host has {sent} webhooks of {whole}"
            )
        return False

    look.__doc__ = ready.__doc__
    return look


def is_quiet(system: System, forced: set[str], grace: float = 2.0) -> bool:
    """nothing waits in the outbox, in a queue or as a notification

    Mails whose delivery is unconfirmed get `grace` seconds for SendGrid's word about them instead of a quarter of an hour; those that
    are sent once more then are added to `forced`.
    """
    if system.rows("billing", "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
        return False
    if any(count for name, count in system.waiting().items() if not name.endswith(".dead")):
        return False
    active = system.rows(
        "notifier",
        "SELECT notification_id, unconfirmed_since IS NOT NULL AND due_at > now() + interval '2 minutes' "
        "FROM notifications WHERE status IN ('pending', 'sending')",
    )
    if active and all(unknown for _, unknown in active):
        time.sleep(grace)
        forced |= {
            row[0]
            for row in system.rows(
                "notifier",
                "UPDATE notifications SET due_at = now(), status = 'pending' WHERE status IN ('pending', 'sending') "
                "AND unconfirmed_since IS NOT NULL RETURNING notification_id",
            )
        }
    if active:
        return False
    time.sleep(0.6)  # what a service hands on at this moment is in no queue yet
    return not any(
        count for name, count in system.waiting().items() if not name.endswith(".dead")
    ) and not system.rows(
        "notifier", "SELECT 1 FROM notifications WHERE status IN ('pending', 'sending') LIMIT 1"
    )


def what_is_left(system: System) -> str:
    """For the message of a run that does not come to rest."""
    outbox = system.rows(
        "billing",
        "SELECT last_error, count(*) FROM outbox WHERE published_at IS NULL GROUP BY last_error",
    )
    mails = system.rows(
        "notifier",
        "SELECT status, last_error, min(due_at), max(due_at), count(*) FROM notifications "
        "WHERE status IN ('pending', 'sending') GROUP BY status, last_error",
    )
    return f"outbox: {outbox}\nqueues: {system.waiting()}\nnotifications: {mails}"


def main(words: list[str]) -> int:
    """The command; exit code 1 when the promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--accounts", type=int, default=0, help="Stripe accounts beside the own one"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    chosen = parser.parse_args(words)
    folder = chosen.keep or own_folder("faults")
    try:
        with progress() as bar:
            task = bar.add_task("things that go wrong", total=None)
            done = run(
                folder,
                chosen.events,
                chosen.seed,
                accounts=chosen.accounts,
                steps=chosen.steps,
                say=lambda line: print(line, flush=True),
                tick=lambda done, steps: bar.update(task, completed=done, total=steps),
            )
    finally:
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n" + done.table())
    complaints = [*done.books.complaints(), *done.hooks.complaints()]
    print("\n" + ("\n".join(complaints) if complaints else "Nothing lost, nothing twice."))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
