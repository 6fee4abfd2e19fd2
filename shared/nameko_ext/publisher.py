"""Publishing a batch of events with pipelined confirms.

One confirm at a time costs a disk flush and a round trip a message on a quorum queue. Here the whole batch is
written, then the confirms are collected; each event's own fate is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import amqp
import eventlet
import msgspec
from eventlet.semaphore import Semaphore
from kombu import Connection, Producer

from shared import events, tracing
from shared.messaging import topology
from shared.messaging.amqp import BROKER_ERRORS, BrokerUnavailable, Unroutable, make_connection
from shared.nameko_ext.container import SharedProvider

BATCH_SECONDS: Final = 10


class Refused(Exception):
    """The broker took the message and then refused it (nack): a full or failing queue."""


Outcome = Exception | None


class _Session(Protocol):
    def publish(
        self, batch: Sequence[events.Event], outcomes: list[Outcome], queue: str | None
    ) -> None: ...

    def drop(self) -> None: ...


class ConfirmedSession:
    """An AMQP connection and channel in confirm mode, with the exchange of `source` and its consumers' queues in sight."""

    def __init__(self, uri: str, source: str) -> None:
        self._source = source
        self._queues = topology.queues_of(source)
        self._exchange = topology.exchange(source).name
        self._connection: Connection = make_connection(uri)
        try:
            self._connection.connect()
            self._channel: Any = self._connection.channel()
            topology.exchange(source, by=source)(self._channel).declare()
            self._channel.confirm_select()
            self._look()
        except BaseException:
            self._connection.collect()
            raise
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)
        self._last_tag = 0
        self._waiting: dict[int, int] = {}
        self._index_by_id: dict[str, int] = {}
        self._outcomes: list[Outcome] = []

    def _look(self) -> None:
        self._without_queue = topology.bind_consumers(self._connection.channel, self._source)

    def _bind(self, types: Collection[str]) -> None:
        """Bind the consumers' queues once more for these types of events, on the channel that publishes them next, and without
        waiting for an answer.

        An exchange or a queue that was deleted and made anew since has not all its bindings yet, and what goes through it meanwhile
        passes some consumers by without a word. A queue that is gone closes the channel, before it takes any of the batch; the
        next session looks which one. Other types are left out: the broker does bindings one after the other, each in about the time
        of a publish, and the event waits for all of them.
        """
        for queue in self._queues:
            for each in queue.bindings:
                if each.routing_key in types:
                    queue(self._channel).bind_to(each.exchange, each.routing_key, nowait=True)

    def publish(
        self, batch: Sequence[events.Event], outcomes: list[Outcome], queue: str | None
    ) -> None:
        if self._without_queue:
            self._look()
        if queue is None:
            self._bind({event.type for event in batch} - self._without_queue.keys())
        self._outcomes = outcomes
        self._waiting.clear()
        self._index_by_id = {event.id: index for index, event in enumerate(batch)}
        for index, event in enumerate(batch):
            if queue is None and event.type in self._without_queue:
                outcomes[index] = _no_queue(self._without_queue[event.type])
                continue
            self._last_tag += 1
            self._waiting[self._last_tag] = index
            self._channel.basic_publish(
                amqp.Message(
                    events.encode(event),
                    content_type="application/json",
                    content_encoding="utf-8",
                    delivery_mode=2,
                    message_id=event.id,
                    type=event.type,
                    application_headers=_context_headers(event),
                ),
                **_address(self._exchange, event, queue),
            )
        while self._waiting:
            self._connection.drain_events()

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
        self._connection.collect()


def _no_queue(name: str) -> Unroutable:
    return Unroutable(f"there is no queue {name}: its service makes it when it starts")


def _address(exchange: str, event: events.Event, queue: str | None) -> dict[str, Any]:
    """Where an event goes: to all who hear its type, or into one queue alone."""
    if queue is not None:
        return {"exchange": "", "routing_key": queue, "mandatory": True}
    mandatory = topology.has_consumer(event.type)
    return {"exchange": exchange, "routing_key": event.type, "mandatory": mandatory}


def _context_headers(event: events.Event) -> dict[str, str]:
    """nameko's context data, for a host application that consumes with nameko."""
    headers = {"nameko.correlation_id": event.correlation_id}
    if event.traceparent:
        headers[f"nameko.{tracing.KEY}"] = event.traceparent
    return headers


