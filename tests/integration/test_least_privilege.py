"""The whole loop with the rights that the manifests give, on a real broker and database, and no others.

Rights in deploy/k8s are regular expressions and grants that no validator understands. Here RabbitMQ and PostgreSQL judge.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import psycopg2
import psycopg2.errors
import pytest
import yaml
from amqp.exceptions import AccessRefused
from kombu import Connection, Exchange, Producer, Queue

from examples import host_app
from examples.host_app import Portico, PorticoError
from local.processes import SERVICES, fetch
from local.servers import PostgreSQL, RabbitMQ, free_port
from portico.checks.broker import check_broker
from portico.cli.rpc import RpcCaller, Unavailable
from shared.messaging import rights, topology
from shared.messaging.amqp import BrokerRefused
from shared.nameko_ext.bounded_publisher import BoundedPublisher
from tests.fixtures import warm
from tests.fixtures.least_privilege import COMPONENTS, LeastPrivilege
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


def refused(uri: str, what: Callable[[Any], object]) -> bool:
    """Whether the broker refuses `what(channel)` to this user."""
    with Connection(uri) as connection:
        return refused_on(connection, what)


def refused_on(connection: Connection, what: Callable[[Any], object]) -> bool:
    """The same on a connection that stands: a refusal ends its channel alone."""
    channel = connection.channel()
    try:
        what(channel)
        channel.queue_declare(
            "notifier.billing-events", passive=True
        )  # a refused publish is told by the next answer
    except AccessRefused:
        return True
    channel.close()
    return False


def publish(exchange: str, key: str) -> Callable[[Any], object]:
    """Publish to a topic exchange."""
    return lambda channel: channel.basic_publish(amqp.Message("{}"), exchange, key)


def bind(queue: str, exchange: str, key: str) -> Callable[[Any], object]:
    """Make a queue of the user's own, and bind it."""

    def made(channel: Any) -> None:
        channel.queue_declare(queue, durable=True, exclusive=True)
        channel.queue_bind(queue, exchange, key)

    return made


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
        assert {queue, *(side.name for side in topology.auxiliary_queues(queue))} <= set(queues)
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
        done = warm.run("portico", *words, "--json", env={"AMQP_URI": house.user_uri("billing")})
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
    done = warm.run("portico", "doctor", "--service", service, "--json", env=house.env(service))
    assert done.stdout, done.stderr
    broker = {one["code"] for one in json.loads(done.stdout) if one["area"] == "broker"}
    # The dead letter that another test of this module left lies there for all to see.
    assert broker in ({"broker"}, {"dead-letters"}), done.stdout


def test_doctor_finds_rights_that_are_too_many_or_too_few(house: LeastPrivilege) -> None:
    """A user that may make what is another's, one that no routing key bounds, and one that may not answer."""
    uri, user = house.user_uri("spoilt"), {"user": f"{house.name}-spoilt", "vhost": house.vhost}
    given = rights.users()["portal"]

    def spoil(configure: str, topics: dict[str, rights.TopicRights]) -> dict[str, set[str]]:
        """What doctor finds with these rights; a topic's that are given stay until others are."""
        house.define_users(
            [{**user, "configure": configure, "write": given.write, "read": given.read}],
            [
                {**user, "exchange": exchange, "write": topic.write, "read": topic.read}
                for exchange, topic in topics.items()
            ],
        )
        found: dict[str, set[str]] = {}
        for one in check_broker(uri, ["portal"]):
            found.setdefault(one.code, set()).add(one.text.partition("of AMQP_URI ")[2])
        return {
            code: texts for code, texts in found.items() if code not in ("broker", "dead-letters")
        }

    try:
        without = {name: one for name, one in given.topics.items() if name != "nameko-rpc"}
        assert spoil(given.configure, without) == {
            "broker-unbounded": {
                "may publish any key on the exchange nameko-rpc",
                "may bind any key on the exchange nameko-rpc",
            }
        }
        assert spoil(given.configure, dict(given.topics)) == {}
        wide = f"{given.configure}|^nameko-rpc$"
        assert spoil(wide, dict(given.topics)) == {
            "broker-owner": {"may make and delete the exchange nameko-rpc, which is billing's"}
        }
        assert spoil(given.configure, {**given.topics, "nameko-rpc": rights.TopicRights()}) == {
            "broker-bounded": {
                "may not publish an address for answers on the exchange nameko-rpc",
                "may not bind an address for answers on the exchange nameko-rpc",
            }
        }
    finally:
        house.rabbitmq.ctl("delete_user", user["user"])


