"""The whole loop with the rights that the manifests give, on a real broker and database, and no others.

Rights in deploy/k8s are regular expressions and grants that no validator understands. Here RabbitMQ and PostgreSQL judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import yaml
from amqp.exceptions import AccessRefused
from kombu import Connection, Exchange, Producer, Queue

from examples.host_app import Portico
from sandbox.processes import SERVICES, fetch
from sandbox.servers import PostgreSQL, RabbitMQ, free_port
from shared.messaging import topology
from tests.fixtures.least_privilege import COMPONENTS, LeastPrivilege
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.story import Story, eventually, link_in


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


def test_the_command_line_works_in_billings_pod(house: LeastPrivilege) -> None:
    """With billing's user: who did what, emails, and the dead letters of every service, listed, replayed and discarded."""
    with Connection(house.user_uri("billing")) as connection:
        connection.Producer().publish(
            {"id": "evt_pod/no.such"}, exchange="", routing_key="notifier.billing-events"
        )

    def portico(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "portico", *words, "--json"],
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "AMQP_URI": house.user_uri("billing")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "ACCESS_REFUSED" not in done.stderr, done.stderr
        return json.loads(done.stdout) if done.stdout else done.returncode

    def letters(replays: int) -> bool:
        listed = portico("deadletters", "list")
        return [one["replays"] for one in listed if one["key"] == "evt_pod/no.such"] == [replays]

    (invoice,) = {row["invoice_id"] for row in portico("notifications", "list")}
    assert {"received", "sent"} <= {step["step"] for step in portico("explain", invoice)["steps"]}
    eventually(lambda: letters(0), within=30, what="the dead letter")
    portico("deadletters", "replay", "evt_pod/no.such")
    eventually(lambda: letters(1), within=30, what="the replayed letter")
    assert portico("deadletters", "discard", "evt_pod/no.such", "--yes")


@pytest.mark.parametrize("service", SERVICES)
def test_doctor_sees_the_broker_from_each_pod(house: LeastPrivilege, service: str) -> None:
    """Each service's own settings are in its own pods; its user may look at what it uses there."""
    done = subprocess.run(
        [sys.executable, "-m", "portico", "doctor", "--service", service, "--json"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **house.env(service)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    broker = {one["code"] for one in json.loads(done.stdout) if one["area"] == "broker"}
    # The dead letter that another test of this module left lies there for all to see.
    assert broker in ({"broker"}, {"dead-letters"}), done.stdout


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
