"""A listener that goes: what it has taken is worked on before its connection ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet

from shared.nameko_ext.container import CorrelatedContainer
from shared.nameko_ext.listener import SafeQueueConsumer


class Calls:
    """A provider whose messages are each a worker's work."""

    queue = SimpleNamespace(name="rpc-house")

    def __init__(self, container: CorrelatedContainer, log: list[str]) -> None:
        self.container, self.log = container, log

    def handle_message(self, body: bytes, message: Any) -> None:
        """Run it in this green thread, and acknowledge it."""
        entrypoint = SimpleNamespace(method_name="work")
        self.container.run_here(entrypoint, (self.log,), {}, {})
        message.listener.ack_message(message)

    def give_up(self, message: Any, reason: str) -> None:
        """Not in these tests."""
        raise AssertionError(reason)


class House:
    """A service with work to do."""

    name = "house"

    def work(self, log: list[str]) -> None:
        """Take a moment."""
        eventlet.sleep(0.01)
        log.append("done")


class Broker:
    """A connection on which nothing comes any more."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def drain_events(self, timeout: float) -> None:
        """Wait for nothing."""
        eventlet.sleep(0.005)
        raise TimeoutError

    def release(self) -> None:
        """End politely: the broker has its say."""
        self.log.append("left")
        eventlet.sleep(0.005)


class Message:
    """A message that tells when it is settled."""

    body = b"{}"
    channel = SimpleNamespace(connection=object())

    def __init__(self, listener: SafeQueueConsumer, log: list[str]) -> None:
        self.listener, self.log = listener, log

    def ack(self) -> None:
        """Tell it."""
        self.log.append("settled")


def test_a_message_that_came_with_the_brokers_last_word_is_settled_before_it_leaves() -> None:
    """The broker may deliver until it confirms that nothing more is consumed, in the same piece of bytes. What it isn't told about
    when the connection ends, it gives to another process, which would do it once more."""
    log: list[str] = []
    container = CorrelatedContainer(House, {"max_workers": 1, "AMQP_URI": "amqp://nowhere"})
    listener: Any = SafeQueueConsumer().bind(container)
    for _ in range(2):  # one of them waits for its place
        listener._take(Calls(container, log), Message(listener, log))
    listener._take_leave(Broker(log))
    assert log == ["done", "settled", "done", "settled", "left"]