class EmbeddedSession:
    """The in-memory broker of `make run`: it takes a message at once or says why not."""

    def __init__(self, uri: str, source: str) -> None:
        self._source = source
        self._connection = make_connection(uri)
        channel = self._connection.channel()
        topology.exchange(source, by=source)(channel).declare()
        self._producer = Producer(channel)

    def publish(
        self, batch: Sequence[events.Event], outcomes: list[Outcome], queue: str | None
    ) -> None:
        exchange = topology.exchange(self._source).name
        without_queue = topology.bind_consumers(self._connection.channel, self._source)
        for index, event in enumerate(batch):
            if queue is None and event.type in without_queue:
                outcomes[index] = _no_queue(without_queue[event.type])
                continue
            try:
                self._producer.publish(
                    events.encode(event),
                    content_type="application/json",
                    content_encoding="utf-8",
                    message_id=event.id,
                    **_address(exchange, event, queue),
                )
            except amqp.exceptions.ChannelError:
                outcomes[index] = Unroutable(f"no queue is bound for {event.type}")
            else:
                outcomes[index] = None

    def drop(self) -> None:
        self._connection.release()


class BatchPublisher:
    """Publishes batches for one source over one connection, which is opened when needed and again after a fault."""

    def __init__(self, uri: str, source: str) -> None:
        self._uri = uri
        self._source = source
        self._turn = Semaphore(1)
        self._session: _Session | None = None

    def publish_batch(
        self, batch: Sequence[events.Event], *, queue: str | None = None
    ) -> list[Outcome]:
        """Publish all; one outcome an event: None when the broker confirmed it, else what went wrong.

        With `queue` they go into that queue alone, past the exchange: to a consumer that lost what it had.

        Never raises for an unhealthy broker and never takes longer than `BATCH_SECONDS`. An event with an error may
        still have arrived: consumers recognise it by its id.
        """
        if not batch:
            return []
        publish = self._publish_traced if tracing.is_on() else self._publish
        return publish(batch, queue)

    def _publish_traced(self, batch: Sequence[events.Event], queue: str | None) -> list[Outcome]:
        """The same with a span for each event, in the trace of what made it. Consumers go on from there."""
        exchange = topology.exchange(self._source).name
        spans = [tracing.publish(exchange, event) for event in batch]
        outcomes = self._publish(
            [
                msgspec.structs.replace(event, traceparent=span.traceparent)
                for event, span in zip(batch, spans, strict=True)
            ],
            queue,
        )
        for span, outcome in zip(spans, outcomes, strict=True):
            if outcome is not None:
                span.failed(type(outcome).__name__)
            span.end()
        return outcomes

    def _publish(self, batch: Sequence[events.Event], queue: str | None) -> list[Outcome]:
        outcomes: list[Outcome] = [BrokerUnavailable("not confirmed")] * len(batch)
        with self._turn:
            limit = eventlet.Timeout(BATCH_SECONDS, BrokerUnavailable("no confirm in time"))
            try:
                if self._session is None:
                    kind = EmbeddedSession if self._uri.startswith("embedded") else ConfirmedSession
                    self._session = kind(self._uri, self._source)
                self._session.publish(batch, outcomes, queue)
            except BROKER_ERRORS as error:
                self._drop()
                failure = BrokerUnavailable(f"{type(error).__name__}: {error}")
                outcomes = [
                    failure if isinstance(outcome, BrokerUnavailable) else outcome
                    for outcome in outcomes
                ]
            except BaseException:
                self._drop()
                raise
            finally:
                limit.cancel()
        return outcomes

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.drop()
            except BROKER_ERRORS:
                return

    def close(self) -> None:
        self._drop()


class EventPublisher(SharedProvider):
    """Injects a `BatchPublisher` for this service's own exchange."""

    publisher: BatchPublisher

    def setup(self) -> None:
        self.publisher = BatchPublisher(
            self.container.config["AMQP_URI"], self.container.service_name
        )

    def stop(self) -> None:
        self.publisher.close()

    def get_dependency(self, worker_ctx: Any) -> BatchPublisher:
        return self.publisher
