"""Publishing events: in batches, with pipelined confirms (`shared/messaging/confirmed.py`), past no consumer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Protocol

import eventlet
import msgspec
from eventlet.semaphore import Semaphore
from nameko.extensions import DependencyProvider

from shared import events, tracing
from shared.messaging import topology
from shared.messaging.amqp import BROKER_ERRORS, BrokerUnavailable, Unroutable, is_embedded
from shared.messaging.confirmed import Binding, Outcome, Publication, open_channel

BATCH_SECONDS: Final = 10


class _Session(Protocol):
    def publish(
        self, batch: Sequence[events.Event], outcomes: list[Outcome], queue: str | None
    ) -> None: ...

    def drop(self) -> None: ...


class EventSession:
    """A connection on which the events of `source` are published, with its exchange and its consumers' queues in sight."""

    def __init__(self, uri: str, source: str) -> None:
        self._source = source
        self._queues = topology.queues_of(source)
        self._exchange = topology.exchange(source).name
        self._opened = open_channel(uri)
        self._is_embedded = is_embedded(uri)
        try:
            topology.exchange(source, by=source)(self._opened.channel).declare()
            self._look()
        except BaseException:
            self.drop()
            raise

    def _look(self) -> None:
        self._without_queue = topology.bind_consumers(self._opened.connection.channel, self._source)

    def _bindings(self, types: Collection[str]) -> Iterator[Binding]:
        """Those of the consumers' queues for these types of events, to be made once more on the channel that publishes them next, and in the
        same write.

        An exchange or a queue that was deleted and made anew since has not all its bindings yet, and what goes through it meanwhile
        passes some consumers by without a word. A queue that is gone closes the channel, before it takes any of the batch; the
        next session looks which one. Other types are left out: the broker does bindings one after the other, each in about the time
        of a publish, and the event waits for all of them.
        """
        for queue in self._queues:
            for each in queue.bindings:
                if each.routing_key in types:
                    yield queue.name, each.exchange.name, each.routing_key

    def publish(
        self, batch: Sequence[events.Event], outcomes: list[Outcome], queue: str | None
    ) -> None:
        if self._without_queue or self._is_embedded:
            self._look()
        heard: set[str] = set()
        if queue is None and not self._is_embedded:
            heard = {event.type for event in batch} - self._without_queue.keys()
        wanted: dict[int, Publication] = {}
        for index, event in enumerate(batch):
            if queue is None and event.type in self._without_queue:
                outcomes[index] = _no_queue(self._without_queue[event.type])
            else:
                wanted[index] = _publication(self._exchange, event, queue)
        self._opened.publish(wanted, outcomes, self._bindings(heard))

    def drop(self) -> None:
        self._opened.drop()


def _no_queue(name: str) -> Unroutable:
    return Unroutable(f"there is no queue {name}: its service makes it when it starts")


def _publication(exchange: str, event: events.Event, queue: str | None) -> Publication:
    """An event on its way to all who hear its type, or into one queue alone."""
    return Publication(
        body=events.encode(event),
        exchange=exchange if queue is None else "",
        routing_key=event.type if queue is None else queue,
        mandatory=queue is not None or topology.has_consumer(event.type),
        properties={
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
            "message_id": event.id,
            "type": event.type,
            "application_headers": _context_headers(event),
        },
    )


def _context_headers(event: events.Event) -> dict[str, str]:
    """nameko's context data, for a host application that consumes with nameko."""
    headers = {"nameko.correlation_id": event.correlation_id}
    if event.traceparent:
        headers[f"nameko.{tracing.KEY}"] = event.traceparent
    return headers


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
                    self._session = EventSession(self._uri, self._source)
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


class EventPublisher(DependencyProvider):
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
