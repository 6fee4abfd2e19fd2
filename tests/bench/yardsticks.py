"""What stands beside us in a run: stock nameko, FastAPI, billing without its relay, pgbench; on the system's own servers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from local.processes import Process
from local.python_process import REPOSITORY, answers, python_environment
from local.servers import Child, StartError, free_port
from tests.bench import seed
from tests.bench.system import System

BENCH_PYTHON = REPOSITORY / ".venv-bench/bin/python"
EVENT_BYTES = 3500
FASTAPIS = {"fastapi": "sqlalchemy", "asyncpg": "asyncpg"}
"""FastAPI's yardsticks, by how they ask the database."""
HAS_FASTAPI = BENCH_PYTHON.exists()
"""FastAPI is installed by `make bench` alone, in an environment of its own."""


class WithoutRelay:
    """Billing without its relay, on a database of its own: nothing of what it takes reaches the notifier."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.process = _process(system, "billing-without-relay", "tests.bench.bare_billing")

    @property
    def database(self) -> str:
        """The name of its database."""
        return f"{self.system.stack.name}_bare_billing"

    def start(self, accounts: int = 0) -> None:
        """Ready when it returns, and so many connected accounts are let in. Raises StartError."""
        stack, billing = self.system.stack, self.process
        billing.env |= stack.env("billing", billing.port)
        billing.env["BILLING_DATABASE_URL"] = stack.postgres.create_database(self.database)
        migrate = _process(self.system, "migrate", "services.billing")
        migrate.env |= billing.env
        if code := migrate.command("migrate").wait(60):
            raise StartError(f"migrating ended with code {code}: {migrate.log_text()[-500:]}")
        if accounts:
            with stack.postgres.connection(self.database) as connection:
                seed.let_in(connection, accounts)
        billing.start()


def _process(system: System, name: str, module: str) -> Process:
    return Process(name, module, port=free_port(), env={}, log=system.folder / f"{name}.log")


class Yardsticks:
    """Their processes; `fastapis`, port and process by name, has none where FastAPI is not installed."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.hello = _process(system, "hello", "tests.bench.hello")
        self.without_relay = WithoutRelay(system)
        self.bare = self.without_relay.process
        self.fastapis: dict[str, tuple[int, Child]] = {}

    def start_hello(self) -> None:
        """Start stock nameko alone; ready when it returns. Raises StartError."""
        stack = self.system.stack
        self.hello.env |= {
            "DATABASE_URL": stack.database_url("portal"),
            "LINK_KEY": self.system.link_key,
            "AMQP_URI": stack.amqp_uri,
            "HTTP_ADDRESS": f"127.0.0.1:{self.hello.port}",
        }
        self.hello.start()

    def start(self) -> None:
        """Start all; ready when it returns. Raises StartError."""
        self.start_hello()
        self.without_relay.start()
        if HAS_FASTAPI:
            self.fastapis = {name: self._start_fastapi(name) for name in FASTAPIS}

    def _start_fastapi(self, name: str) -> tuple[int, Child]:
        stack, port = self.system.stack, free_port()
        made = Child(
            [
                BENCH_PYTHON, "-m", "uvicorn", "tests.bench.fastapi_app:app", "--host", "127.0.0.1",
                "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log",
            ],
            env={
                **python_environment(),
                "PORTAL_DATABASE_URL": stack.database_url("portal"),
                "BILLING_DATABASE_URL": self.bare.env["BILLING_DATABASE_URL"],
                "WEBHOOK_SECRET": stack.webhook_secret,
                "LINK_KEY": self.system.link_key,
                "DRIVER": FASTAPIS[name],
            },
            log=self.system.folder / f"{name}.log",
            cwd=REPOSITORY,
        )  # fmt: skip
        made.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), name=name, within=30)
        return port, made

    def close(self) -> None:
        """End all."""
        for process in (self.hello, self.bare):
            process.kill()
        for _, child in self.fastapis.values():
            child.kill()

    def commits_a_second(self, seconds: int, clients: int = 16) -> dict[str, Any]:
        """pgbench: one insert of an event's size a transaction, durable."""
        postgres, database = self.system.stack.postgres, self.system.scratch
        with postgres.connection(database) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS disk (id bigserial PRIMARY KEY, body text)")
        script = self.system.folder / "insert.sql"
        script.write_text(f"INSERT INTO disk (body) VALUES ('{'x' * EVENT_BYTES}');\n")
        pgbench = shutil.which("pgbench") or str(postgres.programs / "pgbench")
        done = subprocess.run(
            [pgbench, "-n", "-f", str(script), "-c", str(clients), "-T", str(seconds), "-M", "prepared",
             "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "portico", database],
            env={**python_environment(), "PGPASSWORD": postgres.password},
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        # A disk that others keep busy may not end a single transaction in time: then nothing is told.
        told = [line for line in done.stdout.splitlines() if line.startswith("tps")]
        rate = float(told[0].split()[2]) if told else 0.0
        return {"rate": rate, "p50": 0.0, "p99": 0.0, "cpu": 0.0, "memory": 0.0}


@contextlib.contextmanager
def beside(system: System, *, hello_alone: bool = False) -> Iterator[Yardsticks]:
    """The yardsticks, started, or stock nameko alone; ended at the end."""
    yardsticks = Yardsticks(system)
    try:
        if hello_alone:
            yardsticks.start_hello()
        else:
            yardsticks.start()
        yield yardsticks
    finally:
        yardsticks.close()
