"""`python -m tests.bench.storm`: failures by the thousand, at once, until SendGrid has the last mail. EVENTS=20000 says how many.

One process a service. SendGrid is a stand-in that speaks TLS on this machine; the same mails are sent to it with the sendgrid
library as its documentation shows, for comparison. Before the storm single failures find the system idle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kombu import Connection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.processes import SERVICES, Process, Stack, fetch
from local.python_process import REPOSITORY, python_environment
from local.servers import free_port, own_folder
from tests.bench import load as generator
from tests.bench import seed
from tests.bench.measure import cpu_seconds, load, memory_mb
from tests.bench.system import event_template

EVENTS = int(os.environ.get("EVENTS", "20000"))
PLAIN = 100
"""Mails sent with the library alone."""
SINGLE = 40
"""Failures sent one by one to the idle system."""
BETWEEN_SECONDS = 0.5
"""From one of them to the next: then each is within billing's budget of looks at Stripe."""
STRIPE_SECONDS = 0.1
"""How long Stripe takes to answer in the storm, about as the real one does."""
PATIENCE_SECONDS = 60 + EVENTS / 10
"""Ten mails a second is the slowest storm that is waited for."""
BATCHERS = ("events", "invoices", "contacts", "posts", "answers")
BATCH_SIZE = re.compile(r"^batch_size_(\S+) (\S+)$", re.MULTILINE)
HEARD_BY = ("notifier", "portal")
OPENSSL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
)


class Storm:
    """The distributed system with a SendGrid of its own behind TLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "certificate.pem"
        self._make_certificate()
        port, plain = free_port(), free_port()
        self.stub = Process(
            "sendgrid",
            "tests.bench.stub",
            port=plain,
            env={
                "PORT": str(port),
                "PLAIN_PORT": str(plain),
                "CERTIFICATE": str(folder / "both.pem"),
            },
            log=folder / "stub.log",
            ready_path="/ready",
        )
        self.address = f"https://127.0.0.1:{port}"
        self.stack = Stack(
            folder,
            durable=True,
            settings={
                "STRIPE_API_BASE": self.stub.url,
                "STRIPE_LOOK_RATE": "6",
                "SENDGRID_API_BASE": self.address,
                "SSL_CERT_FILE": str(self.certificate),
                "NOTIFIER_SENDERS": "32",
            },
        )

    def _make_certificate(self) -> None:
        key = self.folder / "key.pem"
        words = OPENSSL.format(key=key, certificate=self.certificate).split()
        subprocess.run(words, check=True, capture_output=True)
        (self.folder / "both.pem").write_text(key.read_text() + self.certificate.read_text())

    def start(self) -> None:
        """Servers, services and the customers."""
        self.stub.start()
        self.stack.start()
        with self.stack.postgres.connection("portal") as connection:
            # One each: what fails of one customer within minutes shares an email.
            seed.seed_portal(connection, EVENTS + SINGLE)

    @property
    def services(self) -> dict[str, Process]:
        """The process of each service."""
        return {name: self.stack.processes(name)[0] for name in SERVICES}

    def count(self) -> dict[str, Any]:
        """What SendGrid and Stripe have counted."""
        found: dict[str, Any] = json.loads(fetch(f"{self.stub.url}/count"))
        return found

    def plan(self, first_customer: int = 1) -> dict[str, Any]:
        """Ever new, signed failures of ever other customers, for the load generator."""
        return {
            "first_customer": first_customer,
            "customers": EVENTS,
            "port": self.services["billing"].port,
            "connections": 64,
            "path": "/webhooks/stripe",
            "event": event_template(),
            "secret": self.stack.webhook_secret,
            "mark": f"{time.time_ns():x}",
            "most": EVENTS,
        }

    def close(self) -> None:
        """End all and remove the data."""
        self.stub.kill()
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Watch:
    """What could grow in a storm: the most that was ever seen of it."""

    storm: Storm
    most: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """One look at queues, tables and memory."""
        for service, process in self.storm.services.items():
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
        for name, (database, statement) in waiting.items():
            self._note(name, self._number(database, statement))

    def _number(self, database: str, statement: str) -> int:
        postgres = self.storm.stack.postgres
        with postgres.connection(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            ((number,),) = cursor.fetchall()
        return int(number)

    def _messages(self, service: str) -> int:
        with Connection(self.storm.stack.amqp_uri) as connection:
            queue = f"{service}.billing-events"
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.message_count)

    def _note(self, name: str, value: float) -> None:
        self.most[name] = max(value, self.most.get(name, 0))


def batch_sizes(storm: Storm) -> dict[str, float]:
    """How many callers shared a round trip of the notifier's, on average since it started."""
    told = fetch(f"{storm.services['notifier'].url}/metrics")
    values = {name: float(value) for name, value in BATCH_SIZE.findall(told)}
    return {
        f"{name} a round trip": values[f'sum{{batcher="{name}"}}'] / count
        for name in BATCHERS
        if (count := values.get(f'count{{batcher="{name}"}}'))
    }


