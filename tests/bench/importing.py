"""`python -m tests.bench.importing`: the import of an account with a past, on the real system, while it goes on living.

CUSTOMERS=50000 says how many; three in five are subscribed, one in twenty-five owes. Stripe takes a hundred requests a second and says 429
now and then; the command is killed once and billing, which does the reading, twice; webhooks come all the time. Then all must be there,
and nothing twice. BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench import report
from tests.bench.at_size import BUSINESS, Command, Site, busy_stripe, load_averages, running
from tests.bench.live_webhooks import posting
from tests.bench.measure import memory_mb
from tests.bench.report import Tick
from tests.bench.system import event_template

CUSTOMERS = int(os.environ.get("CUSTOMERS", "50000"))
EVERY_SECONDS: Final = 0.2
"""From one webhook to the next."""
LIMITED_EVERY: Final = 5.0
"""Seconds from one 429 to the next."""
KILLS: Final = ("billing", "command", "billing")
"""Who is killed when a quarter, the half and three quarters are taken in."""
REFUSED_SECONDS: Final = 5.0
"""From a try to go on with an import whose lease has not ended to the next."""
LOOK_SECONDS: Final = 0.2
"""From one look at how far it is to the next."""
SETTLE_SECONDS: Final = 1200
P99_AIM: Final = 100
QUIET_LOAD: Final = 1.5
"""The load average before a run up to which it says something of how long an answer takes."""
MINUTES_AIM: Final = 15
SETTINGS: Final = {"STRIPE_LOOK_RATE": "100"}


@dataclass(frozen=True)
class Size:
    """How much there is at Stripe, the model included."""

    customers: int
    subscriptions: int
    invoices: int

    @property
    def objects(self) -> int:
        return self.customers + self.subscriptions + self.invoices


@dataclass
class Found:
    """What a run has shown."""

    size: Size
    seconds: float = 0.0
    """Of the import, from the command's first start to its last end."""
    portal_seconds: float = 0.0
    """Until the portal had taken in the rest."""
    killed: list[str] = field(default_factory=list)
    refused: int = 0
    """How often the command was told that the import is another's."""
    told: dict[str, int] = field(default_factory=dict)
    """What the command has told at the end."""
    reads: int = 0
    """Of Stripe in all, those for the invoices' pages and for the webhooks among them."""
    limited: int = 0
    """How often Stripe said 429."""
    memory: dict[str, float] = field(default_factory=dict)
    """MB at the most, of billing and of the command."""
    webhooks: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    load: str = ""

    def note(self, whose: str, pid: int) -> None:
        """Look at the memory of a process that runs."""
        try:
            self.memory[whose] = max(self.memory.get(whose, 0.0), memory_mb(pid))
        except OSError:  # it has ended
            return


