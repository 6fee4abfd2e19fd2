"""Calls `lookup` of a nameko service, many at a time, without nameko: so that the server is what is measured."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import amqp

from tests.bench.load import summary


def connect(plan: dict[str, Any], **options: Any) -> amqp.Connection:
    """A connection to the plan's broker."""
    connection = amqp.Connection(
        host=f"127.0.0.1:{plan['port']}",
        userid="portico",
        password=plan["password"],
        virtual_host=plan["vhost"],
        **options,
    )
    connection.connect()
    return connection


class Caller:
    """Calls methods; `answered(id, message)` is told of each answer while `drain` waits."""

    def __init__(self, plan: dict[str, Any], answered: Callable[[str, Any], None]) -> None:
        self._connection = connect(plan)
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True, auto_delete=True).queue
        self._channel.queue_bind(self._queue, "nameko-rpc", self._queue)
        self._channel.basic_consume(
            self._queue,
            no_ack=True,
            callback=lambda message: answered(message.properties["correlation_id"], message),
        )
        self._ids = itertools.count(1)

    def call(self, method: str, body: str) -> str:
        """Send a call of `service.method`; its id."""
        name = str(next(self._ids))
        message = amqp.Message(
            body,
            content_type="application/json",
            content_encoding="utf-8",
            reply_to=self._queue,
            correlation_id=name,
            delivery_mode=1,
        )
        self._channel.basic_publish(message, "nameko-rpc", method)
        return name

    def drain(self) -> None:
        """Wait for an answer, or several."""
        self._connection.drain_events(timeout=10)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def has_failed(message: Any) -> bool:
    """Whether an answer is an error."""
    if '"error": null' in message.body[-40:] or '"error": null' in message.body[:40]:
        return False
    return json.loads(message.body)["error"] is not None


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Keep `window` calls under way for `seconds`; rate and latencies within that time, and how all calls were answered."""
    bodies = itertools.cycle(
        json.dumps({"args": [], "kwargs": {"token": token}}) for token in plan["tokens"]
    )
    method = f"{plan['service']}.lookup"
    sent: dict[str, float] = {}
    latencies: list[float] = []
    failures = total = 0
    begin = time.perf_counter() + 0.3
    end = begin + plan["seconds"]

    def call() -> None:
        nonlocal total
        total += 1
        now = time.perf_counter()
        sent[caller.call(method, next(bodies))] = now

    def answered(name: str, message: Any) -> None:
        nonlocal failures
        now = time.perf_counter()
        started = sent.pop(name)
        failures += has_failed(message)
        if begin <= now < end:
            latencies.append(now - started)
        if now < end:
            call()

    caller = Caller(plan, answered)
    for _ in range(plan["window"]):
        call()
    while sent and time.perf_counter() < end + 10:
        caller.drain()
    caller.close()
    return {
        **summary(latencies, plan["seconds"]),
        "statuses": {
            "200": total - len(sent) - failures,
            **({"500": failures} if failures else {}),
        },
        "sent": total,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
