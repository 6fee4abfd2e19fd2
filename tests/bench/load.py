"""A load generator: many keep-alive connections, one process, no framework. `python -m tests.bench.load` reads a plan as
JSON on stdin and writes what it measured as JSON on stdout.

Closed loop: each connection sends its next request when the answer to the last one is whole. About 30 µs of CPU a
request, so it is never what is measured.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

SETTLE_SECONDS = 0.3
"""Connections are made and warmed before the clock starts."""


class Connection:
    """One keep-alive connection, and how much of its answer is still to come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.buffer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """The status when the answer is whole, None while it is not. Raises ConnectionError when it was cut off."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.buffer = self.buffer + piece if self.buffer else piece
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return int(head[9:12]) if len(body) >= length else None


def requests_of(plan: dict[str, Any]) -> Iterator[bytes]:
    """The requests of a plan, indefinitely: `paths` to GET in turn, or a signed `event` to POST under ever new ids, of `customers` customers
    in turn."""
    if "paths" in plan:
        made = [
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n".encode()
            for path in plan["paths"]
        ]
        yield from itertools.cycle(made)
    event = plan["event"].encode()
    secret = plan["secret"].encode()
    first, customers = plan.get("first_customer", 1), plan.get("customers", 1)
    for number in itertools.count():
        mark = f"{plan['mark']}{number:08d}".encode()
        customer = b'"cus_%d"' % (first + number % customers)
        body = event.replace(b"NUMBER", mark).replace(b'"cus_1"', customer)
        stamp = str(int(time.time())).encode()
        signature = hmac.new(secret, stamp + b"." + body, hashlib.sha256).hexdigest().encode()
        yield (
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Stripe-Signature: t=%s,v1=%s\r\nContent-Length: %d\r\n\r\n"
            % (plan["path"].encode(), stamp, signature, len(body))
        ) + body


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Load `port` from `connections` for `seconds` (or until `most` are answered); rate, latencies in ms, statuses."""
    source = requests_of(plan)
    selector = selectors.DefaultSelector()
    connections = [Connection(plan["port"]) for _ in range(plan["connections"])]
    for each in connections:
        selector.register(each.socket, selectors.EVENT_READ, each)
        each.send(next(source))
    begin = time.perf_counter() + (SETTLE_SECONDS if "seconds" in plan else 0)
    end = begin + plan.get("seconds", 600)
    most = plan.get("most", 1 << 60)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    busy = len(connections)
    sent = busy
    now = time.perf_counter()
    while busy:
        for key, _ in selector.select(5):
            connection: Connection = key.data
            status = connection.receive()
            if status is None:
                continue
            now = time.perf_counter()
            if begin <= now < end:
                latencies.append(now - connection.sent_at)
                statuses[status] = statuses.get(status, 0) + 1
            if now >= end or sent >= most:
                busy -= 1
                selector.unregister(connection.socket)
            else:
                sent += 1
                connection.send(next(source))
    for each in connections:
        each.socket.close()
    latencies.sort()
    seconds = min(now, end) - begin
    return {
        "answered": len(latencies),
        "seconds": seconds,
        "rate": len(latencies) / seconds,
        "p50": percentile(latencies, 50),
        "p99": percentile(latencies, 99),
        "statuses": statuses,
        "sent": sent,
    }


def percentile(ordered: list[float], percent: float) -> float:
    """In milliseconds, of an ordered list of seconds."""
    return (
        1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
    )


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
