"""`python -m tests.bench.storm`: failures by the thousand, at once, until SendGrid has the last mail. EVENTS=20000 says how many.

One process a service. SendGrid is a stand-in that speaks TLS on this machine; the same mails are sent to it with the sendgrid
library as its documentation shows, for comparison.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox.processes import Process, Stack
from sandbox.python_process import REPOSITORY, python_environment
from sandbox.servers import free_port, own_folder
from tests.bench import seed
from tests.bench.measure import cpu_seconds, load, memory_mb
from tests.bench.system import event_template

EVENTS = int(os.environ.get("EVENTS", "20000"))
PLAIN = 100
"""Mails sent with the library alone."""
PATIENCE_SECONDS = 1800
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
                "SENDGRID_API_BASE": self.stub.url,
                "NOTIFIER_SENDERS": "32",
            },
        )
        self.notifier = Process(
            "notifier-tls",
            "tests.bench.tls_notifier",
            port=free_port(),
            env={},
            log=folder / "notifier-tls.log",
        )

    def _make_certificate(self) -> None:
        key = self.folder / "key.pem"
        words = OPENSSL.format(key=key, certificate=self.certificate).split()
        subprocess.run(words, check=True, capture_output=True)
        (self.folder / "both.pem").write_text(key.read_text() + self.certificate.read_text())

    def start(self) -> None:
        """Servers and services; the notifier is one that trusts our SendGrid's certificate."""
        self.stub.start()
        self.stack.start()
        self.stack.processes("notifier")[0].terminate()
        self.notifier.env |= self.stack.env("notifier", self.notifier.port)
        self.notifier.env |= {"SENDGRID_API_BASE": self.address, "CA_FILE": str(self.certificate)}
        self.notifier.start()
        with self.stack.postgres.connection("portal") as connection:
            seed.seed_portal(connection, 1000)

    def count(self) -> dict[str, Any]:
        """What SendGrid has counted."""
        with urllib.request.urlopen(f"{self.stub.url}/count", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def waiting(self) -> int:
        """Messages in all queues."""
        return sum(count for count, _ in self.stack.rabbitmq.queues(self.stack.vhost).values())

    def close(self) -> None:
        """End all and remove the data."""
        for process in (self.notifier, self.stub):
            process.kill()
        self.stack.close()


def plainly(storm: Storm) -> float:
    """Mails a second with the sendgrid library as its documentation shows."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.plain_sendgrid", storm.address, str(PLAIN)],
        env={**python_environment(), "SSL_CERT_FILE": str(storm.certificate)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return float(done.stdout)


def blow(storm: Storm) -> dict[str, float]:
    """Post all failures, wait for the last mail; what it took."""
    billing, notifier = storm.stack.processes("billing")[0], storm.notifier
    before = storm.count()["mails"]
    cpu, most = cpu_seconds(notifier.pid), 0.0
    plan = {
        "port": billing.port,
        "connections": 64,
        "path": "/webhooks/stripe",
        "event": event_template(),
        "secret": storm.stack.webhook_secret,
        "mark": f"{time.time_ns():x}",
        "most": EVENTS,
    }
    began = time.time()
    posted = load(plan, billing.pid)
    took = time.time() - began
    deepest = 0
    while True:
        now = storm.count()
        deepest = max(deepest, storm.waiting())
        most = max(most, memory_mb(notifier.pid))
        if now["mails"] - before >= EVENTS:
            break
        if time.time() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"{now['mails'] - before} of {EVENTS} mails in {PATIENCE_SECONDS} s")
        time.sleep(1)
    seconds = now["last"] - began
    return {
        "webhooks a second": posted["sent"] / took,
        "mails a second": EVENTS / seconds,
        "notifier's CPU ms a mail": 1000 * (cpu_seconds(notifier.pid) - cpu) / EVENTS,
        "notifier's memory at most, MB": most,
        "messages waiting at most": deepest,
        "mails sent twice": now["copies"],
        "seconds in all": seconds,
    }


def main() -> int:
    """Blow, print."""
    folder = own_folder("storm")
    folder.chmod(0o711)
    storm = Storm(folder)
    try:
        storm.start()
        plain = plainly(storm)
        found = blow(storm)
    finally:
        storm.close()
    table = Table(title=f"A storm of {EVENTS:,} failures, one process a service, SendGrid over TLS")
    table.add_column("")
    table.add_column("measured", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:,.1f}" if value < 20 else f"{value:,.0f}")
    table.add_row("sendgrid library used plainly, mails a second", f"{plain:,.1f}")
    table.add_row("ratio", f"{found['mails a second'] / plain:.1f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