def test_a_service_can_neither_read_nor_say_what_is_anothers(house: LeastPrivilege) -> None:
    """The notifier takes no events of the portal's, and none but billing says that an invoice was paid."""
    uri = house.user_uri("notifier")
    steal = lambda channel: channel.basic_get("portal.billing-events")  # noqa: E731
    assert refused(uri, steal)
    assert refused(uri, publish("billing.events", "invoice.paid"))
    assert refused(uri, lambda channel: Queue("somewhere-else")(channel).declare())
    assert refused(house.user_uri("billing"), steal), (
        "a publisher fills its consumers' queues, and reads none"
    )
    assert refused(house.user_uri("host"), steal)


def test_each_user_is_bounded_on_each_topic_exchange(house: LeastPrivilege) -> None:
    """No user has a right on a topic exchange without routing keys that bound it: without them it might use every key."""

    def listed(what: str, *columns: str) -> list[dict[str, str]]:
        return json.loads(house.rabbitmq.ctl(what, "-p", house.vhost, *columns, "--formatter=json"))

    exchanges = {
        one["name"] for one in listed("list_exchanges", "name", "type") if one["type"] == "topic"
    }
    assert exchanges >= {*topology.OWNERS, topology.HOST_EXCHANGE}
    bounds = {(one["user"], one["exchange"]): one for one in listed("list_topic_permissions")}
    users = {
        one["user"]: one
        for one in listed("list_permissions")
        if one["user"].startswith(f"{house.name}-")
    }
    assert set(users) == {f"{house.name}-{user}" for user in rights.users()}
    for user, given in users.items():
        for exchange in exchanges:
            bound = bounds.get((user, exchange))
            if any(re.search(given[right], exchange) for right in ("write", "read")):
                assert bound is not None, f"{user} may use every key on {exchange}"
                owner = f"{house.name}-{topology.OWNERS.get(exchange)}"
                assert bound["write"] != ".*" or user == owner
            else:
                assert bound is None
    for exchange in exchanges:
        makers = {user for user, given in users.items() if re.search(given["configure"], exchange)}
        owner = topology.OWNERS.get(exchange)
        assert makers == ({f"{house.name}-{owner}"} if owner else set())


STRANGE = "portico.nobody"
"""A key that is no method, event or address."""


@pytest.mark.parametrize("exchange", [*topology.OWNERS, topology.HOST_EXCHANGE])
@pytest.mark.parametrize("user", [*SERVICES, "host"])
def test_who_may_say_and_hear_what(house: LeastPrivilege, user: str, exchange: str) -> None:
    """On each topic exchange each user publishes and binds the keys of docs/security.md, and is refused all others."""
    uri, own = house.user_uri(user), user
    topic = rights.users()[user].topics.get(exchange, rights.TopicRights())
    methods = sorted({method for calls in rights.CALLS.values() for method in calls})
    if exchange not in (topology.RPC_EXCHANGE, topology.HOST_EXCHANGE):
        methods = methods[:1]  # calls go by neither, and a method is a key like any other
    keys = {STRANGE, "#", "*", "*.*", "portal.*", "invoice.paid", str(uuid.uuid4()), *methods}
    queue = f"rpc.reply-{own}-{uuid.uuid4()}"
    with Connection(uri) as connection:
        for key in sorted(keys):
            rights_of_key = (topic.write, topic.read)
            may_publish, may_bind = (bool(re.search(right, key)) for right in rights_of_key)
            if not may_publish or key == STRANGE:  # what is let through would reach somebody
                assert refused_on(connection, publish(exchange, key)) != may_publish, key
            assert refused_on(connection, bind(queue, exchange, key)) != may_bind, key


