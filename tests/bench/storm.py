"""`python -m tests.bench.storm`: failures by the thousand, at once, until SendGrid has the last mail. EVENTS=20000 says how
many, NOTIFIERS=2 how many processes of the notifier; BENCH_WRITE= (empty) prints without writing the page.

One process of the other services. SendGrid is a stand-in that speaks TLS on this machine; before and after the storm the
sendgrid library sends to it, as its documentation shows, and as a pool with two commits a mail, and stock nameko says hello.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kombu import Connection

from local.processes import fetch
from tests.bench import report
from tests.bench.alone import one_failure
from tests.bench.load import Connection as Client
from tests.bench.load import requests_of
from tests.bench.measure import apart, cpu_seconds, load, memory_mb
from tests.bench.system import System, running
from tests.bench.yardsticks import beside

EVENTS = int(os.environ.get("EVENTS", "20000"))
NOTIFIERS = int(os.environ.get("NOTIFIERS", "1"))
PAGE_HAS = (1, 2, 4)
"""Numbers of notifiers that docs/benchmarks.md has a place for."""
LIBRARY = {"used plainly": (100, 1), "as a fair pool": (400, 16)}
"""Mails and threads."""
HELLO = "an answer of nameko's hello-world"
HELLO_SECONDS = 3.0
AIM_HELLO_MS = 0.203
"""What such an answer took where the aims for a mail were set: what they are in milliseconds says as much about that machine."""
WARM = 10
"""Failures one by one before the storm: connections, statements and templates are made then."""
STRIPE_SECONDS = 0.1
"""How long Stripe takes to answer in the storm, about as the real one does."""
BATCHERS = ("events", "invoices", "contacts", "posts", "answers")
BATCH_SIZE = re.compile(r"^batch_size_(\S+) (\S+)$", re.MULTILINE)
SENT = re.compile(r'^portico_emails_sent_total\{.*outcome="sent".*\} (\S+)$', re.MULTILINE)
HEARD_BY = ("notifier", "portal")


@dataclass
class Watch:
    """What could grow in a storm: the most that was ever seen of it."""

    system: System
    most: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """One look at queues, tables and memory."""
        for service, processes in self.system.processes.items():
            for process in processes:
                self._note(f"{service}'s memory at most, MB", memory_mb(process.pid))
        for service in HEARD_BY:
            self._note(f"messages for the {service} at most", self._messages(service))
        waiting = {
            "events that wait to be published at most": (
                "billing",
                "SELECT count(*) FROM outbox WHERE published_at IS NULL",
            ),
            "mails that wait at most": (
                "notifier",
                "SELECT count(*) FROM notifications WHERE status IN ('pending', 'sending')",
            ),
        }
        for name, (service, statement) in waiting.items():
            database = self.system.stack.database_name(service)
            self._note(name, self.system.row(database, statement)[0])

    def _messages(self, service: str) -> int:
        with Connection(self.system.stack.amqp_uri) as connection:
            queue = f"{service}.billing-events"
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.message_count)

    def _note(self, name: str, value: float) -> None:
        self.most[name] = max(value, self.most.get(name, 0))


def batch_sizes(told: list[str]) -> dict[str, float]:
    """How many callers shared a round trip of the notifiers', on average since they started, by what they `told`."""
    values: dict[str, float] = {}
    for name, value in (found for each in told for found in BATCH_SIZE.findall(each)):
        values[name] = values.get(name, 0) + float(value)
    return {
        f"{name} a round trip": values[f'sum{{batcher="{name}"}}'] / count
        for name in BATCHERS
        if (count := values.get(f'count{{batcher="{name}"}}'))
    }


def shares(told: list[str]) -> dict[str, float]:
    """The part of the mails, in percent, that each notifier has sent."""
    sent = [sum(map(float, SENT.findall(each))) for each in told]
    names = (f"sent by notifier {number}, %" for number in range(1, len(sent) + 1))
    return {name: 100 * each / sum(sent) for name, each in zip(names, sent, strict=True)}


def library(system: System, mails: int, threads: int) -> tuple[float, float]:
    """The sendgrid library alone: mails a second, CPU ms a mail."""
    postgres = system.stack.postgres
    env = {
        "SSL_CERT_FILE": str(system.certificate),
        "DATABASE": postgres.url(system.scratch).replace("+psycopg2", ""),
    }
    words = system.sendgrid, str(mails), str(threads)
    rate, cpu = map(float, apart("tests.bench.plain_sendgrid", *words, env=env).split())
    return rate, cpu


def hello(system: System, seconds: float) -> float:
    """What this machine can do just now: CPU ms an answer of stock nameko's."""
    with beside(system, hello_alone=True) as yardsticks:
        process = yardsticks.hello
        plan = {"port": process.port, "connections": 64, "paths": ["/hello/maria"]}
        load({**plan, "most": 600}, process.pid)
        cpu: float = load({**plan, "seconds": seconds}, process.pid)["cpu"]
        return cpu / 1000


def warm_up(system: System) -> None:
    """A few failures, one by one."""
    client = Client(system.process("billing").port)
    requests = requests_of(system.webhook_plan(0, 1, most=WARM))
    for _ in range(WARM):
        one_failure(system, client, next(requests))
    client.socket.close()


