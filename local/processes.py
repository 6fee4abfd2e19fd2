"""Portico whole: the distributed system, each part a process, and the embedded one.

For tests and `make stack`. Every process gets an explicit environment: nothing of the caller's settings leaks in.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.python_process import REPOSITORY, Process, fetch
from local.sandboxed import mail_settings, stripe_settings
from local.servers import Child, PostgreSQL, RabbitMQ, StartError, free_port
from sandbox.keys import own_secrets
from sandbox.private import private_folder

__all__ = ["SERVICES", "Embedded", "Process", "Stack", "fetch"]

SERVICES = ("portal", "billing", "notifier")


class _Addresses:
    """Where the parts listen."""

    _ports: dict[str, int]

    def _url(self, part: str) -> str:
        return f"http://127.0.0.1:{self._ports[part]}"

    @property
    def portal_url(self) -> str:
        return self._url("portal")

    @property
    def billing_url(self) -> str:
        return self._url("billing")

    @property
    def notifier_url(self) -> str:
        return self._url("notifier")

    @property
    def api_url(self) -> str:
        """Of the API for host applications, at the first portal."""
        return f"{self._url('api')}/api/v1"

    @property
    def sandbox_url(self) -> str:
        return self._url("sandbox")


class Stack(_Addresses):
    """The distributed system: RabbitMQ, PostgreSQL, the sandbox, and as many processes a service as wanted.

    The servers are this stack's own unless they are given; then it uses a virtual host and databases named after
    it there. Data, logs and secrets are in `folder`. Starting it again goes on with the same data.
    """

    code = REPOSITORY
    """The folder that holds the services' code: another version's, where one is to run."""

    migrated: Callable[[str], str] | None = None
    """Names, for a service, a database of `postgres` with the schema of the code: the stack's own are copied from those and not migrated."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "portico",
        replicas: Mapping[str, int] | None = None,
        ports: Mapping[str, int] | None = None,
        rabbitmq: RabbitMQ | None = None,
        postgres: PostgreSQL | None = None,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`ports` fixes those of portal, billing, notifier, api and sandbox (the first replica); `settings` are set for all.

        `durable`: fsync in PostgreSQL, and a sandbox that keeps its state in a file.
        """
        private_folder(folder)
        self.folder, self.name = folder, name
        self._ports = {part: free_port() for part in (*SERVICES, "api", "sandbox")} | dict(
            ports or {}
        )
        self._own_servers = rabbitmq is None, postgres is None
        self.rabbitmq = rabbitmq or RabbitMQ(folder / "rabbitmq")
        self.postgres = postgres or PostgreSQL(folder / "postgresql", durable=durable)
        self._secrets = own_secrets(folder)
        self._settings = dict(settings or {})
        self._mail_key = ""
        self._replicas = dict.fromkeys(SERVICES, 1) | dict(replicas or {})
        self._processes: dict[str, list[Process]] = {}
        self._added = 0
        self.sandbox = Process(
            "sandbox",
            "sandbox.server",
            port=self._ports["sandbox"],
            env={
                "SANDBOX_ADDRESS": f"127.0.0.1:{self._ports['sandbox']}",
                "SANDBOX_STATE": str(folder / "sandbox.sqlite3") if durable else "",
                "SANDBOX_WEBHOOK_URL": f"{self.billing_url}/webhooks/stripe",
                "SANDBOX_WEBHOOK_SECRET": self.webhook_secret,
                "SANDBOX_CONNECT_WEBHOOK_URL": f"{self.billing_url}/webhooks/stripe/connect",
                "SANDBOX_CONNECT_WEBHOOK_SECRET": self._secrets["STRIPE_CONNECT_WEBHOOK_SECRETS"],
                "SANDBOX_REDIRECT_URIS": f"{self.portal_url}/connect/stripe/return",
                "SANDBOX_SENDGRID_WEBHOOK_URL": f"{self.notifier_url}/webhooks/sendgrid",
            },
            log=folder / "sandbox.log",
            ready_path="/sandbox/sendgrid-public-key",
        )

    @property
    def vhost(self) -> str:
        """The virtual host that the services use."""
        return "/" if self._own_servers[0] else self.name

    @property
    def amqp_uri(self) -> str:
        return self.rabbitmq.uri_of(self.vhost)

    @property
    def webhook_secret(self) -> str:
        """The secret that signs the sandbox's Stripe webhooks."""
        return self._secrets["STRIPE_WEBHOOK_SECRETS"]

    @property
    def stripe_api_key(self) -> str:
        return self._secrets["STRIPE_API_KEY"]

    def secrets(self) -> list[str]:
        """Every value of this stack that must stay secret: keys and passwords."""
        return [*self._secrets.values(), self.rabbitmq.password, self.postgres.password]

    def database_name(self, service: str) -> str:
        return service if self._own_servers[1] else f"{self.name}_{service}"

    def database_url(self, service: str) -> str:
        """The SQLAlchemy URL of a service's database."""
        return self.postgres.url(self.database_name(service))

    def env(self, service: str, port: int | None = None) -> dict[str, str]:
        """The settings of a service's process, those of the first replica unless `port` is given."""
        return {
            "AMQP_URI": self.amqp_uri,
            f"{service.upper()}_DATABASE_URL": self.database_url(service),
            "HTTP_ADDRESS": f"127.0.0.1:{port or self._ports[service]}",
            "PUBLIC_URL": self.portal_url,
            **stripe_settings(self.sandbox_url),
            **mail_settings(self.sandbox_url, self._mail_key),
            **self._api(service, port),
            **self._secrets,
            **self._settings,
        }

    def _api(self, service: str, port: int | None) -> dict[str, str]:
        """The API for hosts is at the first portal."""
        if service != "portal" or port not in (None, self._ports["portal"]):
            return {}
        return {"API_ADDRESS": f"127.0.0.1:{self._ports['api']}", "API_MODE": "test"}

    def processes(self, service: str) -> Sequence[Process]:
        """The processes of `portal`, `billing`, `notifier` or `sandbox`, after start()."""
        return [self.sandbox] if service == "sandbox" else self._processes[service]

    def start(self) -> None:
        """Start the servers, migrate, start the sandbox and the services; ready when it returns. Raises StartError."""
        own_rabbitmq, own_postgres = self._own_servers
        if own_rabbitmq:
            self.rabbitmq.launch()
        self.sandbox.launch()
        if own_postgres:
            self.postgres.start()
        existing = self.postgres.databases()
        for service in SERVICES:
            if (name := self.database_name(service)) not in existing:
                template = self.migrated(service) if self.migrated else None
                self.postgres.create_database(name, template)
        self.sandbox.wait()
        self._mail_key = fetch(f"{self.sandbox_url}/sandbox/sendgrid-public-key").strip()
        self._processes = {service: self._made(service) for service in SERVICES}
        if not self.migrated:
            self.migrate()
        if own_rabbitmq:
            self.rabbitmq.wait()
        else:
            self.rabbitmq.add_vhost(self.vhost)
        for service in SERVICES:
            for process in self._processes[service]:
                process.launch()
        for service in SERVICES:
            self.wait_for(service, self._processes[service])

    def _made(self, service: str) -> list[Process]:
        ports = [self._ports[service], *(free_port() for _ in range(self._replicas[service] - 1))]
        return [self._one(service, port, str(number)) for number, port in enumerate(ports, 1)]

    def _one(self, service: str, port: int, mark: str) -> Process:
        name = f"{service}-{mark}"
        return Process(
            name,
            f"services.{service}",
            port=port,
            env=self.env(service, port),
            log=self.folder / f"{name}.log",
            code=self.code,
        )

    def add(self, service: str) -> Process:
        """One more process of a service, with the settings and the code of now; not started."""
        self._added += 1
        made = self._one(service, free_port(), f"added-{self._added}")
        self._processes[service].append(made)
        return made

    def remove(self, process: Process) -> None:
        """Forget a process of a service: whoever calls ends it."""
        for processes in self._processes.values():
            if process in processes:
                processes.remove(process)

    def command(self, service: str, *words: str) -> Child:
        """Run a command of a service, with the settings and the code of now; does not wait."""
        return self._one(service, self._ports[service], words[0]).command(*words)

    def migrate(self) -> None:
        """Take the databases to the schema of the code of now. Raises StartError."""
        running = {service: self.command(service, "migrate") for service in SERVICES}
        for service, child in running.items():
            if code := child.wait(60):
                raise StartError(f"migrating {service} ended with code {code}:\n{child.tail()}")

    def restart(self, service: str) -> None:
        """SIGTERM the service's processes and start them again on the same ports."""
        for process in self.processes(service):
            process.terminate()
        self.resume(service)

    def kill(self, service: str) -> None:
        """SIGKILL the service's processes."""
        for process in self.processes(service):
            process.kill()

    def resume(self, service: str) -> None:
        """Start those of the service's processes that do not run, and wait until they are ready."""
        ended = [process for process in self.processes(service) if not process.running]
        for process in ended:
            process.launch()
        self.wait_for(service, ended)

    def wait_for(self, service: str, processes: Sequence[Process]) -> None:
        """Until these serve pages, and all that run take calls. A service is ready for pages before its broker
        connection stands, and a call that is made before its queue was ever bound is lost. Raises StartError."""
        for process in processes:
            process.wait()
        if service == "sandbox":
            return
        running = sum(process.running for process in self._processes[service])
        for process in processes:
            process.wait_for(lambda: self._takers(service) >= running, within=30)

    def _takers(self, service: str) -> int:
        return self.rabbitmq.queues(self.vhost).get(f"rpc-{service}", (0, 0))[1]

    def stop(self) -> None:
        """End everything in order: the services together, then what they stand on. Data stays."""
        for process in self.everything():
            process.signal(signal.SIGTERM)
        for process in self.everything():
            process.ended()  # a second SIGTERM would end it in the middle
        own_rabbitmq, own_postgres = self._own_servers
        if own_rabbitmq:
            self.rabbitmq.stop()
        if own_postgres:
            self.postgres.stop()

    def close(self) -> None:
        """End everything without ceremony and remove its data; servers that were given stay."""
        for process in self.everything():
            process.kill()
        own_rabbitmq, own_postgres = self._own_servers
        if own_rabbitmq:
            self.rabbitmq.close()
        else:
            self.rabbitmq.delete_vhost(self.vhost)
        if own_postgres:
            self.postgres.close()
        else:
            for service in SERVICES:
                self.postgres.drop_database(self.database_name(service))

    def everything(self) -> list[Process]:
        """All processes but the servers."""
        return [*(process for made in self._processes.values() for process in made), self.sandbox]

    def logs(self) -> dict[str, str]:
        """What each process has written, by its name."""
        return {process.name: process.log_text() for process in self.everything()}


