"""The whole loop with the rights that the manifests give, on a real broker and database, and no others.

Rights in deploy/k8s are regular expressions and grants that no validator understands. Here RabbitMQ and PostgreSQL judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import yaml
from amqp.exceptions import AccessRefused
from kombu import Connection, Exchange, Producer, Queue

from examples.host_app import Portico
from sandbox.processes import SERVICES, Stack, fetch
from sandbox.servers import PostgreSQL, RabbitMQ, free_port
from shared.messaging import topology
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.story import Story, eventually, link_in

COMPONENTS = REPOSITORY / "deploy" / "k8s" / "components"
GRANTS = REPOSITORY / "deploy" / "k8s" / "base" / "grants.py"
PASSWORD = "least-privilege"


def permissions() -> dict[str, dict[str, str]]:
    """User and rights of each `Permission` in the manifests."""
    files = [COMPONENTS / "rabbitmq" / "users.yaml", COMPONENTS / "keda" / "user.yaml"]
    return {
        document["spec"]["userReference"]["name"]: document["spec"]["permissions"]
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == "Permission"
    }


class LeastPrivilege(Stack):
    """The stack in which each service has a user of its own at the broker, and two roles at the database."""

    def user_uri(self, user: str) -> str:
        return f"amqp://{self.name}-{user}:{PASSWORD}@127.0.0.1:{self.rabbitmq.port}/{self.vhost}"

    def role(self, service: str) -> str:
        return f"{self.name}_{service}"

    def role_url(self, service: str, role: str) -> str:
        port = self.postgres.port
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{port}/{self.database_name(service)}"

    def env(self, service: str, port: int | None = None) -> dict[str, str]:
        return {
            **super().env(service, port),
            "AMQP_URI": self.user_uri(service),
            f"{service.upper()}_DATABASE_URL": self.role_url(service, self.role(service)),
        }

    def prepare(self) -> None:
        """What the operators do: users with their rights, databases with their roles."""
        self.rabbitmq.add_vhost(self.vhost)
        rights = {f"{self.name}-{user}": given for user, given in permissions().items()}
        definitions = self.folder / "definitions.json"
        definitions.write_text(
            json.dumps(
                {
                    "users": [{"name": name, "password": PASSWORD, "tags": ""} for name in rights],
                    "permissions": [
                        {"user": name, "vhost": self.vhost, **given}
                        for name, given in rights.items()
                    ],
                }
            )
        )
        self.rabbitmq.ctl("import_definitions", str(definitions))
        for service in SERVICES:
            for role in (self.role(service), f"{self.role(service)}_migrations"):
                self.postgres.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'")
            self.postgres.create_database(self.database_name(service))
            self.postgres.execute(
                f'ALTER DATABASE "{self.database_name(service)}" OWNER TO "{self.role(service)}_migrations"'
            )

    def _migrate(self) -> None:
        """As the Jobs do: the grants, then the migrations, with the owner's role and no other setting."""
        with ThreadPoolExecutor(len(SERVICES)) as jobs:
            for output in jobs.map(self._job, SERVICES):
                assert "may read and write rows" in output

    def _job(self, service: str) -> str:
        file = self.folder / f"{service}-migrations"
        file.write_text(self.role_url(service, f"{self.role(service)}_migrations") + "\n")
        env = {
            "PATH": os.environ["PATH"],
            "APP_ROLE": self.role(service),
            f"{service.upper()}_DATABASE_URL_FILE": str(file),
        }
        said = ""
        for words in ([str(GRANTS)], ["-m", f"services.{service}", "migrate"]):
            done = subprocess.run(
                [sys.executable, *words],
                cwd=REPOSITORY,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said += done.stdout
        return said

    def clear(self) -> None:
        for service in SERVICES:
            for role in (self.role(service), f"{self.role(service)}_migrations"):
                self.postgres.execute(f'DROP ROLE "{role}"')


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, postgres: PostgreSQL
) -> Iterator[LeastPrivilege]:
    """Portico with the manifests' rights."""
    stack = LeastPrivilege(
        tmp_path_factory.mktemp("least"), name="least", rabbitmq=rabbitmq, postgres=postgres
    )
    stack.prepare()
    try:
        stack.start()
        yield stack
    finally:
        stack.close()
        stack.clear()


def refused(uri: str, what: Any) -> bool:
    """Whether the broker refuses `what(channel)` to this user."""
    with Connection(uri) as connection:
        channel = connection.channel()
        try:
            what(channel)
            channel.queue_declare(
                "notifier.billing-events", passive=True
            )  # a refused publish is told by the next answer
        except AccessRefused:
            return True
    return False


