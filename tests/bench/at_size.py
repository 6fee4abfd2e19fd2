"""A whole system with the sandbox as its Stripe, for what a business does once and with all it has: importing and observing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from examples.host_app import Portico
from local.processes import SERVICES, Stack
from local.python_process import REPOSITORY, python_environment
from local.servers import PostgreSQL, RabbitMQ, own_folder
from local.stack import write_settings
from tests.fixtures.story import Story

BUSINESS: Final = "sunrise-cleaning"
MODEL: Final = "model@example.com"
SANDBOX_SECONDS: Final = 300
"""How long the sandbox may take to make a crowd."""
CALL_SECONDS: Final = 60.0

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Model:
    """What a crowd is made of: one subscriber whose last charge failed."""

    customer: str
    subscription: str
    invoice: str


class Site:
    """Portico's processes, RabbitMQ, PostgreSQL and the sandbox; a context in which they run."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        rabbitmq: RabbitMQ,
        postgres: PostgreSQL,
        settings: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.stack = Stack(
            folder, name=name, rabbitmq=rabbitmq, postgres=postgres, settings=settings
        )
        self._commands: list[Command] = []

    def __enter__(self) -> Site:
        try:
            self.stack.start()
        except BaseException:
            self.stack.close()
            raise
        self._settings = write_settings(self.stack)
        self.story = Story(self.host(), self.stack.sandbox_url, self.stack.stripe_api_key)
        return self

    def __exit__(self, *error: object) -> None:
        for command in self._commands:
            command.process.kill()
            command.process.wait()
        self.story.close()
        self.stack.close()

    # -- whom it is done with ------------------------------------------------------------------------------

    def host(self) -> Portico:
        """A host application's connection."""
        return Portico(self.stack.amqp_uri, CALL_SECONDS)

    def sandbox(self, method: str, path: str, **body: Any) -> Any:
        """Ask one of the sandbox's controls."""
        request = urllib.request.Request(
            self.stack.sandbox_url + path,
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with _direct.open(request, timeout=SANDBOX_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def rows(self, service: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a service's database."""
        with (
            self.stack.postgres.connection(self.stack.database_name(service)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def number(self, service: str, statement: str, *values: Any) -> int:
        """The one number that a statement asks for."""
        ((found,),) = self.rows(service, statement, *values)
        return int(found)

    def command(self, *words: str) -> Command:
        """Start `portico` with words; it is not waited for."""
        file = self.folder / f"command-{len(self._commands)}"
        command = Command(["--env-file", str(self._settings), *words], file)
        self._commands.append(command)
        return command

    def portico(self, *words: str) -> str:
        """What `portico` prints when it has ended well. Raises RuntimeError."""
        command = self.command(*words)
        command.process.wait()
        command.fail_unless_done()
        return command.said

    # -- what there is at Stripe ---------------------------------------------------------------------------

    def model(self) -> Model:
        """Make the model, of which Portico does not hear."""
        self.sandbox("POST", "/sandbox/webhooks", drop=True)
        customer = self.story.at_stripe("Model", MODEL, autopay=True)
        (subscription,) = self.story.get("/v1/subscriptions", customer=customer)["data"]
        self.story.control(f"customers/{customer}/decline_next")
        invoice = self.story.control(f"customers/{customer}/charge_now")
        self.sandbox("POST", "/sandbox/webhooks", drop=False)
        return Model(customer, subscription["id"], invoice["id"])

    def crowd(self, like: Model, customers: int, subscriptions: int, invoices: int) -> None:
        """Make many customers like the model at Stripe, of which Portico does not hear."""
        self.sandbox(
            "POST",
            "/sandbox/crowd",
            customers=customers,
            subscriptions=subscriptions,
            invoices=invoices,
            customer=like.customer,
            subscription=like.subscription,
            invoice=like.invoice,
        )

    def listed(self, what: str, **query: str) -> Iterator[dict[str, Any]]:
        """All objects of one of Stripe's lists, page by page."""
        after: dict[str, str] = {}
        while True:
            page = self.story.get(f"/v1/{what}", limit="100", **query, **after)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    # -- until it is done ----------------------------------------------------------------------------------

    def is_published(self) -> bool:
        """nothing waits in an outbox or a queue"""
        for service in SERVICES:
            if self.rows(service, "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
                return False
        queues = self.stack.rabbitmq.queues(self.stack.vhost)
        return not any(
            count
            for name, (count, _) in queues.items()
            if not name.startswith("rpc") and not name.endswith(".dead")
        )

    def wait(
        self, done: Callable[[], bool], within: float, tick: Callable[[], object] = lambda: None
    ) -> float:
        """Look every second, and `tick`, until it is done twice in a row: what a service hands on at this moment is in no queue yet; the
        seconds that took. Raises TimeoutError."""
        began, times = time.monotonic(), 0
        while times < 2:
            times = times + 1 if done() else 0
            if time.monotonic() - began > within:
                raise TimeoutError(f"not within {within:g} s: {done.__doc__ or done.__name__}")
            tick()
            time.sleep(1)
        return time.monotonic() - began


class Command:
    """A `portico …` that runs, with what it says in files."""

    def __init__(self, words: list[str], file: Path) -> None:
        self._out, self._errors = file.with_suffix(".out"), file.with_suffix(".err")
        self._words = words[2:]
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portico", *words],
                cwd=REPOSITORY,
                env=python_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    @property
    def complained(self) -> str:
        """What it has said on its stream for errors."""
        return self._errors.read_text()

    def fail_unless_done(self) -> None:
        """Raises RuntimeError when it has not ended well."""
        if self.process.poll() != 0:
            raise RuntimeError(
                f"portico {' '.join(self._words)} ended with {self.process.poll()}: {self.complained[-1000:]}"
            )


@contextlib.contextmanager
def running(kind: str, settings: Mapping[str, str]) -> Iterator[Site]:
    """A site on servers of its own, PostgreSQL with fsync; all is removed at the end."""
    folder = own_folder(kind)
    folder.chmod(0o711)
    rabbitmq = RabbitMQ(folder / "rabbitmq")
    postgres = PostgreSQL(folder / "postgresql", durable=True)
    try:
        rabbitmq.launch()
        postgres.start()
        rabbitmq.wait()
        with Site(
            folder, name=kind, rabbitmq=rabbitmq, postgres=postgres, settings=settings
        ) as site:
            yield site
    finally:
        rabbitmq.close()
        postgres.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def busy_stripe(site: Site, every: float) -> Iterator[Callable[[], int]]:
    """Stripe takes a hundred requests a second, and says 429 beside that every so many seconds, half the times with how long to wait; gives
    how often it said so."""
    ended, asked = threading.Event(), 0

    def go_on() -> None:
        nonlocal asked
        while not ended.wait(every):
            told = {"retry_after": 1} if asked % 2 else {}
            site.sandbox("POST", "/sandbox/faults", match="GET /v1/*", status=429, **told)
            asked += 1

    def limited() -> int:
        left = sum(one["times"] for one in site.sandbox("GET", "/sandbox/faults")["faults"])
        return asked - int(left) + int(site.sandbox("GET", "/sandbox/requests")["limited"])

    site.sandbox("POST", "/sandbox/limits", account=100)
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield limited
    finally:
        ended.set()
        thread.join()
        site.sandbox("DELETE", "/sandbox/faults")
        site.sandbox("POST", "/sandbox/limits", account=None)


def load_averages() -> str:
    """How busy the machine is, by `uptime`'s three numbers."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())
