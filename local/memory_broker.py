"""An in-memory broker for `make run`: one process, no server, no durability. For looking and developing.

kombu's own `memory` transport polls once a second, lacks the properties that nameko's RPC answers need and
drops what it can't route. This one wakes its consumers at once and refuses what is mandatory and unroutable.
Importing the module registers the scheme ``embedded://``.
"""

from __future__ import annotations

from queue import Empty
from time import monotonic
from typing import Any

import eventlet
from amqp.exceptions import ChannelError, NotFound
from kombu.transport import TRANSPORT_ALIASES, memory, virtual

from shared.messaging.topology import HOST_EXCHANGE

_sleepers: set[Any] = set()


def _wake_all() -> None:
    sleepers = list(_sleepers)
    _sleepers.clear()
    for sleeper in sleepers:
        sleeper.send()


class Message(virtual.Message):
    """A message with the properties that AMQP would carry."""

    refusal = ""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        super().__init__(payload, channel=channel, **kwargs)
        self.properties.setdefault("content_type", self.content_type)
        self.properties.setdefault("content_encoding", self.content_encoding)


class Channel(memory.Channel):
    """A channel that wakes sleeping consumers and honours `mandatory`."""

    Message = Message

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        _wake_all()

    def exchange_declare(self, exchange: Any = None, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("passive") and exchange not in self.state.exchanges:
            raise NotFound(f"no exchange {exchange}")
        return super().exchange_declare(exchange, *args, **kwargs)

    def queue_declare(self, queue: Any = None, passive: Any = False, **kwargs: Any) -> Any:
        if passive and not self._has_queue(queue):
            raise NotFound(f"no queue {queue}")
        return super().queue_declare(queue, passive, **kwargs)

    def basic_publish(
        self, message: Any, exchange: str, routing_key: str, mandatory: bool = False, **kwargs: Any
    ) -> Any:
        if mandatory and exchange and not self._routes(exchange, routing_key):
            raise ChannelError("(0, 0): (312) NO_ROUTE")
        for unknown in ("timeout", "confirm_timeout", "immediate"):
            kwargs.pop(unknown, None)
        return super().basic_publish(message, exchange, routing_key, **kwargs)

    def _routes(self, exchange: str, routing_key: str) -> bool:
        try:
            kind, table = self.typeof(exchange), self.get_table(exchange)
        except KeyError:
            return False
        return bool(kind.lookup(table, exchange, routing_key, None))


class Transport(memory.Transport):
    """Delivers when something arrives instead of polling."""

    Channel = Channel
    global_state = virtual.BrokerState(
        {HOST_EXCHANGE: {"type": "topic", "durable": True, "auto_delete": False, "table": []}}
    )
    # Empty, or kombu would retry and rewrap the refusal of an unroutable message.
    recoverable_connection_errors = ()
    recoverable_channel_errors = ()

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        assert self.cycle is not None
        end = None if timeout is None else monotonic() + timeout
        while True:
            try:
                self.cycle.get(self._deliver, timeout=timeout)
                return
            except Empty:
                left = None if end is None else end - monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError from None
                sleeper = eventlet.Event()
                _sleepers.add(sleeper)
                try:
                    with eventlet.Timeout(left, False):
                        sleeper.wait()
                finally:
                    _sleepers.discard(sleeper)


TRANSPORT_ALIASES["embedded"] = f"{__name__}:Transport"