def test_the_loop_works_with_these_rights(house: LeastPrivilege) -> None:
    """A failed charge becomes an email and a paid invoice, a refused event a dead letter; nobody is denied anything."""
    story = Story(
        Portico(house.user_uri("host"), timeout=10), house.sandbox_url, house.stripe_api_key
    )
    customer = story.customer("autopay")
    story.charge_fails(customer)
    assert link_in(story.mail_to(customer)).startswith(customer.link)
    story.close()
    with Connection(house.user_uri("billing")) as connection:
        broken = Producer(
            connection.channel(), Exchange("billing.events", type="topic", durable=True)
        )
        broken.publish({"not": "an event"}, routing_key="invoice.payment_failed", serializer="json")
    eventually(
        lambda: house.rabbitmq.queues(house.vhost)["notifier.billing-events.dead"][0] == 1,
        what="the dead letter",
    )
    queues = house.rabbitmq.queues(house.vhost)
    for service in SERVICES:
        queue = topology.queue_name(service)
        assert {queue, *(side.name for side in topology.side_queues(queue))} <= set(queues)
    for name, text in house.logs().items():
        assert "ACCESS_REFUSED" not in text, name
        assert "permission denied" not in text, name


def test_a_service_can_neither_read_nor_say_what_is_anothers(house: LeastPrivilege) -> None:
    """The notifier takes no events of the portal's, and none but billing says that an invoice was paid."""
    uri = house.user_uri("notifier")

    def steal(channel: Any) -> None:
        channel.basic_get("portal.billing-events")

    def lie(channel: Any) -> None:
        Producer(channel, Exchange("billing.events", type="topic"), auto_declare=False).publish(
            {}, routing_key="invoice.paid"
        )

    def make(channel: Any) -> None:
        Queue("somewhere-else")(channel).declare()

    assert refused(uri, steal)
    assert refused(uri, lie)
    assert refused(uri, make)
    assert refused(house.user_uri("host"), steal)


def test_keda_sees_a_length_and_no_more(house: LeastPrivilege) -> None:
    """The scaler's passive declare is allowed; taking or sending a message is not."""
    uri = house.user_uri("keda")
    with Connection(uri) as connection:
        answer = connection.channel().queue_declare("notifier.billing-events", passive=True)
        assert answer.message_count >= 0
    assert refused(uri, lambda channel: Queue("notifier.billing-events-2")(channel).declare())
    assert refused(uri, lambda channel: channel.queue_purge("portal.billing-events"))


def test_a_service_can_not_change_its_schema_or_see_anothers_data(house: LeastPrivilege) -> None:
    """Rows, yes; tables, other databases: no. Only the migrations' role owns them."""
    role = house.role("portal")
    connection = psycopg2.connect(house.role_url("portal", role))
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in ("DROP TABLE alembic_version", "CREATE TABLE public.mine (id int)"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
    connection.close()
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(house.role_url("billing", role))


@pytest.fixture
def metrics_of_a_queue(tmp_path: Path) -> Iterator[str]:
    """What a RabbitMQ with its Prometheus plugin tells of a queue with one message, for the monitor's families."""
    server = RabbitMQ(tmp_path / "rabbitmq")
    port = free_port()
    (server.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")
    with (server.folder / "rabbitmq.conf").open("a") as config:
        config.write(f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n")
    monitors = yaml.safe_load_all((COMPONENTS / "monitoring" / "pod-monitors.yaml").read_text())
    (families,) = [
        endpoint["params"]["family"]
        for monitor in monitors
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        if "params" in endpoint
    ]
    query = "&".join(f"family={family}" for family in families)
    try:
        server.start()
        with Connection(server.uri) as connection:
            topology.event_queue("notifier")(connection.channel()).declare()
        url = f"http://127.0.0.1:{port}/metrics/detailed?{query}"
        yield eventually(
            lambda: text if "notifier.billing-events" in (text := fetch(url)) else "",
            within=30,
            what="the queue in the metrics",
        )
    finally:
        server.close()


def test_the_alerts_metrics_exist_on_a_real_broker(metrics_of_a_queue: str) -> None:
    """What the rules ask of RabbitMQ is there under these names and labels."""
    for metric in ("rabbitmq_detailed_queue_consumers", "rabbitmq_detailed_queue_messages"):
        found = f'{metric}{{vhost="/",queue="notifier.billing-events"}} 0'
        assert found in metrics_of_a_queue, metrics_of_a_queue
