"""The system under load: real processes, a PostgreSQL with fsync, quorum queues, SendGrid's stand-in behind TLS."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.host_app import Portico
from local.processes import SERVICES, Process, Stack, fetch
from local.python_process import REPOSITORY
from local.servers import PostgreSQL, RabbitMQ, free_port, own_folder
from services.portal.tokens.links import Links
from shared.settings import Secret
from tests.bench import seed

EVENT = REPOSITORY / "tests/fixtures/stripe/invoice.payment_failed.json"
OPENSSL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
)


class System:
    """Portico's processes, the stand-ins and the data; everything is removed at the end."""

    def __init__(
        self,
        folder: Path,
        customers: int,
        *,
        name: str = "portico",
        notifiers: int = 1,
        rabbitmq: RabbitMQ | None = None,
        postgres: PostgreSQL | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """The servers are its own unless they are given; `name` is then what it calls its things there. `settings` are more of them."""
        self.folder, self.customers = folder, customers
        self.certificate = folder / "certificate.pem"
        port, plain = free_port(), free_port()
        self.stub = Process(
            "stub",
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
        self.sendgrid = f"https://127.0.0.1:{port}"
        self.stack = Stack(
            folder,
            name=name,
            replicas={"notifier": notifiers},
            rabbitmq=rabbitmq,
            postgres=postgres,
            durable=True,
            settings={
                "STRIPE_API_BASE": self.stub.url,
                "STRIPE_LOOK_RATE": "6",
                "SENDGRID_API_BASE": self.sendgrid,
                "SSL_CERT_FILE": str(self.certificate),
                "NOTIFIER_SENDERS": "32",
                "API_RATE": "60000",
                **(settings or {}),
            },
        )
        self.scratch = f"{name}_scratch"
        """A database for the yardsticks' own rows."""
        self._failed = 0

    def start(self) -> None:
        """Servers, migrations, services, data."""
        key = self.folder / "key.pem"
        words = OPENSSL.format(key=key, certificate=self.certificate).split()
        subprocess.run(words, check=True, capture_output=True)
        (self.folder / "both.pem").write_text(key.read_text() + self.certificate.read_text())
        self.stub.start()
        self.stack.start()
        self.stack.postgres.create_database(self.scratch)
        with self.stack.postgres.connection(self.stack.database_name("portal")) as connection:
            seed.seed_portal(connection, self.customers)

    def close(self) -> None:
        """End all and remove the data."""
        self.stub.kill()
        self.stack.close()

    # -- what runs ------------------------------------------------------------------------------------------

    def process(self, service: str) -> Process:
        """The first process of a service."""
        return self.stack.processes(service)[0]

    @property
    def processes(self) -> Mapping[str, Sequence[Process]]:
        """All processes, by service."""
        return {service: self.stack.processes(service) for service in SERVICES}

    @property
    def link_key(self) -> str:
        """The key that signs the customers' links."""
        return self.stack.env("portal")["PORTAL_LINK_KEYS"]

    def row(self, database: str, statement: str) -> tuple[Any, ...]:
        """The one row that a statement finds in a database of this PostgreSQL."""
        with self.stack.postgres.connection(database) as opened, opened.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() or ()

    def count(self) -> dict[str, Any]:
        """What SendGrid and Stripe have counted."""
        found: dict[str, Any] = json.loads(fetch(f"{self.stub.url}/count"))
        return found

    def mail_after(self, mails: int) -> float:
        """When the latest mail came, as `time.time()`; waits until there are more than `mails`. Raises TimeoutError."""
        found: dict[str, Any] = json.loads(fetch(f"{self.stub.url}/after/{mails}"))
        return float(found["last"])

    # -- plans ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def tokens(self) -> list[str]:
        """Tokens of up to 4,000 customers from all over the table."""
        links = Links([Secret(self.link_key)], "http://localhost")
        step = max(1, self.customers // 4000)
        return [seed.token(links, number) for number in range(1, self.customers + 1, step)]

    def page_plan(self, port: int, connections: int, **until: float) -> dict[str, Any]:
        """Look at the pages of many customers in turn. `until`: `seconds` or `most`, here and below."""
        paths = [f"/me/{token}" for token in self.tokens]
        return {"port": port, "connections": connections, "paths": paths, **until}

    def webhook_plan(self, port: int, connections: int, **until: float) -> dict[str, Any]:
        """Ever new, signed failures. With `most` none is of a customer of a plan before: what fails of one within minutes
        shares an email."""
        first, self._failed = self._failed, self._failed + int(until.get("most", 0))
        return {
            "port": port,
            "connections": connections,
            "path": "/webhooks/stripe",
            "event": event_template(),
            "secret": self.stack.webhook_secret,
            "mark": f"{time.time_ns():x}",
            "first": first,
            "customers": self.customers,
            **until,
        }

    def connect_plan(
        self, account: str, connections: int, *, port: int = 0, **until: float
    ) -> dict[str, Any]:
        """The same of a connected account; at billing itself, where no other port is given."""
        event = json.loads(event_template()) | {"account": account}
        port = port or self.process("billing").port
        return self.webhook_plan(port, connections, **until) | {
            "path": "/webhooks/stripe/connect",
            "secret": self.stack.env("billing")["STRIPE_CONNECT_WEBHOOK_SECRETS"],
            "event": json.dumps(event, separators=(",", ":")),
        }

    def let_in(self, accounts: int) -> None:
        """Spread the customers over so many connected accounts, and wait until billing knows them."""
        stack = self.stack
        with stack.postgres.connection(stack.database_name("portal")) as connection:
            seed.spread_over_accounts(connection, accounts)
        with (
            stack.postgres.connection(stack.database_name("billing")) as connection,
            connection.cursor() as cursor,
        ):
            seed.let_in(connection, accounts)
            cursor.execute("UPDATE stripe_accounts SET changed_at = now()")
            self._wait_until_served(f"acct_{accounts}")
            cursor.execute("UPDATE stripe_accounts SET changed_at = now() - interval '1 day'")

    def _wait_until_served(self, account: str) -> None:
        """Billing looks every five seconds at which accounts have changed. Raises TimeoutError."""
        end = time.monotonic() + 60
        with Portico(self.stack.amqp_uri, 10.0) as portico:
            while not portico.call("billing", "stripe_account", account=account)["served"]:
                if time.monotonic() > end:
                    raise TimeoutError(f"billing does not know {account} after a minute")
                time.sleep(0.1)

    def rpc_plan(self, service: str, window: int, seconds: float) -> dict[str, Any]:
        """Many lookups at a time."""
        return {
            "port": self.stack.rabbitmq.port,
            "password": self.stack.rabbitmq.password,
            "vhost": self.stack.vhost,
            "service": service,
            "window": window,
            "seconds": seconds,
            "tokens": self.tokens,
        }


def event_template() -> str:
    """A failed charge of 3.5 KB, with NUMBER where ids differ."""
    event = json.loads(EVENT.read_text())
    event["id"] = "evt_NUMBER"
    event["data"]["object"]["id"] = "in_NUMBER"
    event["data"]["object"]["customer"] = "cus_1"
    return json.dumps(event, separators=(",", ":"))


@contextlib.contextmanager
def running(
    kind: str, customers: int, *, notifiers: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[System]:
    """The system on servers of its own, started; removed at the end."""
    folder = own_folder(kind)
    folder.chmod(0o711)
    system = System(folder, customers, notifiers=notifiers, settings=settings)
    try:
        system.start()
        yield system
    finally:
        system.close()
        shutil.rmtree(folder, ignore_errors=True)