class Embedded(_Addresses):
    """`python -m local`, as `make run` starts it, on free ports with its data in `folder`."""

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        private_folder(folder)
        self.folder = folder
        self._ports = {part: free_port() for part in (*SERVICES, "api", "sandbox")}
        self.process = Process(
            "embedded",
            "local",
            port=self._ports["sandbox"],
            env={
                **{f"{part.upper()}_PORT": str(port) for part, port in self._ports.items()},
                "PORTICO_VAR": str(folder / "var"),
                **(settings or {}),
            },
            log=folder / "terminal.log",
        )

    def start(self, within: float = 60.0) -> float:
        """Start it and wait until it says that it is ready; returns the seconds that took. Raises StartError."""
        began = time.monotonic()
        seen = len(self.terminal())
        self.process.launch()
        self.process.wait_for(lambda: "Portico is ready" in self.terminal()[seen:], within)
        return time.monotonic() - began

    def stop(self) -> int:
        """Ctrl-C's effect by SIGTERM; returns the exit code."""
        return self.process.terminate()

    def terminal(self) -> str:
        """What it has printed for the person who started it, links to the demo pages among it."""
        return self.process.log_text()

    def logs(self) -> dict[str, str]:
        """The log of its services."""
        file = self.folder / "var" / "portico.log"
        return {"embedded": file.read_text(errors="replace") if file.exists() else ""}
