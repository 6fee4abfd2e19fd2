"""A load generator: many keep-alive connections, one process, no framework. `python -m tests.bench.load` reads a plan as
JSON on stdin and writes what it measured as JSON on stdout.

Closed loop: each connection sends its next request when the answer to the last one is whole. `generator` says what
that cost the generator itself: where a server takes as little, on two cores, the rate is bounded by both.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

SETTLE_SECONDS = 0.3
"""Connections are made and warmed before the clock starts."""
RECEIVE_BYTES = 1 << 16
"""At a time: below what malloc maps anew for each read."""
ANSWER_SECONDS = 60


class Connection:
    """One keep-alive connection, and how much of its answer is still to come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_at = 0.0
        self._last = b"", 0

    def send(self, request: bytes) -> None:
        self.buffer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """The status when the answer is whole, None while it is not. Raises ConnectionError when it was cut off."""
        piece = self.socket.recv(RECEIVE_BYTES)
        if not piece:
            raise ConnectionError("the server closed the connection")
        if piece == self._last[0] and not self.buffer:
            return self._last[1]  # as whole as it was the last time
        self.buffer = self.buffer + piece if self.buffer else piece
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return None
        self._last = self.buffer, int(head[9:12])
        return self._last[1]

    def answer(self) -> int:
        """Wait for the whole answer; its status. Raises OSError."""
        while (status := self.receive()) is None:
            pass
        return status


def requests_of(plan: dict[str, Any]) -> Iterator[bytes]:
    """The requests of a plan, indefinitely: `paths` to GET in turn, or a signed `event` to POST under ever new ids, of
    `customers` customers in turn, beginning after `first`; or `bodies` to POST with `keys` of the HTTP API, both in turn, with a number
    of `numbers` and an ever new count in them. With `accounts` the event is of each of so many accounts in turn, which have
    `customers` each."""
    if "paths" in plan:
        made = [
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n".encode()
            for path in plan["paths"]
        ]
        yield from itertools.cycle(made)
    if "bodies" in plan:
        yield from told_by_hosts(plan)
    event = plan["event"].encode()
    secret = plan["secret"].encode()
    first, customers, accounts = plan["first"], plan["customers"], plan.get("accounts", 0)
    for number in itertools.count():
        mark = f"{plan['mark']}{number:08d}".encode()
        turn, account = divmod(first + number, accounts) if accounts else (first + number, 0)
        customer = b'"cus_%d"' % (1 + turn % customers)
        body = event.replace(b"NUMBER", mark).replace(b'"cus_1"', customer)
        if accounts:
            body = body.replace(b'"acct_1"', b'"acct_%d"' % (1 + account))
        stamp = str(int(time.time())).encode()
        signature = hmac.new(secret, stamp + b"." + body, hashlib.sha256).hexdigest().encode()
        yield (
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Stripe-Signature: t=%s,v1=%s\r\nContent-Length: %d\r\n\r\n"
            % (plan["path"].encode(), stamp, signature, len(body))
        ) + body


def told_by_hosts(plan: dict[str, Any]) -> Iterator[bytes]:
    """Requests to the API for hosts."""
    bodies = [body.encode() for body in plan["bodies"]]
    keys = [key.encode() for key in plan["keys"]]
    for count in itertools.count():
        number, since = count % plan["numbers"], time.time_ns()
        body = bodies[count % len(bodies)].replace(b"NUMBER", b"%d" % number)
        body = body.replace(b"COUNT", b"%d" % since)
        yield (
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
            % (plan["path"].encode(), keys[count % len(keys)], len(body))
        ) + body


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Load `port` from `connections` for `seconds` (or until `most` are answered); rate and latencies in ms within that time, and the
    statuses of all answers."""
    source = requests_of(plan)
    poll = select.epoll()
    connections = {}
    for _ in range(plan["connections"]):
        each = Connection(plan["port"])
        connections[each.socket.fileno()] = each
        poll.register(each.socket, select.EPOLLIN)
        each.send(next(source))
    cpu = time.process_time()
    begin = time.perf_counter() + (SETTLE_SECONDS if "seconds" in plan else 0)
    end = begin + plan.get("seconds", 600)
    most = plan.get("most", 1 << 60)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    busy = len(connections)
    sent = busy
    now = time.perf_counter()
    while busy:
        for file, _ in poll.poll(5):
            connection = connections[file]
            status = connection.receive()
            if status is None:
                continue
            now = time.perf_counter()
            statuses[status] = statuses.get(status, 0) + 1
            if begin <= now < end:
                latencies.append(now - connection.sent_at)
            if now >= end or sent >= most:
                busy -= 1
                poll.unregister(connection.socket)
            else:
                sent += 1
                connection.send(next(source))
    cpu = time.process_time() - cpu
    for each in connections.values():
        each.socket.close()
    return {
        **summary(latencies, min(now, end) - begin),
        "statuses": statuses,
        "sent": sent,
        "generator": 1e6 * cpu / sent,
    }


def probe(plan: dict[str, Any]) -> dict[str, Any]:
    """Ask `port` for the first of `paths` on a new connection `every` so many seconds, as an orchestrator's probe does, for
    `seconds`. Who gets no answer counts under status 0."""
    request = next(requests_of(plan))
    begin = time.perf_counter()
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    while (now := time.perf_counter()) < begin + plan["seconds"]:
        try:
            connection = Connection(plan["port"])
            connection.socket.settimeout(ANSWER_SECONDS)
            connection.send(request)
            status = connection.answer()
            connection.socket.close()
        except OSError:
            status = 0
        latencies.append(time.perf_counter() - now)
        statuses[status] = statuses.get(status, 0) + 1
        time.sleep(max(0.0, now + plan["every"] - time.perf_counter()))
    return {
        **summary(latencies, time.perf_counter() - begin),
        "statuses": statuses,
        "sent": len(latencies),
    }


def summary(latencies: list[float], seconds: float) -> dict[str, Any]:
    """Rate, and latencies in milliseconds, of answers that took so many seconds each."""
    latencies.sort()
    return {
        "answered": len(latencies),
        "rate": len(latencies) / seconds,
        "p50": percentile(latencies, 50),
        "p99": percentile(latencies, 99),
        "longest": percentile(latencies, 100),
    }


def percentile(ordered: list[float], percent: float) -> float:
    """In milliseconds, of an ordered list of seconds."""
    return (
        1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
    )


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps((probe if "every" in told else run)(told)))