def blow(system: System, events: int) -> dict[str, float]:
    """Post all failures, wait for the last mail (at ten a second at least); what it took."""
    patience = 60 + events / 10
    fetch(f"{system.stub.url}/stripe-takes/{STRIPE_SECONDS}")
    before, watch, cpu = system.count(), Watch(system), cpu_of(system)
    port, pid = system.process("billing").port, system.process("billing").pid
    began = time.time()
    with ThreadPoolExecutor(1) as pool, report.progress() as bar:
        posting = pool.submit(load, system.webhook_plan(port, 64, most=events), pid)
        task = bar.add_task("mails", total=events)
        while (now := system.count())["mails"] - before["mails"] < events:
            bar.update(task, completed=now["mails"] - before["mails"])
            watch.look()
            if time.time() - began > patience:
                raise RuntimeError(f"not all mails in {patience:.0f} s: {now}")
            if posting.done() and posting.exception():
                break
            time.sleep(1)
        posted = posting.result()
    watch.look()
    seconds = now["last"] - began
    used = {name: 1000 * (after - cpu[name]) / events for name, after in cpu_of(system).items()}
    told = [fetch(f"{process.url}/metrics") for process in system.processes["notifier"]]
    return {
        "webhooks a second": posted["rate"],
        "mails a second": events / seconds,
        **{f"{name}'s CPU ms a mail": value for name, value in used.items()},
        "all services' CPU ms a mail": sum(used.values()),
        "requests to Stripe a mail": (now["stripe"] - before["stripe"]) / events,
        "requests to Stripe in one second at most": now["stripe_most"],
        "mails sent twice": now["copies"],
        **(shares(told) if len(told) > 1 else {}),
        **batch_sizes(told),
        **watch.most,
        "seconds in all": seconds,
    }


def cpu_of(system: System) -> dict[str, float]:
    """Seconds of CPU that each service has used."""
    return {
        service: sum(cpu_seconds(process.pid) for process in processes)
        for service, processes in system.processes.items()
    }


def of_a_mail(who: str, aim_ms: float, took_ms: float, hello_ms: float) -> list[report.Target]:
    """The CPU of a mail, in milliseconds and beside what the same machine can do."""
    what, aim = f"CPU of {who} a mail", round(aim_ms / AIM_HELLO_MS, 1)
    return [
        report.at_most(what, aim_ms, took_ms, "ms"),
        report.at_most(f"{what} over {HELLO}", aim, took_ms / hello_ms),
    ]


def targets(found: Mapping[str, float]) -> list[report.Target]:
    """What was aimed at."""
    rate, cpu = found["mails a second"], found["all services' CPU ms a mail"]
    one = found[f"{HELLO}, CPU ms"]
    memory = max(value for name, value in found.items() if name.endswith("memory at most, MB"))
    return [
        *(
            report.at_least(
                f"mails a second over the sendgrid library's, {how}",
                least,
                rate / found[f"the sendgrid library {how}, mails a second"],
                cpu=found[f"the sendgrid library {how}, CPU ms a mail"] / cpu,
            )
            for how, least in (("used plainly", 12), ("as a fair pool", 2))
        ),
        *of_a_mail("the notifier", 1.2, found["notifier's CPU ms a mail"], one),
        *of_a_mail("all services", 2.2, cpu, one),
        report.at_most("memory of a service after load", 100, memory, "MB"),
        report.at_most("mails sent twice", 0, found["mails sent twice"], ""),
    ]


def whole(
    system: System,
    events: int,
    mails: Mapping[str, tuple[int, int]],
    hello_seconds: float = HELLO_SECONDS,
) -> dict[str, float]:
    """The yardsticks, the storm, the yardsticks again."""
    warm_up(system)
    greeted = [hello(system, hello_seconds)]
    before = {how: library(system, *size) for how, size in mails.items()}
    found = blow(system, events)
    after = {how: library(system, *size) for how, size in mails.items()}
    greeted.append(hello(system, hello_seconds))
    found[f"{HELLO}, CPU ms"] = statistics.mean(greeted)
    for how in mails:
        rate, cpu = map(statistics.mean, zip(before[how], after[how], strict=True))
        found[f"the sendgrid library {how}, mails a second"] = rate
        found[f"the sendgrid library {how}, CPU ms a mail"] = cpu
    return found


def main() -> int:
    """Measure, print, write."""
    with running("storm", EVENTS + WARM, notifiers=NOTIFIERS) as system:
        found = whole(system, EVENTS, LIBRARY)
    title = f"A storm of {EVENTS:,} failures, notifiers: {NOTIFIERS}"
    rows = [(name, f"{value:,.2f}" if value < 20 else f"{value:,.0f}") for name, value in found.items()]  # fmt: skip
    report.show(title, ("", "measured"), rows)
    report.show_targets(targets(found))
    if os.environ.get("BENCH_WRITE", "yes") and NOTIFIERS in PAGE_HAS:
        report.write_part(
            f"storm with {NOTIFIERS}", f"{title}.", targets(found), ("", "measured"), rows
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
