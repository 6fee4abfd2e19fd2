"""Calls `lookup` of a nameko service, many at a time, without nameko: so that the server is what is measured."""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

import amqp

from tests.bench.load import percentile


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Keep `window` calls under way for `seconds`; rate and latencies."""
    connection = amqp.Connection(
        host=f"127.0.0.1:{plan['port']}",
        userid="portico",
        password=plan["password"],
        virtual_host=plan["vhost"],
    )
    connection.connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True, auto_delete=True).queue
    channel.queue_bind(queue, "nameko-rpc", queue)
    bodies = [json.dumps({"args": [], "kwargs": {"token": token}}) for token in plan["tokens"]]
    sent: dict[str, float] = {}
    latencies: list[float] = []
    failures = total = 0
    begin = time.perf_counter() + 0.3
    end = begin + plan["seconds"]

    def call() -> None:
        nonlocal total
        total += 1
        key = f"{total}"
        message = amqp.Message(
            bodies[total % len(bodies)],
            content_type="application/json",
            content_encoding="utf-8",
            reply_to=queue,
            correlation_id=key,
            delivery_mode=1,
        )
        sent[key] = time.perf_counter()
        channel.basic_publish(message, "nameko-rpc", f"{plan['service']}.lookup")

    def answered(message: Any) -> None:
        nonlocal failures
        now = time.perf_counter()
        started = sent.pop(message.properties["correlation_id"])
        if '"error": null' not in message.body[-40:] and '"error": null' not in message.body[:40]:
            failures += json.loads(message.body)["error"] is not None
        if begin <= now < end:
            latencies.append(now - started)
        if now < end:
            call()

    channel.basic_consume(queue, no_ack=True, callback=answered, consumer_tag=uuid.uuid4().hex)
    for _ in range(plan["window"]):
        call()
    while sent and time.perf_counter() < end + 10:
        connection.drain_events(timeout=10)
    connection.close()
    latencies.sort()
    return {
        "answered": len(latencies),
        "rate": len(latencies) / plan["seconds"],
        "p50": percentile(latencies, 50),
        "p99": percentile(latencies, 99),
        "statuses": {"200": len(latencies), **({"500": failures} if failures else {})},
        "sent": total,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
