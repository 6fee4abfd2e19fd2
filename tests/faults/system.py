"""The distributed system under test: two billings, two notifiers, a portal, on servers that die and behind proxies that cut."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import kombu

from examples.host_app import CALLS, Portico
from local.processes import SERVICES, Process, Stack
from local.servers import PostgreSQL, RabbitMQ
from shared.messaging.topology import queue_name
from tests.faults.plan import CUSTOMERS, Step
from tests.faults.proxy import Proxy
from tests.fixtures.servers import template_of

STALL_SECONDS = 27.0
"""Past the patience of whoever waits for a sign of life: two heartbeats, and some more."""
HEAL_SECONDS = 15.0
CALL_SECONDS = 6.0
"""Longer than a call waits for its answer, after which its request is gone from the queue."""
REPLIES = re.compile(r"(rpc\.reply-\w+)-")
"""Each process has a queue of its own for the answers to its calls."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether a GET is answered with a success right now."""
    try:
        with _direct.open(url, timeout=5) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False


def _calls_others(process: Process) -> bool:
    """Whether a process has a queue for answers at all: billing of the release before asks nobody anything."""
    url = f"http://127.0.0.1:{process.port}/metrics"
    with _direct.open(url, timeout=5) as answer:
        return b'queue="rpc.reply-' in answer.read()


class Servers(NamedTuple):
    """Servers that run already, for a system that does nothing to them."""

    rabbitmq: RabbitMQ
    postgres: PostgreSQL
    migrated: Callable[[str], str]
    """A migrated database of each service, to be copied."""
    name: str
    """Of the virtual host and the databases there."""


class ProxiedStack(Stack):
    """A stack whose services reach their servers only through proxies."""

    amqp: Proxy
    database: Proxy

    @property
    def host_uri(self) -> str:
        """The broker's address for a host application."""
        return self.amqp_uri

    def env(self, service: str, port: int | None = None) -> dict[str, str]:
        env = super().env(service, port)
        url = f"{service.upper()}_DATABASE_URL"
        env["AMQP_URI"] = env["AMQP_URI"].replace(f":{self.rabbitmq.port}", f":{self.amqp.port}")
        env[url] = env[url].replace(f":{self.postgres.port}/", f":{self.database.port}/")
        return env


