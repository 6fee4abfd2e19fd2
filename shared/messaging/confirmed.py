"""Publishing in batches: one write, and one wait for all of the broker's confirms.

One confirm at a time costs a round trip a message, and on a quorum queue a flush to disk. Here the whole batch is written, then the
confirms are collected; each message's own fate is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import amqp
from amqp import spec
from kombu import Producer

from shared.messaging.amqp import Unroutable, is_embedded, make_connection


class Refused(Exception):
    """The broker took the message and then refused it (nack): a full or failing queue."""


Outcome = Exception | None
"""What became of a message: None when the broker confirmed it."""

_PUBLISH: Final = "Bssbb"
"""The arguments of `basic.publish`, as py-amqp writes them: nothing, exchange, routing key, mandatory, immediate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to be published; `properties` as py-amqp calls them. One that is mandatory has a `message_id` of its own."""

    body: bytes
    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    mandatory: bool = False


Binding = tuple[str, str, str]
"""A queue, the exchange to which it is bound, and the routing key of what it is to get."""


class Publications(Protocol):
    """A connection that publishes."""

    def publish(
        self,
        batch: Mapping[int, Publication],
        outcomes: list[Outcome],
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Publish all, once the broker has made the bindings, whose answers nobody waits for; what becomes of each is written to its place in
        `outcomes` as soon as it is known.

        Raises one of BROKER_ERRORS: then the connection is to be dropped, and what has no outcome of its own yet may have arrived.
        """
        ...

    def drop(self) -> None:
        """Throw the connection away. Raises one of BROKER_ERRORS."""
        ...


class ConfirmedChannel:
    """An AMQP connection and its one channel, in confirm mode."""

    def __init__(self, uri: str) -> None:
        """Connected when it returns. Raises one of BROKER_ERRORS."""
        self.connection = make_connection(uri)
        try:
            self.connection.connect()
            self.channel: Any = self.connection.channel()
            self.channel.confirm_select()
            self._wire = self.channel.connection
        except BaseException:
            self.connection.collect()
            raise
        self.channel.events["basic_ack"].add(self._on_ack)
        self.channel.events["basic_nack"].add(self._on_nack)
        self.channel.events["basic_return"].add(self._on_return)
        self._last_tag = 0
        self._waiting: dict[int, int] = {}
        self._index_by_id: dict[str, int] = {}
        self._outcomes: list[Outcome] = []

    def publish(
        self,
        batch: Mapping[int, Publication],
        outcomes: list[Outcome],
        bindings: Iterable[Binding] = (),
    ) -> None:
        """As `Publications`."""
        with suppress(TimeoutError):  # whether the broker has said meanwhile that it takes nothing
            self._wire.drain_events(timeout=0)
        self._outcomes = outcomes
        self._waiting.clear()
        self._index_by_id = {
            one.properties["message_id"]: index for index, one in batch.items() if one.mandatory
        }
        with self._wire.one_write():
            for queue, exchange, routing_key in bindings:
                self.channel.queue_bind(queue, exchange, routing_key, nowait=True)
            for index, one in batch.items():
                self._last_tag += 1
                self._waiting[self._last_tag] = index
                address = (0, one.exchange, one.routing_key, one.mandatory, False)
                message = amqp.Message(one.body, **one.properties)
                self.channel.send_method(spec.Basic.Publish, _PUBLISH, address, message)
        while self._waiting:
            self._wire.drain_events()

    def _settle(self, tag: int, multiple: bool, nack: bool) -> None:
        tags = [known for known in self._waiting if known <= tag] if multiple else [tag]
        for settled in tags:
            index = self._waiting.pop(settled, None)
            if index is None:
                continue
            if nack:
                self._outcomes[index] = Refused("the broker refused the message")
            elif not isinstance(self._outcomes[index], Unroutable):
                self._outcomes[index] = None

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._settle(delivery_tag, multiple, nack=False)

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._settle(delivery_tag, multiple, nack=True)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        # A returned message is acked afterwards; the return must win.
        index = self._index_by_id.get(message.properties.get("message_id", ""))
        if index is not None:
            self._outcomes[index] = Unroutable(f"no queue is bound for {routing_key}")

    def drop(self) -> None:
        """As `Publications`."""
        self.connection.collect()


class EmbeddedChannel:
    """The in-memory broker of `make run`: it takes a message at once or says why not."""

    def __init__(self, uri: str) -> None:
        self.connection = make_connection(uri)
        self.channel: Any = self.connection.channel()
        self._producer = Producer(self.channel)

    def publish(
        self,
        batch: Mapping[int, Publication],
        outcomes: list[Outcome],
        bindings: Iterable[Binding] = (),
    ) -> None:
        """As `Publications`, without the bindings: `EventSession` makes them each time it looks."""
        for index, one in batch.items():
            properties = dict(one.properties)
            try:
                self._producer.publish(
                    one.body,
                    exchange=one.exchange,
                    routing_key=one.routing_key,
                    mandatory=one.mandatory,
                    headers=properties.pop("application_headers", None),
                    **properties,
                )
            except amqp.exceptions.ChannelError:
                outcomes[index] = Unroutable(f"no queue is bound for {one.routing_key}")
            else:
                outcomes[index] = None

    def drop(self) -> None:
        """As `Publications`."""
        self.connection.release()


def open_channel(uri: str) -> ConfirmedChannel | EmbeddedChannel:
    """A connection to publish on, to the broker at this address. Raises one of BROKER_ERRORS."""
    return EmbeddedChannel(uri) if is_embedded(uri) else ConfirmedChannel(uri)
