"""Clients written from docs/integration.md alone, with the rights of a host application, from a broker where nothing has run on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from examples import host_app
from examples.host_app import Portico
from local.servers import PostgreSQL, RabbitMQ
from tests.fixtures.least_privilege import LeastPrivilege
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.story import Story, eventually

HERE = Path(__file__).parent
NODE_MODULES = REPOSITORY / ".venv" / "host-clients" / "node_modules"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None or not (NODE_MODULES / "amqplib").is_dir(),
    reason="needs node, and amqplib in .venv/host-clients (scripts/install-amqplib, with npm)",
)
CLIENTS = [
    pytest.param([sys.executable, str(HERE / "host.py")], id="pika"),
    pytest.param([NODE or "node", str(HERE / "host.js")], id="amqplib", marks=needs_node),
]


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, postgres: PostgreSQL
) -> Iterator[LeastPrivilege]:
    """Portico with the manifests' rights: the broker is ready, and no service has started."""
    stack = LeastPrivilege(
        tmp_path_factory.mktemp("clients"), name="clients", rabbitmq=rabbitmq, postgres=postgres
    )
    stack.prepare()
    try:
        yield stack
    finally:
        stack.close()
        stack.clear()


@pytest.fixture
def listeners(house: LeastPrivilege, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What the clients say that listen for undeliverable emails, by the client's name."""
    outputs, processes = {}, []
    for client in CLIENTS:
        if any(mark.args[0] for mark in client.marks):
            continue
        outputs[client.id] = tmp_path / f"{client.id}.log"
        with outputs[client.id].open("w") as output:
            processes.append(
                start(house, [*client.values[0], "listen", f"host.{client.id}"], stdout=output)
            )
    outputs["kombu"] = tmp_path / "kombu.log"
    program = (
        "from examples.host_app import listen; import json, os;"
        "listen(os.environ['AMQP_URI'], 'host.kombu', ['notification.undeliverable'],"
        "lambda event: print(json.dumps(event), flush=True), source='notifier')"
    )
    with outputs["kombu"].open("w") as output:
        processes.append(start(house, [sys.executable, "-c", program], stdout=output))
    yield outputs
    for process in processes:
        process.kill()
        process.communicate()


def start(house: LeastPrivilege, command: Sequence[str], **how: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "AMQP_URI": house.host_uri, "NODE_PATH": str(NODE_MODULES)}
    return subprocess.Popen(
        command, env=env, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, **how
    )


def test_who_listens_on_a_fresh_broker_hears_of_what_comes(
    house: LeastPrivilege, listeners: dict[str, Path]
) -> None:
    """The exchange of a service that has never run isn't there: each client waits for it, binds, and gets the bounced email."""
    clients = {name: path for name, path in listeners.items() if name != "kombu"}
    eventually(
        lambda: all("waiting" in path.read_text() for path in clients.values()),
        what="the clients on the empty broker",
    )
    with Portico(house.host_uri) as early, pytest.raises(host_app.PorticoError) as caught:
        early.call("portal", "link", customer_id="nobody")
    assert caught.value.error == "Unavailable"
    house.start()
    eventually(
        lambda: all("listening" in path.read_text() for path in clients.values()),
        within=20,
        what="the clients on their queues",
    )
    eventually(
        lambda: "host.kombu.notifier-events" in house.rabbitmq.ctl(
            "list_consumers", "--vhost", house.vhost, "queue_name"
        ),
        within=20,
        what="the example on its queue",
    )  # fmt: skip
    story = Story(Portico(house.host_uri, timeout=10), house.sandbox_url, house.stripe_api_key)
    customer = story.customer("autopay", email="bounce-wire@example.com")
    invoice = story.charge_fails(customer)
    story.close()
    for name, path in listeners.items():
        eventually(lambda path=path: "{" in path.read_text(), within=30, what=f"{name}'s event")
        event = json.loads(path.read_text().splitlines()[-1])
        assert event["type"] == "notification.undeliverable"
        assert event["data"]["reason"] == "bounced"
        assert event["data"]["invoice_id"] == invoice["id"]
        assert event["data"]["stripe_customer_id"] == customer.stripe_id


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_makes_a_customer_and_learns_what_is_wrong(
    house: LeastPrivilege, client: list[str], request: pytest.FixtureRequest
) -> None:
    """Business, customer, link and lookup; a wrong id and a wrong word say what was expected; a call without the right is refused."""
    name = request.node.callspec.id
    words = ["call", f"ext-{name}", f"{name}@example.com", f"cus_Wire{name}"]
    for _ in range(2):  # each call is idempotent
        process = start(house, [*client, *words], stdout=subprocess.PIPE)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    made = json.loads(output)
    wrong_id, no_right, wrong_word = made["refused"]
    assert wrong_id.startswith("InvalidArgument: stripe_customer_id: expected Stripe's id")
    assert no_right == "Refused: 403"
    expected = "appointments[0].status: expected one of scheduled, cancelled, completed"
    assert wrong_word == f"InvalidArgument: {expected}"
    seen = made["seen"]
    assert (seen["customer_id"], seen["name"]) == (made["customer_id"], "Zoë")
    assert seen["platform_stripe_customer_id"] == f"cus_Wire{name}"
    assert (seen["business"]["color"], seen["business"]["locale"]) == (None, "de")
    assert requests.get(made["url"], timeout=10).status_code == 200