class System:
    """Servers, proxies and services; what may go wrong with them is a method or a `Step`."""

    calls_on = CALLS
    """The exchange on which the host application calls."""

    def __init__(
        self,
        folder: Path,
        replicas: dict[str, int] | None = None,
        settings: dict[str, str] | None = None,
        kind: type[ProxiedStack] = ProxiedStack,
        servers: Servers | None = None,
        with_templates: Callable[[PostgreSQL], None] | None = None,
    ) -> None:
        """On servers of its own, with fsync, unless `servers` are given: those are others' too, and nothing may be done to them.

        `with_templates`, of tests/fixtures/servers.py, spares a PostgreSQL of its own the migrations.
        """
        self._own_servers = servers is None
        self.rabbitmq = servers.rabbitmq if servers else RabbitMQ(folder / "rabbitmq")
        self.postgres = (
            servers.postgres if servers else PostgreSQL(folder / "postgresql", durable=True)
        )
        self.stack = kind(
            folder,
            name=servers.name if servers else "faults",
            replicas={"billing": 2, "notifier": 2} if replicas is None else replicas,
            rabbitmq=self.rabbitmq,
            postgres=self.postgres,
            settings=settings,
        )
        self.stack.migrated = servers.migrated if servers else None
        if with_templates and not servers:
            with_templates(self.postgres)
            self.stack.migrated = template_of
        self.kills = 0
        self.customers: Iterator[str] = iter(())
        """Ids at Stripe of customers to whom nothing has happened yet."""
        self.fell: list[str] = []
        """Processes that ended by themselves and had to be started again."""
        self._ending: set[str] = set()
        self._supervised = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> System:
        if self._own_servers:
            self.rabbitmq.launch()
            self.postgres.start()
            self.rabbitmq.wait()
        self.stack.amqp = Proxy(self.rabbitmq.port)
        self.stack.database = Proxy(self.postgres.port)
        self.stack.start()
        threading.Thread(target=self._supervise, daemon=True, name="supervisor").start()
        return self

    def __exit__(self, *error: object) -> None:
        self._supervised.set()
        for process in self.stack.everything():
            process.kill()
        self.stack.amqp.close()
        self.stack.database.close()
        if self._own_servers:
            self.rabbitmq.close()
            self.postgres.close()
        else:
            self.stack.close()

    # -- what an orchestrator does -------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Start again what ended by itself, and remember it."""
        while not self._supervised.wait(0.5):
            with self._lock:
                for service in SERVICES:
                    for process in self.stack.processes(service):
                        if not process.running and process.name not in self._ending:
                            self.fell.append(process.name)
                            process.launch()

    @contextmanager
    def expecting(self, process: Process) -> Iterator[None]:
        """It may end in this block, and is not started again by itself."""
        with self._lock:
            self._ending.add(process.name)
        try:
            yield
        finally:
            with self._lock:
                self._ending.discard(process.name)

    def kill(self, process: Process) -> None:
        """SIGKILL, and start it again at once."""
        with self.expecting(process):
            process.kill()
            process.launch()
        self.kills += 1

    def restart(self, process: Process) -> int:
        """SIGTERM, as an orchestrator does, and start it again; the exit code."""
        with self.expecting(process):
            code = process.terminate(within=40)
            process.launch()
        return code

    def suspend(self, process: Process) -> None:
        """SIGKILL, and leave it dead until resume()."""
        with self._lock:
            self._ending.add(process.name)
        process.kill()

    def end(self, process: Process) -> int:
        """SIGTERM, and leave it ended until resume(); the exit code."""
        with self._lock:
            self._ending.add(process.name)
        return process.terminate(within=40)

    def resume(self, process: Process) -> None:
        """Start a suspended process and wait until it is ready."""
        process.start()
        with self._lock:
            self._ending.discard(process.name)

    def succeed(self, service: str) -> tuple[list[Process], list[Process]]:
        """Start a successor beside each process of a service, with the settings and code of now: (old, new), all
        serving."""
        with self._lock:
            old = list(self.stack.processes(service))
            new = [self.stack.add(service) for _ in old]
            for process in new:
                process.launch()
        self.stack.wait_for(service, new)
        return old, new

    def retire(self, processes: Sequence[Process]) -> list[int]:
        """SIGTERM them all, and forget them; their exit codes."""
        with self._lock:
            for process in processes:
                self.stack.remove(process)
        for process in processes:
            process.signal(signal.SIGTERM)
        return [process.ended() for process in processes]

    # -- what goes wrong -----------------------------------------------------------------------------------

    def happen(self, step: Step) -> None:
        """Let one step of the plan happen, to its end."""
        action, subject, *rest = step.what.split()
        if subject in SERVICES:
            process = self.stack.processes(subject)[int(rest[0])]
            {"kill": self.kill, "restart": self.restart, "stall": self.stall}[action](process)
        elif action == "delete":
            self.delete_exchange(subject)
        elif action == "kill" and subject == "all":
            for process in self.stack.processes(rest[0]):
                self.kill(process)
        elif subject in ("rabbitmq", "postgres"):
            self._server(action, subject, step.seconds)
        elif subject in ("amqp", "postgres-wire"):
            self._network(action, subject, step.seconds)
        else:
            self._vendor(action, " ".join([subject, *rest]), step.seconds)

    def stall(self, process: Process) -> None:
        """Stop its clock past the broker's patience, as a busy machine or a suspended one does, and let it go on."""
        process.signal(signal.SIGSTOP)
        time.sleep(STALL_SECONDS)
        process.signal(signal.SIGCONT)

    def delete_exchange(self, name: str) -> None:
        """What one command of a person's does."""
        with kombu.Connection(self.rabbitmq.uri_of(self.stack.vhost)) as connection:
            connection.channel().exchange_delete(name)

    def _server(self, action: str, subject: str, seconds: float) -> None:
        server: Any = self.rabbitmq if subject == "rabbitmq" else self.postgres
        if action in ("kill", "restart"):
            server.kill() if action == "kill" else server.stop()
            self.kills += action == "kill"
            time.sleep(seconds / 2)
            server.start()
        elif action == "block":
            self.rabbitmq.block()
            time.sleep(seconds)
            self.rabbitmq.unblock()
        elif action == "close":
            self.rabbitmq.close_connections()
        elif action == "stall":
            self.rabbitmq.freeze()
            time.sleep(STALL_SECONDS)
            self.rabbitmq.thaw()
        elif action == "readonly":
            self.postgres.take_writes(False)
            time.sleep(seconds)
            self.postgres.take_writes(True)
        elif action == "end":
            self.postgres.end_connections()
        else:
            self._network(action, subject, seconds)

    def _network(self, action: str, subject: str, seconds: float) -> None:
        proxy = self.stack.amqp if subject == "amqp" else self.stack.database
        if action == "cut":
            proxy.refuse()
            time.sleep(seconds / 2)
            proxy.open()
        elif action == "delay":
            proxy.delay(0.1)
            time.sleep(seconds)
            proxy.delay(0)
        else:
            proxy.freeze()
            time.sleep(seconds)
            proxy.cut()
            proxy.thaw()

    def _vendor(self, vendor: str, trouble: str, seconds: float) -> None:
        match = "POST /v3/mail/send" if vendor == "mail" else "* /v1/*"
        fault: dict[str, Any] = {"match": match, "times": 3}
        if trouble == "500":
            fault |= {"status": 503, "times": 8}
        elif trouble == "429":
            fault |= {"status": 429}
        elif trouble == "answers lost":  # taken, and the answer vanishes: the worst there is
            fault |= {"status": "timeout", "delay_seconds": 13, "after": True}
        elif trouble == "timeout":
            fault |= {"status": "timeout", "delay_seconds": 13, "times": 2}
        elif trouble == "slow":
            fault |= {"delay_seconds": 0.5, "times": 20}
        self.sandbox("POST", "/sandbox/faults", fault)
        time.sleep(seconds)

    # -- looking -------------------------------------------------------------------------------------------

    def sandbox(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the sandbox something."""
        request = urllib.request.Request(
            self.stack.sandbox_url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with _direct.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def rows(self, service: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows from a service's database, past the proxy."""
        with (
            self.postgres.connection(self.stack.database_name(service)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def waiting(self) -> dict[str, int]:
        """Queues that hold messages, dead letters among them.

        Without the answers to calls that a killed process had made (nobody waits for those, and the queue goes after
        five minutes), and without what a test listens to as the host.
        """
        return {
            name: count
            for name, (count, _) in self.rabbitmq.queues(self.stack.vhost).items()
            if count and not name.startswith(("rpc.reply-", "host."))
        }

    def left(self) -> dict[str, int]:
        """Queues that hold messages when everything has come to rest.

        Services go on asking each other things in the background, so a request in a queue is only then left over when it
        is still there after its caller has given up.
        """
        end = time.monotonic() + CALL_SECONDS
        while True:
            found = self.waiting()
            calling = any(name.startswith("rpc-") for name in found)
            if not calling or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def host(self, timeout: float = 5.0) -> Portico:
        """A host application's connection."""
        return Portico(self.stack.host_uri, timeout, self.calls_on)

    def deaf(self) -> dict[str, int]:
        """How many consumers each queue lacks when everything has come to rest: one for each process of its service."""
        end = time.monotonic() + HEAL_SECONDS
        while (found := self._deaf()) and time.monotonic() < end:
            time.sleep(0.5)
        return found

    def _deaf(self) -> dict[str, int]:
        consumers: Counter[str] = Counter()
        for name, (_, count) in self.rabbitmq.queues(self.stack.vhost).items():
            replies = REPLIES.match(name)
            consumers[replies[1] if replies else name] += count
        found = {}
        for service in SERVICES:
            running = [process for process in self.stack.processes(service) if process.running]
            wanted = {
                f"rpc-{service}": len(running),
                queue_name(service): len(running),
                f"rpc.reply-{service}": sum(map(_calls_others, running)),
            }
            for name, count in wanted.items():
                if name in consumers and count > consumers[name]:
                    found[name] = count - consumers[name]
        return found

    def make_customers(self, count: int = CUSTOMERS) -> None:
        """Customers of one business, known to the portal by their Stripe ids, for `customers` to be taken from."""
        with self.host() as portico:
            portico.call("portal", "upsert_business", business_id="faults", name="Faults & Sons")
        ids = [f"cus_faults{number}" for number in range(count)]
        rows = [
            (
                f"c{number}",
                f"Customer {number}",
                f"customer{number}@example.com",
                None,
                None,
                stripe_id,
            )
            for number, stripe_id in enumerate(ids)
        ]
        with Portico(self.stack.amqp_uri, 60.0, self.calls_on) as portico:
            for start in range(0, count, 500):
                done = portico.call(
                    "portal",
                    "import_customers",
                    business_id="faults",
                    rows=rows[start : start + 500],
                )
                assert done["errors"] == []
        self.customers = iter(ids)

    def wait(self, ready: Callable[[], bool], within: float) -> float:
        """Poll until true; the seconds it took. Raises TimeoutError."""
        began = time.monotonic()
        while True:
            try:
                if ready():
                    return time.monotonic() - began
            except OSError:
                pass
            if time.monotonic() - began > within:
                raise TimeoutError(f"not within {within:g} s: {ready.__doc__ or ready.__name__}")
            time.sleep(0.25)