@pytest.mark.parametrize("exchange", topology.OWNERS)
@pytest.mark.parametrize("user", [*SERVICES, "host"])
def test_only_its_owner_makes_or_deletes_an_exchange(
    house: LeastPrivilege, user: str, exchange: str
) -> None:
    """Nobody else may declare it, not even as it is, nor delete it."""
    uri = house.user_uri(user)

    def declare(channel: Any) -> None:
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)

    assert refused(uri, declare) == (user != topology.OWNERS[exchange])
    if user != topology.OWNERS[exchange]:
        assert refused(uri, lambda channel: channel.exchange_delete(exchange))
    assert not refused(uri, lambda c: c.exchange_declare(exchange, "topic", passive=True))


def test_a_host_is_told_at_once_what_it_may_not(house: LeastPrivilege) -> None:
    """An undocumented method is a named error, not a time-out, and the next call on the same connection works."""
    with Portico(house.user_uri("host"), timeout=10) as portico:
        made = host_app.make_data(portico)
        for service, method in (
            ("portal", "erase_customer"),
            ("portal", "export_customers"),
            ("billing", "create_portal_session"),
            ("notifier", "notifications"),
        ):
            began = time.monotonic()
            with pytest.raises(PorticoError) as caught:
                portico.call(service, method)
            assert caught.value.error == "NotPermitted"
            assert time.monotonic() - began < 5
        assert host_app.make_data(portico) == made


def test_a_service_is_told_at_once_what_it_may_not(house: LeastPrivilege) -> None:
    """The command line with another user, and a service's own publisher: a named error, and not a broker out of reach."""
    with (
        RpcCaller(house.user_uri("notifier")) as call,
        pytest.raises(Unavailable, match="does not let the user of AMQP_URI"),
    ):
        call.call("portal", "erase_customer", customer_id="nobody")
    with pytest.raises(BrokerRefused, match="erase_customer"):
        BoundedPublisher(house.user_uri("notifier")).publish(
            {"args": [], "kwargs": {}}, exchange="nameko-rpc", routing_key="portal.erase_customer"
        )


STOCK_NAMEKO = """
import sys, time
from amqp.exceptions import AccessRefused
from nameko.standalone.rpc import ClusterRpcProxy
config = {"AMQP_URI": sys.argv[1], "rpc_exchange": "amq.topic"}
with ClusterRpcProxy(config, timeout=10) as portico:
    business = dict(business_id="stock", name="Stock & Sons")
    portico.portal.upsert_business(**business)
    began = time.monotonic()
    try:
        portico.portal.erase_customer(customer_id="nobody")
    except AccessRefused:
        print("refused", time.monotonic() - began < 5)
    print(portico.portal.upsert_business(**business)["business_id"])
"""