def plainly(storm: Storm) -> dict[str, float]:
    """The sendgrid library as its documentation shows it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.plain_sendgrid", storm.address, str(PLAIN)],
        env={**python_environment(), "SSL_CERT_FILE": str(storm.certificate)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    rate, cpu = map(float, done.stdout.split())
    return {
        "the sendgrid library used plainly, mails a second": rate,
        "the sendgrid library's CPU ms a mail": cpu,
    }


def idle(storm: Storm) -> dict[str, float]:
    """Failures one by one on an idle system: from the webhook's first byte to SendGrid's last, in ms."""
    plan = storm.plan(first_customer=EVENTS + 1)
    requests = generator.requests_of(plan)
    connection = generator.Connection(plan["port"])
    took = []
    for _ in range(SINGLE):
        before, began = storm.count()["mails"], time.time()
        connection.send(next(requests))
        while connection.receive() is None:
            pass
        while (now := storm.count())["mails"] == before:
            if time.time() - began > 10:
                raise RuntimeError("no mail in 10 s")
            time.sleep(0.02)
        took.append(now["last"] - began)
        time.sleep(max(0.0, began + BETWEEN_SECONDS - time.time()))
    connection.socket.close()
    took.sort()
    return {
        "one failure on the idle system, p50 ms": generator.percentile(took, 50),
        "one failure on the idle system, p99 ms": generator.percentile(took, 99),
    }


def blow(storm: Storm) -> dict[str, float]:
    """Post all failures, wait for the last mail; what it took."""
    fetch(f"{storm.stub.url}/stripe-takes/{STRIPE_SECONDS}")
    before, watch = storm.count(), Watch(storm)
    cpu = {name: cpu_seconds(process.pid) for name, process in storm.services.items()}
    began = time.time()
    with ThreadPoolExecutor(1) as pool, progress() as bar:
        posting = pool.submit(load, storm.plan(), storm.services["billing"].pid)
        task = bar.add_task("mails", total=EVENTS)
        while (now := storm.count())["mails"] - before["mails"] < EVENTS:
            bar.update(task, completed=now["mails"] - before["mails"])
            watch.look()
            if time.time() - began > PATIENCE_SECONDS:
                raise RuntimeError(f"not all mails in {PATIENCE_SECONDS:.0f} s: {now}")
            if posting.done() and posting.exception():
                break
            time.sleep(1)
        posted = posting.result()
    seconds = now["last"] - began
    used = {name: cpu_seconds(process.pid) - cpu[name] for name, process in storm.services.items()}
    return {
        "webhooks a second": posted["rate"],
        "mails a second": EVENTS / seconds,
        **{f"{name}'s CPU ms a mail": 1000 * used[name] / EVENTS for name in used},
        "requests to Stripe a mail": (now["stripe"] - before["stripe"]) / EVENTS,
        "requests to Stripe in one second at most": now["stripe_most"],
        "mails sent twice": now["copies"],
        **batch_sizes(storm),
        **watch.most,
        "seconds in all": seconds,
    }


def progress() -> Progress:
    """A bar on the terminal's error stream."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def started() -> Iterator[Storm]:
    """The system, started; removed at the end."""
    folder = own_folder("storm")
    folder.chmod(0o711)
    storm = Storm(folder)
    try:
        storm.start()
        yield storm
    finally:
        storm.close()


def main() -> int:
    """Single failures, the library alone, the storm; print."""
    with started() as storm:
        found = idle(storm)
        plain = plainly(storm)
        found |= blow(storm) | plain
    table = Table(title=f"A storm of {EVENTS:,} failures, one process a service, SendGrid over TLS")
    table.add_column("")
    table.add_column("measured", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:,.2f}" if value < 20 else f"{value:,.0f}")
    rates = "mails a second", "the sendgrid library used plainly, mails a second"
    table.add_row("ratio", f"{found[rates[0]] / found[rates[1]]:.1f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
