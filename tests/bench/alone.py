"""One failure alone on an idle system, until SendGrid has its mail, in turns with what it is made of, each alone.

The parts are one of each, by the shortest way: a durable insert of an event, a confirmed publish to a quorum queue until it
is delivered, a call of a stock nameko method that does nothing, a post of a mail over TLS on a connection that is open.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import amqp

from tests.bench import rpc_load
from tests.bench.load import Connection, percentile, requests_of
from tests.bench.plain_sendgrid import HTML
from tests.bench.system import System
from tests.bench.yardsticks import EVENT_BYTES

BETWEEN_SECONDS = 0.5
"""From one failure to the next: then each is within billing's budget of looks at Stripe."""
COLD = 10
"""The first ones, which are not counted: connections, statements and templates are made then."""

Part = Callable[[], None]


@dataclass(frozen=True)
class Alone:
    """Seconds of each turn, in order of size: of the whole way, and of each part."""

    whole: Sequence[float]
    parts: Mapping[str, Sequence[float]]

    @property
    def p50(self) -> float:
        """Milliseconds of the whole way."""
        return 1000 * statistics.median(self.whole)

    @property
    def p99(self) -> float:
        return percentile(list(self.whole), 99)

    @property
    def parts_ms(self) -> dict[str, tuple[float, float]]:
        """p50 and p99 of each part, in milliseconds."""
        return {
            name: (1000 * statistics.median(took), percentile(list(took), 99))
            for name, took in self.parts.items()
        }

    @property
    def over_parts(self) -> float:
        """How many times the sum of its parts the whole way takes, by medians."""
        return self.p50 / sum(p50 for p50, _ in self.parts_ms.values())


def measure(system: System, turns: int, tick: Callable[[], None]) -> Alone:
    """Each part and a failure, in turns; `tick` is called after each turn. The yardsticks run beside the system."""
    whole: list[float] = []
    took: dict[str, list[float]] = {}
    failures = requests_of(system.webhook_plan(0, 1, most=COLD + turns))
    door = Connection(system.process("billing").port)
    with contextlib.closing(door.socket), parts(system) as made:
        for turn in range(COLD + turns):
            next_turn = time.monotonic() + BETWEEN_SECONDS
            for name, part in made.items():
                began = time.perf_counter()
                part()
                took.setdefault(name, []).append(time.perf_counter() - began)
            whole.append(one_failure(system, door, next(failures)))
            if turn >= COLD:
                tick()
            time.sleep(max(0.0, next_turn - time.monotonic()))
    return Alone(sorted(whole[COLD:]), {name: sorted(all_[COLD:]) for name, all_ in took.items()})


def one_failure(system: System, door: Connection, request: bytes) -> float:
    """Seconds from the webhook's first byte to the last of its mail."""
    before, began = system.count()["mails"], time.time()
    door.send(request)
    door.answer()
    return system.mail_after(before) - began


@contextlib.contextmanager
def parts(system: System) -> Iterator[dict[str, Part]]:
    """What does each part once, on connections that stay open."""
    with (
        _inserts(system) as insert,
        _publishes(system) as publish,
        _calls(system) as call,
        _posts(system) as post,
    ):
        yield {
            "durable insert": insert,
            "confirmed publish and delivery": publish,
            "RPC": call,
            "post over TLS": post,
        }


@contextlib.contextmanager
def _inserts(system: System) -> Iterator[Part]:
    with (
        system.stack.postgres.connection(system.scratch) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE IF NOT EXISTS alone (id bigserial PRIMARY KEY, body text)")
        body = "x" * EVENT_BYTES
        yield lambda: cursor.execute("INSERT INTO alone (body) VALUES (%s)", (body,))


@contextlib.contextmanager
def _publishes(system: System) -> Iterator[Part]:
    plan = system.rpc_plan("hello", 1, 0)
    arrived: list[Any] = []
    with (
        contextlib.closing(rpc_load.connect(plan, confirm_publish=True)) as sender,
        contextlib.closing(rpc_load.connect(plan)) as receiver,
    ):
        out, into = sender.channel(), receiver.channel()
        queue = into.queue_declare(
            "alone",
            durable=True,
            auto_delete=False,
            arguments={"x-queue-type": "quorum"},
        ).queue
        consumer = into.basic_consume(queue, callback=arrived.append)
        message = amqp.Message("x" * EVENT_BYTES, delivery_mode=2)

        def publish() -> None:
            out.basic_publish(message, routing_key=queue)  # returns when it is confirmed
            while not arrived:
                receiver.drain_events(timeout=10)
            into.basic_ack(arrived.pop().delivery_tag)

        yield publish
        into.basic_cancel(consumer)
        into.queue_delete(queue)


@contextlib.contextmanager
def _calls(system: System) -> Iterator[Part]:
    answered: list[Any] = []
    caller = rpc_load.Caller(
        system.rpc_plan("hello", 1, 0), lambda _, message: answered.append(message)
    )
    body = json.dumps({"args": ["maria"], "kwargs": {}})

    def call() -> None:
        caller.call("hello.echo", body)
        while not answered:
            caller.drain()
        if rpc_load.has_failed(answered.pop()):
            raise RuntimeError("the plain call failed")

    with contextlib.closing(caller):
        yield call


@contextlib.contextmanager
def _posts(system: System) -> Iterator[Part]:
    trusted = ssl.create_default_context(cafile=str(system.certificate))
    address = urlsplit(system.sendgrid)
    body = json.dumps({"content": [{"type": "text/html", "value": HTML}]})

    def post() -> None:
        connection.request("POST", "/v3/mail/send", body, {"Content-Type": "application/json"})
        with connection.getresponse() as answer:
            answer.read()
        if answer.status != 202:
            raise RuntimeError(f"SendGrid's stand-in answered {answer.status}")

    with contextlib.closing(
        http.client.HTTPSConnection(address.netloc, timeout=10, context=trusted)
    ) as connection:
        yield post
