"""The private RabbitMQ and PostgreSQL that tests and `make stack` stand on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import amqp
import kombu
import psycopg2
import pytest

from local.servers import Child, PostgreSQL, RabbitMQ, StartError, free_port, is_free, own_folder
from shared.version import VERSION
from tests.fixtures import warm
from tests.fixtures.servers import REPOSITORY

QUORUM = {"x-queue-type": "quorum"}


def publish(uri: str, queue: str) -> None:
    """Put one durable message into a quorum queue, confirmed by the broker."""
    with kombu.Connection(uri, transport_options={"confirm_publish": True}) as connection:
        bound = kombu.Queue(queue, queue_arguments=QUORUM)(connection)
        bound.declare()
        connection.Producer().publish({"n": 1}, routing_key=queue, delivery_mode=2)


def eventually(check: Callable[[], bool], within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_virtual_host_is_its_tests_own(rabbitmq: RabbitMQ, vhost: str, amqp_uri: str) -> None:
    """A queue declared in one virtual host is seen there and in no other."""
    publish(amqp_uri, "only.here")
    assert rabbitmq.queues(vhost) == {"only.here": (1, 0)}
    assert rabbitmq.queues() == {}


def test_what_a_queue_holds_is_told_as_of_now(
    rabbitmq: RabbitMQ, vhost: str, amqp_uri: str
) -> None:
    """Messages count once they are confirmed, those that a consumer has too, and consumers once they are told so; of either kind of queue."""
    publish(amqp_uri, "held")
    publish(amqp_uri, "held")
    assert rabbitmq.queues(vhost) == {"held": (2, 0)}
    with kombu.Connection(amqp_uri) as connection:
        channel = connection.channel()
        channel.queue_declare("classic", exclusive=True)
        for queue in ("held", "classic"):
            channel.basic_consume(queue, consumer_tag=queue, callback=lambda _: None)
        assert rabbitmq.queues(vhost) == {"held": (2, 1), "classic": (0, 1)}


def test_a_killed_rabbitmq_keeps_confirmed_messages(servers_folder: Path) -> None:
    """After a crash the node comes back on its port with what it had confirmed."""
    server = RabbitMQ(servers_folder / "killed-rabbitmq")
    server.start()
    try:
        publish(server.uri, "kept")
        server.kill()
        assert is_free(server.port)
        server.start()
        with kombu.Connection(server.uri) as connection:
            message = kombu.Queue("kept", queue_arguments=QUORUM)(connection).get(no_ack=True)
        assert message is not None
        assert message.payload == {"n": 1}
    finally:
        server.close()
    assert not server.folder.exists()


def test_publishers_are_told_of_block_and_unblock(
    rabbitmq: RabbitMQ, vhost: str, amqp_uri: str
) -> None:
    """A connection that publishes under the memory alarm hears that it is blocked, and later that it no longer is."""
    heard: list[str] = []
    at = kombu.Connection(amqp_uri)
    connection = amqp.Connection(
        host=f"127.0.0.1:{rabbitmq.port}",
        userid=at.userid,
        password=at.password,
        virtual_host=vhost,
        on_blocked=lambda reason: heard.append("blocked"),
        on_unblocked=lambda: heard.append("unblocked"),
    )
    connection.connect()
    try:
        channel = connection.channel()
        rabbitmq.block()
        channel.basic_publish(amqp.Message("held"), routing_key="nowhere")
        connection.drain_events(timeout=10)
        assert heard == ["blocked"]
        rabbitmq.unblock()
        connection.drain_events(timeout=10)
        assert heard == ["blocked", "unblocked"]
    finally:
        rabbitmq.unblock()
        connection.collect()


def test_databases_come_from_templates_and_go_with_their_connections(
    postgres: PostgreSQL,
) -> None:
    """A database is made as a copy of another, and dropped although somebody is connected to it."""
    postgres.create_database("mould")
    with postgres.connection("mould") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    postgres.create_database("cast", template="mould")
    with postgres.connection("cast") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM kept")
        assert cursor.fetchone() == (7,)
        postgres.drop_database("cast")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    postgres.drop_database("mould")
    assert not {"mould", "cast"} & set(postgres.databases())


def test_a_killed_postgresql_recovers_on_its_port(servers_folder: Path) -> None:
    """After a crash the cluster comes back on its port with what was committed."""
    server = PostgreSQL(servers_folder / "killed-postgresql", durable=True)
    server.start()
    try:
        server.create_database("kept")
        port = server.port
        server.kill()
        assert is_free(port)
        server.start()
        assert server.port == port
        assert server.databases() == ["kept"]
    finally:
        server.close()


def test_a_program_that_fails_to_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """The error of a program that ends while starting carries its exit code and what it last said."""
    child = Child(
        [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"],
        env={},
        log=tmp_path / "log",
    )
    with pytest.raises(StartError, match=r"code 3 while starting:\nno such luck"):
        child.wait_until(lambda: False, name="it", within=10)


def test_a_program_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    """One that does not become ready in time is killed and reported."""
    child = Child(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={}, log=tmp_path / "log"
    )
    with pytest.raises(StartError, match="was not ready after"):
        child.wait_until(lambda: False, name="it", within=0.2)
    assert not child.running


OWNS_SERVERS = """
import sys, time
from pathlib import Path
from local.servers import PostgreSQL, RabbitMQ, Child, own_folder
folder = own_folder("orphan")
folder.chmod(0o711)
postgres = PostgreSQL(folder / "postgresql")
postgres.start()
rabbitmq = RabbitMQ(folder / "rabbitmq")
rabbitmq.start()
print(folder, postgres.port, rabbitmq.port, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of a killed parent")
def test_a_program_that_begins_loaded_is_a_process_of_its_own() -> None:
    """Its words, environment, output and exit code are its own, and so are its session and the signal that ends it."""
    told = warm.run("portico", "--version", env={})
    assert (told.returncode, told.stdout, told.stderr) == (0, f"portico {VERSION}\n", "")
    assert warm.run("portico", "no-such-command", env={}).returncode == 2
    told = warm.run("services.portal", env={"AMQP_URI": "amqp://127.0.0.1"})
    assert told.returncode == 2
    assert "PUBLIC_URL is not set" in told.stderr
    assert "AMQP_URI is not set" not in told.stderr
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryFile() as out:
        uri = f"amqp://127.0.0.1:{silent.getsockname()[1]}"
        one, other = (
            warm.begin("portico", "events", "list", env={"AMQP_URI": uri}, out=out, errors=out)
            for _ in range(2)
        )
        connections = [silent.accept()[0] for _ in range(2)]
        assert one.pid != other.pid
        assert os.getsid(one.pid) == one.pid
        one.send_signal(signal.SIGKILL)
        assert (one.wait(10), one.poll(), other.poll()) == (-signal.SIGKILL, -signal.SIGKILL, None)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.1)
        other.send_signal(signal.SIGINT)
        assert other.wait(10) == 128 + signal.SIGINT
        for connection in connections:
            connection.close()


def test_servers_end_with_a_killed_run_and_the_next_one_clears_up(servers_folder: Path) -> None:
    """SIGKILL on the process that owns them ends both servers; its folder is removed by the next run."""
    # Where no other run of tests looks for what was left.
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNS_SERVERS],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(servers_folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    folder, *ports = owner.stdout.readline().split()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: all(is_free(int(port)) for port in ports))
    assert Path(folder).exists()
    own_folder("next", servers_folder).rmdir()
    assert not Path(folder).exists()


def test_free_ports_can_be_listened_on() -> None:
    """A port said to be free is one, and lies below those the kernel hands to outgoing connections."""
    port = free_port()
    assert is_free(port)
    assert port < 32768


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes share the ports by chance")
def test_no_port_is_given_twice() -> None:
    """Neither by one process, which starts several servers before the first of them listens, nor by two at once."""
    code = "from local.servers import free_port; print(*(free_port() for _ in range(150))); input()"
    two = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    given = [port for one in two if one.stdout for port in one.stdout.readline().split()]
    for one in two:
        one.communicate("\n", timeout=30)
    given += [str(free_port()) for _ in range(150)]
    assert len(given) == len(set(given)) == 450
