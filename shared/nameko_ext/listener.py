"""Listening to queues, and knowing it: one connection a service, on which its events, calls and replies come in.

A listener is alive when *its* channel on *its* connection is. Whatever else it finds (an error of the channel's, a consumer that
the broker cancelled, a broker that says nothing, another connection than its own), it throws the connection away and begins
anew. What was in hand then is delivered again, and joins the work that is under way (`InHand`).

Every other second it declares what it needs once more, without waiting for an answer, and asks the broker to say when it is done.
So a queue, a binding or an exchange that somebody deleted is there again; and the last answer tells how long it has been certain
that it listens (`shared/messaging/watch.py`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any, Final

import eventlet
from amqp import spec
from amqp.exceptions import AccessRefused, AMQPError, ChannelError, NotFound
from kombu import Consumer
from nameko.extensions import ProviderCollector
from nameko.messaging import QueueConsumer, QueueConsumerStopped

from shared.messaging import topology
from shared.messaging.amqp import (
    BROKER_ERRORS,
    BrokerUnavailable,
    is_embedded,
    login_refused,
    make_connection,
)
from shared.messaging.transport import ConnectionEnded
from shared.messaging.watch import Watch
from shared.telemetry import CONSUMING, error_text, get_logger

log = get_logger(__name__)

HEARTBEAT_SECONDS: Final = 10
"""Either side gives the other up after two of them."""
LOOK_UP_SECONDS: Final = 0.2
"""How long a silent broker keeps a consumer from noticing that it is to stop; a service has up to three in a row."""
LOOK_OVER_SECONDS: Final = 1.0
UPKEEP_SECONDS: Final = 1.5
"""How often what a listener needs is declared again. An exchange takes two rounds: its owner's, then everybody's binding."""
SETUP_SECONDS: Final = 15
WRITE_SECONDS: Final = 3
"""How long a few small frames may take to be written, to a broker that reads."""
PROBE_SECONDS: Final = 3
LONGEST_PAUSE_SECONDS: Final = 3.0
FAREWELL_SECONDS: Final = 1.0


def is_stale(message: Any) -> bool:
    """Whether the channel that it came on is gone. The broker has taken the message back then, and delivers it again."""
    return not message.channel.connection


class InHand:
    """The messages that are being worked on, by what tells one from another.

    One whose connection broke is delivered again while the work goes on. The new copy is not worked on as well: it takes the
    place of the old one, and the work settles it.
    """

    def __init__(self) -> None:
        self._copies: dict[Hashable, tuple[Any, Any]] = {}
        """First and newest copy of each."""

    def joins(self, key: Hashable, message: Any) -> bool:
        """Whether the message joins work that is under way. If not, its own work begins: release() it in the end."""
        first, newest = self._copies.setdefault(key, (message, message))
        if newest is message or not is_stale(newest):
            return False
        self._copies[key] = first, message
        return True

    def newest(self, key: Hashable, message: Any) -> Any:
        """The copy to be settled in the place of the first one."""
        first, newest = self._copies.get(key, (None, None))
        return newest if first is message else message

    def release(self, key: Hashable, message: Any) -> Any:
        """The work is over; the copy to be settled."""
        newest = self.newest(key, message)
        if self._copies.get(key, (None, None))[0] is message:
            del self._copies[key]
        return newest


class _Upkeep:
    """Declares what a listener needs again and again, on a channel of its own, so that a refusal closes no other."""

    def __init__(self, connection: Any, on_done: Callable[[], None]) -> None:
        self._connection = connection
        self._on_done = on_done
        self._channel: Any = None

    def declare(self, exchanges: Iterable[Any], queues: Iterable[Any]) -> None:
        """Write it, and read nothing: the broker answers the last method when it has done all of them, or closes the channel.
        `exchanges` are those that the service makes; what its queues are bound to besides is looked for."""
        if self._channel is None or not self._channel.connection:
            self._channel = self._connection.channel()
            self._channel.notify(spec.Channel.FlowOk, lambda active: self._on_done())
        for exchange in exchanges:
            exchange.declare(nowait=True, channel=self._channel)
        for queue in queues:
            bound = queue(self._channel)
            awaited = {each.exchange for each in bound.bindings} | {bound.exchange}
            for exchange in filter(None, awaited):
                exchange.declare(nowait=True, channel=self._channel)
            bound.queue_declare(nowait=True)
            if bound.exchange and bound.exchange.name:
                bound.queue_bind(nowait=True)
            for each in bound.bindings:
                each.bind(bound, nowait=True, channel=self._channel)
        self._channel.send_method(spec.Channel.Flow, "b", (True,))


class SafeQueueConsumer(QueueConsumer):
    """nameko's consumer, hardened: see the module's text. A message is settled without ever ending the container.

    A provider has a `queue`, may have `auxiliary_queues`, takes `handle_message(body, message)` with the body as it came, and
    `give_up(message, reason)` for a message that it can't handle. One that has `accept(message)` is asked first, in the
    listener's own green thread: it takes the message without waiting for anything, or says False.
    """

    should_stop: bool
    _consumers_ready: Any
    _pending_remove_providers: dict[Any, Any]

    def __init__(self) -> None:
        super().__init__()
        self._watch = Watch()
        self._failures = 0
        self._is_over = False
        """Whether the green thread that lets providers go has ended."""
        self._unsettled: dict[Any, bool] = {}
        """The messages of this channel that nobody has settled, in the order in which the broker numbered them."""

    @property
    def connection(self) -> Any:
        return make_connection(self.amqp_uri, heartbeat=HEARTBEAT_SECONDS)

    # -- listening ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen, and begin anew after whatever goes wrong, until all providers are gone."""
        watching = self.container.spawn_managed_thread(self._watch_over)
        try:
            while not self.should_stop:
                try:
                    self._listen()
                except QueueConsumerStopped:
                    raise
                except Exception as error:
                    self._lose(error)
                    self._pause(0.5 if isinstance(error, NotFound) else LONGEST_PAUSE_SECONDS)
        except QueueConsumerStopped as stopped:  # before its broker was there; nameko would call that a failure of the service
            if not self._consumers_ready.ready():
                self._consumers_ready.send_exception(stopped)
        finally:
            watching.kill()
            self._is_over = True
            pending, self._pending_remove_providers = self._pending_remove_providers, {}
            for removed in pending.values():
                removed.send()

    def _lose(self, error: Exception) -> None:
        """Remember what is wrong. What is missing or not allowed comes with another service, or with its rights."""
        problem = "not connected to the broker"
        if isinstance(error, ChannelError):  # its words for what it refuses
            problem = str(error.message)
        refused = login_refused(error)
        problem = refused or problem
        is_news = problem != self._watch.problem
        self._watch.lost(problem, waits=isinstance(error, NotFound | AccessRefused))
        self._failures += 1
        if "no exchange" in problem:  # services start in any order
            if is_news:
                log.info("waiting for an exchange", missing=problem)
            return
        if self._failures & (self._failures - 1) == 0:  # the first, second, fourth, …
            log.warning(
                "not listening",
                error=refused or error_text(error),
                failures=self._failures,
                exc_info=None if isinstance(error, BROKER_ERRORS) else error,
            )

    def _pause(self, most: float) -> None:
        longest = min(2.0 ** min(self._failures - 1, 10), most)
        end = time.monotonic() + longest * random.uniform(0.5, 1)  # noqa: S311
        while not self.should_stop and time.monotonic() < end:
            self._cancel_consumers_if_requested()
            eventlet.sleep(LOOK_UP_SECONDS)
            self.should_stop = self.should_stop or not self._providers

    def _listen(self) -> None:
        connection = self.connection
        try:
            with eventlet.Timeout(SETUP_SECONDS, BrokerUnavailable("it does not answer")):
                connection.connect()
                channel = connection.channel()
                for consumer in self.get_consumers(partial(Consumer, channel), channel):
                    consumer.consume()
            self.on_consume_ready(connection, channel, ())
            self._attend(connection, channel)
            self._take_leave(connection)
        finally:
            self._consumers.clear()
            self._unsettled.clear()
            connection.collect()  # a polite end would wait for a broker that may be silent

    def get_consumers(self, consumer_cls: Any, channel: Any) -> list[Any]:
        for exchange in self._exchanges():
            exchange(channel).declare()
        for provider in list(self._providers):
            for queue in getattr(provider, "auxiliary_queues", ()):
                queue(channel).declare()
            consumer = consumer_cls(
                queues=[provider.queue], on_message=partial(self._take, provider)
            )
            consumer.qos(prefetch_count=self.prefetch_count)
            self._consumers[provider] = consumer
        return list(self._consumers.values())

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, **kwargs: Any
    ) -> None:
        self._failures = 0
        self._watch.listening()
        for provider in self._consumers:
            name = provider.queue.name.removesuffix(f"-{getattr(provider, 'routing_key', '')}")
            CONSUMING.labels(self.container.service_name, name).set_function(
                lambda: float(self._watch.is_consuming)
            )
        super().on_consume_ready(connection, channel, consumers, **kwargs)

    def _attend(self, connection: Any, channel: Any) -> None:
        """Take what comes, until there are no consumers any more."""
        upkeep = None
        if not is_embedded(self.amqp_uri):
            upkeep = _Upkeep(connection, self._watch.listening)
        due = time.monotonic()
        while True:
            self.on_iteration()
            if self.should_stop:
                return
            try:
                if (now := time.monotonic()) >= due:
                    due = now + UPKEEP_SECONDS
                    with eventlet.Timeout(WRITE_SECONDS, BrokerUnavailable("it does not read")):
                        connection.heartbeat_check()
                        if upkeep:
                            upkeep.declare(self._exchanges(), self._queues(self._consumers))
                self._drain(connection, channel)
            except ChannelError as error:
                if not channel.connection:
                    raise
                self._watch.incomplete(str(error.message))
            if upkeep is None:
                self._watch.listening()

    def _exchanges(self) -> Iterable[Any]:
        """Those that the service makes, also for others, who wait for them."""
        return topology.exchanges_of(self.container.service_name)

    @staticmethod
    def _queues(providers: Iterable[Any]) -> Iterable[Any]:
        for provider in providers:
            yield from getattr(provider, "auxiliary_queues", ())
            yield provider.queue

    @staticmethod
    def _drain(connection: Any, channel: Any) -> None:
        if not channel.connection:
            raise ConnectionEnded("the channel has ended")
        try:
            connection.drain_events(timeout=LOOK_UP_SECONDS)
        except TimeoutError as error:
            if error.errno is not None:  # the network's own, and not that nothing came
                raise

    def _take_leave(self, connection: Any) -> None:
        """Let the work that is under way settle its messages, or another process would do it once more; then go."""
        if self._consumers:  # killed
            return
        eventlet.sleep(0)  # what came just before the broker's last word is about to begin
        while self._unsettled and not self.container.workers.is_idle:
            with suppress(TimeoutError):
                connection.drain_events(timeout=LOOK_UP_SECONDS)
        with eventlet.Timeout(FAREWELL_SECONDS, False):
            connection.release()

    # -- stopping ----------------------------------------------------------------------------------------

    def unregister_provider(self, provider: Any) -> None:
        if self._consumers_ready.ready() and not self._is_over:
            super().unregister_provider(provider)
        else:  # nameko's fails at the second one that stops before the broker was there, and waits for a thread that has ended
            ProviderCollector.unregister_provider(self, provider)

    def _cancel_consumers_if_requested(self) -> None:
        pending, self._pending_remove_providers = self._pending_remove_providers, {}
        for provider, removed in pending.items():
            consumer = self._consumers.pop(provider, None)
            try:
                if consumer is not None:
                    with eventlet.Timeout(FAREWELL_SECONDS, False):
                        consumer.cancel()
            finally:
                removed.send()

    # -- messages ----------------------------------------------------------------------------------------

    def _take(self, provider: Any, message: Any) -> None:
        self._unsettled[message] = True
        accept = getattr(provider, "accept", None)
        if accept is not None and accept(message):
            return

        def handle() -> None:  # what escapes a managed thread kills the container
            try:
                provider.handle_message(message.body, message)
            except Exception as error:
                log.error("message not handled", error=error_text(error), queue=provider.queue.name)
                try:
                    provider.give_up(message, f"not handled: {type(error).__name__}")
                except Exception as second:
                    log.error("message not given up", error=error_text(second))
                    self.reject_message(message)

        self.container.spawn_managed_thread(handle)

    def _settle(self, message: Any, operation: Callable[[], None]) -> None:
        if not self._unsettled.pop(message, False) or is_stale(message):
            return
        try:
            operation()
        except (OSError, AMQPError) as error:
            log.warning(
                "message not settled, the broker will deliver it again", error=error_text(error)
            )

    def ack_message(self, message: Any) -> None:
        self.ack_messages([message])

    def ack_messages(self, messages: Sequence[Any]) -> None:
        """Acknowledge many: in one word those before which no other message of the channel waits, and one by one the rest.

        The one word settles all that came before it, of whatever queue. So it is said of an unbroken run of these alone.
        """
        mine = set(messages)
        run = list(takewhile(mine.__contains__, self._unsettled))
        if len(run) > 1 and not is_embedded(self.amqp_uri):  # which knows no such word
            *before, last = run
            for message in before:
                del self._unsettled[message]
            self._settle(last, partial(last.ack, multiple=True))
        for message in messages:
            self._settle(message, message.ack)

    def requeue_message(self, message: Any) -> None:
        self._settle(message, message.requeue)

    def reject_message(self, message: Any) -> None:
        self._settle(message, message.reject)

    # -- being watched -----------------------------------------------------------------------------------

    def degradation(self) -> str | None:
        """What `/readyz` tells of the listener; None when it listens."""
        return self._watch.problem or None

    def _watch_over(self) -> None:
        while not is_embedded(self.amqp_uri):
            eventlet.sleep(LOOK_OVER_SECONDS)
            if self._watch.wants_probe():
                self._watch.probed(self._probe())
            if self._watch.is_hopeless:
                self.container.config["end_process"](
                    f"can't listen to a broker that is there: {self._watch.problem}"
                )
                return

    def _probe(self) -> bool:
        """Whether a fresh connection to the broker works, and our queues answer on it."""
        connection = make_connection(self.amqp_uri)
        try:
            with eventlet.Timeout(PROBE_SECONDS, BrokerUnavailable("it does not answer")):
                connection.connect()
                for queue in self._queues(list(self._providers)):
                    try:
                        connection.channel().queue_declare(queue.name, passive=True)
                    except NotFound as error:
                        if "no queue" not in str(error.message):  # it is, but out of reach
                            return False
                    except ChannelError:
                        continue
        except BROKER_ERRORS:
            return False
        finally:
            connection.collect()
        return True