def test_a_stock_nameko_client_works_with_a_hosts_rights(house: LeastPrivilege) -> None:
    """Out of the box, with one line of configuration and no right to make any exchange."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOCK_NAMEKO, house.user_uri("host")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["refused", "True", "stock"], done.stderr


def through_an_exchange(channel: Any, own: str, target: str, key: str) -> str:
    channel.exchange_declare(own, "fanout", auto_delete=False)
    channel.exchange_bind(destination=target, source=own, routing_key=key)
    return own


def as_an_alternate(channel: Any, own: str, target: str, key: str) -> str:
    channel.exchange_declare(
        own, "topic", auto_delete=False, arguments={"alternate-exchange": target}
    )
    return own


def as_a_dead_letter(channel: Any, own: str, target: str, key: str) -> str:
    channel.queue_declare(
        own,
        durable=True,
        auto_delete=False,
        arguments={
            "x-dead-letter-exchange": target,
            "x-dead-letter-routing-key": key,
            "x-message-ttl": 0,
        },
    )
    channel.exchange_declare(own, "fanout", auto_delete=False)
    channel.queue_bind(own, own)
    return own


@pytest.mark.parametrize("detour", [through_an_exchange, as_an_alternate, as_a_dead_letter])
@pytest.mark.parametrize(
    ("user", "target", "method"),
    [
        ("host", topology.HOST_EXCHANGE, "portal.find_customer"),
        ("notifier", topology.RPC_EXCHANGE, "portal.find_customer"),
    ],
)
def test_a_detour_calls_nothing(
    house: LeastPrivilege, user: str, target: str, method: str, detour: Callable[..., str]
) -> None:
    """The broker checks a key where it is published: a call that an exchange or a queue of the user's own hands on, or
    that dead-letters, arrives, and is refused by the service."""
    address, own = str(uuid.uuid4()), f"rpc.reply-{user}-{uuid.uuid4()}"

    def seen() -> int:
        return house.logs()["portal-1"].count("call refused, it came by a detour")

    before = seen()
    with Connection(house.user_uri(user)) as connection:
        channel = connection.channel()
        answers = f"rpc.reply-{user}-{address}"
        channel.queue_declare(answers, durable=True, exclusive=True)
        channel.queue_bind(answers, target, address)
        call = amqp.Message(
            json.dumps({"args": ["1001"], "kwargs": {}}),
            content_type="application/json",
            content_encoding="utf-8",
            reply_to=address,
            correlation_id="detour",
        )
        channel.basic_publish(call, detour(channel, own, target, method), method)
        try:
            eventually(lambda: seen() == before + 1, what="the refusal")
        finally:
            channel.exchange_delete(own)
            channel.queue_delete(own)
        assert channel.basic_get(answers) is None


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


def test_what_a_deleted_queue_held_comes_again(house: LeastPrivilege) -> None:
    """A failed charge whose event is lost with the notifier's queue becomes one email after one command, and no second."""
    story = Story(
        Portico(house.user_uri("host"), timeout=10), house.sandbox_url, house.stripe_api_key
    )
    customer = story.customer("autopay")
    (notifier,) = house.processes("notifier")
    notifier.terminate()
    story.charge_fails(customer)
    queue = topology.queue_name("notifier")
    eventually(lambda: house.rabbitmq.queues(house.vhost)[queue][0] >= 1, what="the event")
    with Connection(house.amqp_uri) as connection:
        connection.channel().queue_delete(queue)
    house.resume("notifier")
    assert story.mails(customer.email) == []

    def republish() -> int:
        words = ("events", "republish", "--queue", queue, "--since", "1h", "--json")
        done = warm.run("portico", *words, env={"AMQP_URI": house.user_uri("billing")})
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["events"])

    assert republish() >= 1
    story.mail_to(customer)
    assert republish() >= 1
    eventually(lambda: house.rabbitmq.queues(house.vhost)[queue][0] == 0, what="the second round")
    assert len(story.mails(customer.email)) == 1
    story.close()


def test_services_start_in_any_order(house: LeastPrivilege) -> None:
    """On an empty broker the portal and the notifier come first and wait, and are there as soon as billing is."""
    for service in SERVICES:
        house.kill(service)
    house.rabbitmq.delete_vhost(house.vhost)
    house.rabbitmq.add_vhost(house.vhost)
    house.add_users()
    early = [*house.processes("portal"), *house.processes("notifier")]
    before = {one.name: one.log_text().count("waiting for an exchange") for one in early}
    for one in early:
        one.start()  # ready: pages need no broker
    eventually(
        lambda: all(
            one.log_text().count("waiting for an exchange") > before[one.name] for one in early
        ),
        what="the wait",
    )
    house.resume("billing")
    for service in SERVICES:
        house.wait_for(service, house.processes(service))
    assert all(one.running for one in early)
    with Portico(house.user_uri("host"), timeout=10) as portico:
        assert host_app.make_data(portico)
    with Connection(house.user_uri("host")) as connection:
        for source in topology.sources():  # also one that has not published yet
            topology.exchange(source)(connection.channel()).declare()


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
        for endpoint in monitor["spec"].get("podMetricsEndpoints", ())
        if "params" in endpoint
    ]
    query = "&".join(f"family={family}" for family in families)
    try:
        server.start()
        with Connection(server.uri) as connection:
            channel = connection.channel()
            for exchange in topology.exchanges_of("billing"):
                exchange(channel).declare()
            topology.event_queue("notifier")(channel).declare()
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
