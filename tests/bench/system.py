"""The system under load: real processes, a PostgreSQL with fsync, quorum queues; and the yardsticks on the same servers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.processes import Process, Stack
from local.python_process import REPOSITORY, answers, python_environment
from local.servers import Child, StartError, free_port, own_folder
from services.portal.tokens.links import Links
from shared.settings import Secret
from tests.bench import seed

BENCH_PYTHON = REPOSITORY / ".venv-bench/bin/python"
EVENT = REPOSITORY / "tests/fixtures/stripe/invoice.payment_failed.json"
EVENT_BYTES = 3500


class System:
    """Portico's processes, the yardsticks, and the data; everything is removed at the end."""

    def __init__(self, folder: Path, customers: int) -> None:
        self.stub = Process(
            "stub",
            "tests.bench.stub",
            port=free_port(),
            env={},
            log=folder / "stub.log",
            ready_path="/ready",
        )
        self.stub.env["PORT"] = str(self.stub.port)
        self.stack = Stack(
            folder,
            durable=True,
            settings={"STRIPE_API_BASE": self.stub.url, "SENDGRID_API_BASE": self.stub.url},
        )
        self.customers = customers
        self.folder = folder
        self.hello = Process(
            "hello",
            "tests.bench.hello",
            port=free_port(),
            env={},
            log=folder / "hello.log",
        )
        self.bare = Process(
            "billing-without-relay",
            "tests.bench.bare_billing",
            port=free_port(),
            env={},
            log=folder / "bare.log",
        )
        self.fastapi_port = free_port()
        self.fastapi: Child | None = None

    @property
    def links(self) -> Links:
        return Links([Secret(self.link_key)], "http://localhost")

    @property
    def link_key(self) -> str:
        return self.stack.env("portal")["PORTAL_LINK_KEYS"]

    def start(self) -> None:
        """Servers, migrations, services, yardsticks, data."""
        self.stub.start()
        self.stack.start()
        with self.stack.postgres.connection("portal") as connection:
            seed.seed_portal(connection, self.customers)
        portal_url = self.stack.database_url("portal")
        self.hello.env |= {
            "DATABASE_URL": portal_url,
            "LINK_KEY": self.link_key,
            "AMQP_URI": self.stack.amqp_uri,
            "HTTP_ADDRESS": f"127.0.0.1:{self.hello.port}",
        }
        self.hello.start()
        self.bare.env |= self.stack.env("billing", self.bare.port)
        self.bare.env["BILLING_DATABASE_URL"] = self._second_billing()
        self.bare.start()
        self.fastapi = Child(
            [
                BENCH_PYTHON, "-m", "uvicorn", "tests.bench.fastapi_app:app", "--host", "127.0.0.1",
                "--port", str(self.fastapi_port), "--loop", "uvloop", "--http", "httptools", "--no-access-log",
            ],
            env={
                **python_environment(),
                "PORTAL_DATABASE_URL": portal_url,
                "BILLING_DATABASE_URL": self.bare.env["BILLING_DATABASE_URL"],
                "WEBHOOK_SECRET": self.stack.webhook_secret,
                "LINK_KEY": self.link_key,
            },
            log=self.folder / "fastapi.log",
            cwd=REPOSITORY,
        )  # fmt: skip
        self.fastapi.wait_until(
            lambda: answers(f"http://127.0.0.1:{self.fastapi_port}/readyz"),
            name="FastAPI",
            within=30,
        )

    def _second_billing(self) -> str:
        """A database of its own for what must not be relayed to the notifier."""
        url = self.stack.postgres.create_database("billing_bench")
        process = Process(
            "migrate",
            "services.billing",
            port=0,
            env={**self.stack.env("billing"), "BILLING_DATABASE_URL": url},
            log=self.folder / "migrate.log",
        )
        if code := process.command("migrate").wait(60):
            raise StartError(f"migrating ended with code {code}: {process.log_text()[-500:]}")
        return url

    def close(self) -> None:
        """End all and remove the data."""
        for process in (self.hello, self.bare, self.stub):
            process.kill()
        if self.fastapi:
            self.fastapi.kill()
        self.stack.close()

    # -- plans ----------------------------------------------------------------------------------------------

    def page_plan(self, port: int, connections: int, seconds: float) -> dict[str, Any]:
        """Look at the pages of many customers in turn."""
        return {
            "port": port,
            "connections": connections,
            "seconds": seconds,
            "paths": [f"/me/{token}" for token in self.tokens(4000)],
        }

    def tokens(self, most: int) -> list[str]:
        """Tokens of customers from all over the table."""
        links = self.links
        step = max(1, self.customers // most)
        return [seed.token(links, number) for number in range(1, self.customers + 1, step)]

    def webhook_plan(self, port: int, connections: int, seconds: float) -> dict[str, Any]:
        """Ever new, signed failures."""
        return {
            "port": port,
            "connections": connections,
            "seconds": seconds,
            "path": "/webhooks/stripe",
            "event": event_template(),
            "secret": self.stack.webhook_secret,
            "mark": f"{time.time_ns():x}",
        }

    def rpc_plan(self, service: str, window: int, seconds: float) -> dict[str, Any]:
        """Many lookups at a time."""
        return {
            "port": self.stack.rabbitmq.port,
            "password": self.stack.rabbitmq.password,
            "vhost": self.stack.vhost,
            "service": service,
            "window": window,
            "seconds": seconds,
            "tokens": self.tokens(4000),
        }

    def commits_a_second(self, seconds: int, clients: int = 16) -> dict[str, Any]:
        """pgbench: one insert of an event's size a transaction, durable."""
        postgres = self.stack.postgres
        with postgres.connection("billing_bench") as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS disk (id bigserial PRIMARY KEY, body text)")
        script = self.folder / "insert.sql"
        script.write_text(f"INSERT INTO disk (body) VALUES ('{'x' * EVENT_BYTES}');\n")
        pgbench = shutil.which("pgbench") or str(postgres.programs / "pgbench")
        done = subprocess.run(
            [pgbench, "-n", "-f", str(script), "-c", str(clients), "-T", str(seconds), "-M", "prepared",
             "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "portico", "billing_bench"],
            env={**python_environment(), "PGPASSWORD": postgres.password},
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        # A disk that others keep busy may not end a single transaction in time: then nothing is told.
        told = [line for line in done.stdout.splitlines() if line.startswith("tps")]
        rate = float(told[0].split()[2]) if told else 0.0
        return {"rate": rate, "p50": 0.0, "p99": 0.0, "cpu": 0.0, "memory": 0.0}


def event_template() -> str:
    """A failed charge of 3.5 KB, with NUMBER where ids differ."""
    import json

    event = json.loads(EVENT.read_text())
    event["id"] = "evt_NUMBER"
    event["data"]["object"]["id"] = "in_NUMBER"
    event["data"]["object"]["customer"] = "cus_1"
    return json.dumps(event, separators=(",", ":"))


@contextlib.contextmanager
def running(customers: int) -> Iterator[System]:
    """The system, started; removed at the end."""
    folder = own_folder("bench")
    folder.chmod(0o711)
    system = System(folder, customers)
    try:
        system.start()
        yield system
    finally:
        system.close()
        shutil.rmtree(folder, ignore_errors=True)
