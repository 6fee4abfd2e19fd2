"""A service that listens, on a real broker that does to it what brokers do: it is never deaf without knowing it, and heals."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import amqp
import kombu
import pytest

from local.servers import RabbitMQ
from tests.fixtures.listener import CALLS, EVENTS, Listener, eventually

pytestmark = pytest.mark.punctual

HEALS_WITHIN = 5.0
SLACK = 2.0
"""What a busy machine may add."""


def test_an_ack_that_fails_on_a_dead_connection_deafens_nobody(listener: Listener) -> None:
    """The process is stopped with events in hand, its connection is cut, and the first thing that it does when it goes on is to
    settle them, before it reads. It consumes again, on another connection, and handles what comes."""
    for _ in range(3):
        (listener.folder / "slow").touch()
        sent = {listener.send() for _ in range(8)}
        eventually(lambda: sent <= set(listener.seen("begun")), 5)  # noqa: B023
        listener.process.signal(signal.SIGSTOP)
        listener.network.cut()
        (listener.folder / "slow").unlink()
        time.sleep(0.5)
        listener.process.signal(signal.SIGCONT)
        eventually(lambda: sent <= set(listener.seen()), 10)  # noqa: B023
        eventually(listener.listens, HEALS_WITHIN + SLACK)
        assert listener.handles()
        assert listener.answers()
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[EVENTS][0] == 0, 5)


@pytest.mark.parametrize("queue", [EVENTS, CALLS, "rpc.reply"])
def test_a_deleted_queue_is_there_again_in_seconds(listener: Listener, queue: str) -> None:
    """Of events, calls or replies: declared, bound and consumed again, and everything that came in by it comes in."""
    names = listener.rabbitmq.queues(listener.vhost)
    (name,) = (each for each in names if each == queue or each.startswith(f"{queue}-"))
    listener.connection.channel().queue_delete(name)
    took = eventually(listener.listens, HEALS_WITHIN + SLACK)
    print(f"{took:.1f} s")
    assert listener.answers()
    assert listener.handles("billing.events")


@pytest.mark.parametrize("exchange", ["nameko-rpc", "billing.events", "dead"])
def test_a_deleted_exchange_is_there_again_in_seconds(listener: Listener, exchange: str) -> None:
    """With every binding, so that calls, replies, events and dead letters find their way; the broker tells nobody of it."""
    listener.connection.channel().exchange_delete(exchange)
    took = eventually(
        lambda: listener.answers() and listener.handles("billing.events"), HEALS_WITHIN + SLACK
    )
    print(f"{took:.1f} s")
    channel = listener.connection.channel()
    eventually(lambda: listener.exists(exchange), HEALS_WITHIN)

    def buries() -> bool:
        # What comes between the exchange and its binding is gone.
        channel.basic_publish(amqp.Message("{}"), "dead", EVENTS)
        return listener.dead() != []

    eventually(buries, HEALS_WITHIN)


@pytest.mark.parametrize("queue", [f"{EVENTS}.dead", f"{EVENTS}.retry.5s"])
def test_a_deleted_side_queue_is_there_again_in_seconds(listener: Listener, queue: str) -> None:
    """What has no consumer of its own, and whose loss nobody would notice before a handler fails."""
    listener.connection.channel().queue_delete(queue)
    eventually(lambda: queue in listener.rabbitmq.queues(listener.vhost), HEALS_WITHIN)


def test_a_channel_that_the_broker_closes_is_another_one_soon(listener: Listener) -> None:
    """An error of the channel's takes its consumers away, though its connection stands."""
    with kombu.Connection(listener.rabbitmq.uri_of(listener.vhost)) as connection:
        kombu.Producer(connection.channel()).publish(
            {"args": [], "kwargs": {}}, exchange="nameko-rpc", routing_key="billing.misuse"
        )
    eventually(lambda: "delivery tag" in listener.process.log_text(), 5)
    eventually(listener.listens, HEALS_WITHIN + SLACK)
    assert listener.handles()
    assert listener.answers()


def test_closed_connections_are_opened_again(listener: Listener) -> None:
    """Whatever closes them all at the broker, between two messages or in the middle of many."""
    (listener.folder / "slow").touch()
    sent = {listener.send() for _ in range(40)}
    eventually(lambda: len(listener.seen("begun")) >= 15, 5)
    listener.rabbitmq.close_connections()
    eventually(listener.listens, HEALS_WITHIN + SLACK)
    (listener.folder / "slow").unlink()
    eventually(lambda: set(listener.seen()) == sent, 10)
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[EVENTS][0] == 0, 5)


def test_a_message_in_hand_across_a_reconnection_is_worked_on_once(listener: Listener) -> None:
    """Its second copy joins the work on the first, which settles it: no handler runs twice, and nothing stays in the queue."""
    (listener.folder / "slow").touch()
    sent = [listener.send() for _ in range(8)]
    eventually(lambda: len(listener.seen("begun")) == 8, 5)
    listener.network.cut()
    eventually(listener.listens, HEALS_WITHIN + SLACK)
    time.sleep(1)
    (listener.folder / "slow").unlink()
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[EVENTS][0] == 0, 5)
    assert sorted(listener.seen("begun")) == sorted(listener.seen()) == sorted(sent)


def test_a_broker_that_says_nothing_is_told_within_five_seconds(listener: Listener) -> None:
    """A frozen broker keeps its connections open: `/readyz` is degraded, a 200 all the same, and the listener heals with it."""
    listener.rabbitmq.freeze()
    try:
        took = eventually(lambda: listener.degraded() != "", 5 + SLACK)
        print(f"{took:.1f} s: {listener.degraded()}")
        eventually(lambda: "not listening" in listener.process.log_text(), 30)
    finally:
        listener.rabbitmq.thaw()
    eventually(listener.listens, 10)
    assert listener.process.running
    assert listener.handles()
    assert listener.answers()


def test_the_end_of_a_process_leaves_no_work_to_be_done_again(listener: Listener) -> None:
    """At SIGTERM the listener takes no more, and stays until what is under way is settled."""
    (listener.folder / "slow").touch()
    sent = [listener.send() for _ in range(4)]
    eventually(lambda: len(listener.seen("begun")) == 4, 5)
    listener.process.signal(signal.SIGTERM)
    time.sleep(1)
    (listener.folder / "slow").unlink()
    eventually(lambda: not listener.process.running, 10)
    assert sorted(listener.seen()) == sorted(sent)
    eventually(lambda: listener.rabbitmq.queues(listener.vhost)[EVENTS][0] == 0, 5)


def test_a_listener_that_cannot_be_helped_from_inside_ends_its_process(
    rabbitmq: RabbitMQ, vhost: str, tmp_path: Path
) -> None:
    """Its queue was made anew with other arguments, which it can't consume: as the broker is there, the process ends with an
    error, for whoever supervises it. While the broker is away it does not."""
    listener = Listener(rabbitmq, vhost, tmp_path, HOPELESS_SECONDS="8")
    try:
        listener.network.refuse()
        time.sleep(12)
        assert listener.process.running
        listener.network.open()
        eventually(listener.listens, 10)
        channel = listener.connection.channel()
        channel.queue_delete(CALLS)
        channel.queue_declare(CALLS, durable=True, auto_delete=False, arguments={"x-max-length": 1})
        eventually(lambda: not listener.process.running, 30)
        assert listener.process.returncode == 1
        assert (
            "can't listen to a broker that is there: PRECONDITION_FAILED"
            in listener.process.log_text()
        )
    finally:
        listener.close()