def run(
    site: Site,
    customers: int,
    tick: Tick = lambda what, done, total: None,
    *,
    every: float = EVERY_SECONDS,
) -> Found:
    """Make the account, import it, and look whether all came in. `every`: seconds from one webhook to the next, each of which costs a look
    at Stripe, which goes before the import's."""
    like = site.model()
    size = Size(customers, customers * 3 // 5, customers // 25)
    site.crowd(like, customers - 1, size.subscriptions - 1, size.invoices - 1)
    site.story.portico.call(
        "portal",
        "upsert_business",
        business_id=BUSINESS,
        name="Sunrise Cleaning",
        email="hello@sunrise.example",
        timezone="America/New_York",
        enrolment="from_stripe",
    )
    found = Found(size)
    with busy_stripe(site, LIMITED_EVERY) as limited, posting(_live(site, every)) as end:
        _drive(site, found, tick)
        found.portal_seconds = _wait_for_the_portal(site, size, tick)
        found.webhooks, found.limited = end(), limited()
        found.reads = site.sandbox("GET", "/sandbox/requests")["reads"]
    found.load = load_averages()
    try:  # what is there twice may still be on its way
        site.wait(site.is_published, SETTLE_SECONDS)
    except TimeoutError as error:
        found.complaints.append(str(error))
    found.complaints += _complaints(site, found)
    return found


def _live(site: Site, every: float) -> dict[str, Any]:
    """Ever new failures, of customers whom nobody knows yet."""
    return {
        "port": site.stack.processes("billing")[0].port,
        "path": "/webhooks/stripe",
        "event": event_template(),
        "secret": site.stack.webhook_secret,
        "mark": "live",
        "first": 0,
        "customers": 1000,
        "every": every,
    }


def _drive(site: Site, found: Found, tick: Tick) -> None:
    """Run the command until it is done, killing on the way. Raises RuntimeError when it ends badly."""
    began, kills = time.monotonic(), list(KILLS)
    command = _start(site)
    while True:
        time.sleep(LOOK_SECONDS)
        done = _taken_in(site)
        tick("taken in", done, found.size.objects)
        found.note("billing", site.stack.processes("billing")[0].pid)
        found.note("the command", command.process.pid)
        if kills and done >= found.size.objects * (1 + len(found.killed)) // (1 + len(KILLS)):
            found.killed.append(kills.pop(0))
            if found.killed[-1] == "billing":
                site.stack.kill("billing")
                site.stack.resume("billing")
            else:
                command.process.send_signal(signal.SIGKILL)
                command.process.wait()
                command = _start(site)
        if (code := command.process.poll()) is None:
            continue
        if code == 0:
            break
        if "is under way" not in command.complained:
            command.fail_unless_done()
        found.refused += 1
        time.sleep(REFUSED_SECONDS)
        command = _start(site)
    found.seconds = time.monotonic() - began
    (found.told,) = json.loads(command.said)


def _start(site: Site) -> Command:
    file = site.folder / "findings.csv"
    return site.command("stripe", "import", "--yes", "--json", "--report", str(file))


def _taken_in(site: Site) -> int:
    counts = "SELECT coalesce(sum(customers + subscriptions + invoices), 0) FROM stripe_imports"
    return site.number("billing", counts)


def _wait_for_the_portal(site: Site, size: Size, tick: Tick) -> float:
    """The seconds until the portal has all; if it never has, what is missing is told in the end."""
    began = time.monotonic()
    while (there := _at_the_portal(site)) < size.objects:
        tick("at the portal", there, size.objects)
        if time.monotonic() - began > SETTLE_SECONDS:
            break
        time.sleep(1)
    tick("at the portal", there, size.objects)
    return time.monotonic() - began


def _at_the_portal(site: Site) -> int:
    """How many objects the portal has, about."""
    return site.number(
        "portal",
        "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM subscriptions) + "
        "(SELECT count(*) FROM invoices WHERE invoice_id NOT LIKE 'in_live%')",
    )


def _complaints(site: Site, found: Found) -> Iterator[str]:
    """What is missing, or there twice; nothing is what is hoped for."""
    size = found.size
    told = {name: found.told[name] for name in ("customers", "subscriptions", "invoices")}
    wanted = {
        "customers": size.customers,
        "subscriptions": size.subscriptions,
        "invoices": size.invoices,
    }
    if told != wanted:
        yield f"the command has told of {told}, and there are {wanted}"
    said = {
        type: (events, objects)
        for type, events, objects in site.rows(
            "billing",
            "SELECT type, count(*), count(DISTINCT split_part(event_id, '/', 3)) FROM outbox "
            "WHERE event_id LIKE 'import/%' GROUP BY type",
        )
    }
    # Of a subscription it is also said that its customer pays.
    for type, events, objects in (
        ("customer.seen", size.customers + size.subscriptions, size.customers),
        ("subscription.imported", size.subscriptions, size.subscriptions),
        ("invoice.imported", size.invoices, size.invoices),
    ):
        if said.get(type) != (events, objects):
            yield f"{type}: {said.get(type)} events and objects, expected {(events, objects)}"
    if more := said.keys() - {"customer.seen", "subscription.imported", "invoice.imported"}:
        yield f"an import tells of nothing else, and not of {more}"
    for what, statement, expected in (
        (
            "customers",
            "SELECT count(DISTINCT platform_stripe_customer_id) FROM customers",
            size.customers,
        ),
        ("customers in all", "SELECT count(*) FROM customers", size.customers),
        ("subscriptions", "SELECT count(*) FROM subscriptions", size.subscriptions),
        (
            "invoices",
            "SELECT count(*) FROM invoices WHERE invoice_id NOT LIKE 'in_live%'",
            size.invoices,
        ),
    ):
        if (count := site.number("portal", statement)) != expected:
            yield f"the portal has {count} {what}, expected {expected}"
    posted = found.webhooks["answered"]
    stored = site.number("billing", "SELECT count(*) FROM inbox WHERE id LIKE 'evt_live%'")
    if not posted <= stored <= posted + found.webhooks["again"]:
        yield f"{posted} webhooks were taken, and {stored} stored"
    if mails := site.sandbox("GET", "/inbox.json?bodies=0"):
        yield f"{len(mails)} mails were sent"


def targets(found: Found, *, quiet: bool = True) -> list[report.Target]:
    """What was aimed at; how long anything took only where the machine was `quiet` before."""
    whole = report.at_most("what is missing, or there twice", 0, len(found.complaints))
    if not quiet:
        return [whole]
    minutes = (found.seconds + found.portal_seconds) / 60
    return [
        whole,
        report.at_most("a webhook's answer meanwhile, p99", P99_AIM, found.webhooks["p99"], "ms"),
        report.at_most("minutes until all is there", MINUTES_AIM, minutes),
    ]


def rows(found: Found) -> list[report.Row]:
    """What was measured, in words."""
    size, webhooks = found.size, found.webhooks
    return [
        ("customers, subscriptions, open invoices", f"{size.customers:,}, {size.subscriptions:,}, {size.invoices:,}"),
        ("seconds until the command has ended, dead times included", f"{found.seconds:,.0f}"),
        ("objects a second", f"{size.objects / found.seconds:,.0f}"),
        ("seconds until the portal has the rest", f"{found.portal_seconds:,.0f}"),
        ("pages read; reads of Stripe in all", f"{found.told['reads']:,}; {found.reads:,}"),
        ("429s", f"{found.limited:,}"),
        ("killed with SIGKILL", ", ".join(found.killed)),
        ("times the command found the dead one's lease", f"{found.refused}"),
        *((f"memory of {whose} at most, MB", f"{most:,.0f}") for whose, most in found.memory.items()),
        ("webhooks meanwhile, a second", f"{webhooks['answered']:,}, {webhooks['rate']:.1f}"),
        ("their answers, p50, p99, longest, ms", f"{webhooks['p50']:.1f}, {webhooks['p99']:.1f}, {webhooks['longest']:,.0f}"),
        ("not answered while billing was dead, and posted again", f"{webhooks['again']}"),
        ("load averages at the end, over 1, 5, 15 minutes", found.load),
    ]  # fmt: skip


def main() -> int:
    """Import, print, write; exit code 1 when something is missing or there twice."""
    before = load_averages()
    quiet = os.getloadavg()[0] <= QUIET_LOAD
    with running("importing", SETTINGS) as site, report.progress() as bar:
        found = run(site, CUSTOMERS, report.ticking(bar))
    busy = "" if quiet else ", so how long anything took is not judged"
    title = f"An import of {CUSTOMERS:,} customers; load averages before it {before}{busy}"
    aims = targets(found, quiet=quiet)
    report.conclude("import", title, aims, ("", "measured"), rows(found))
    for complaint in found.complaints:
        print(complaint)
    return bool(found.complaints)


if __name__ == "__main__":
    sys.exit(main())
