"""`python -m tests.bench.stalls`: how long does another client's `/healthz` wait while somebody sends what should stall a service?

One client sends, from this process, as much of it as the service takes; a probe in a process of its own asks for `/healthz`
on a new connection every few milliseconds. STALL_SECONDS=8 says how long each; BENCH_WRITE= (empty) prints without writing.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from local.processes import Process
from tests.bench import report
from tests.bench.measure import apart, memory_mb
from tests.bench.system import System, running

SECONDS = float(os.environ.get("STALL_SECONDS", "8"))
EVERY_SECONDS = 0.004
AIM_MS = 50
POD_MB = 512
"""A service's limit of memory in deploy/k8s/base."""
BEGIN_SECONDS = 0.3
"""The probe is at work when the sending begins."""
COLUMNS = (
    "",
    "service",
    "probes",
    "p99 ms",
    "longest ms",
    "not answered 200",
    "memory MB",
    "MB sent",
)


@dataclass(frozen=True)
class Attack:
    """What each of so many connections sends, piece after piece, from the beginning again when it was closed, or, where
    it `repeats`, at its end; `every` seconds a piece, or as fast as it is taken. What is answered is read away."""

    name: str
    service: str
    connections: int = 0
    pieces: tuple[bytes, ...] = ()
    repeats: bool = True
    every: float = 0.0


def attacks() -> list[Attack]:
    """Inputs that have stalled or filled a server, here or elsewhere; the first is none, for comparison."""
    forged = b"Stripe-Signature: t=%d,v1=%s\r\n" % (time.time(), b"0" * 64)
    webhook = b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = b'{"id": "evt_1", "object": "event", "text": "%s"}' % (b"x" * 3500)
    a_megabyte = b"x" * (1 << 20)
    return [
        Attack("nothing", "portal"),
        Attack("nothing", "billing"),
        Attack(
            "10,000 requests in one piece",
            "portal",
            1,
            (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000,),
        ),
        Attack(
            "forged links",
            "portal",
            64,
            (b"GET /me/%s.%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"A" * 27, b"A" * 43),),
        ),
        Attack(
            "6 MB of chunks of one byte",
            "billing",
            1,
            (
                webhook + forged + b"Transfer-Encoding: chunked\r\n\r\n",
                b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n",
            ),
        ),
        Attack(
            "forged webhooks",
            "billing",
            64,
            (webhook + forged + b"Content-Length: %d\r\n\r\n" % len(body) + body,),
        ),
        Attack(
            "bodies a byte at a time",
            "billing",
            300,
            (webhook + forged + b"Content-Length: 100000\r\n\r\n", *[b"x"] * 1000),
            every=0.05,
        ),
        Attack(
            "bodies of which a byte never comes",
            "billing",
            400,
            (webhook + forged + b"Content-Length: 1048576\r\n\r\n", a_megabyte[1:]),
            repeats=False,
        ),
        Attack(
            "64 MB in one header",
            "billing",
            16,
            (webhook + b"X-Long: ", *[a_megabyte] * 64),
        ),
        Attack(
            "many headers",
            "billing",
            16,
            (webhook + b"".join(b"X-%d: y\r\n" % number for number in range(50_000)),),
        ),
    ]


class Sender:
    """One of an attack's connections."""

    def __init__(self, port: int, attack: Attack) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        endless = itertools.cycle if attack.repeats else iter
        self.pieces: Iterator[bytes] = endless(attack.pieces)
        self.left = memoryview(next(self.pieces))
        self.sent = 0

    def take(self) -> bool:
        """Read answers away; whether the server has closed."""
        try:
            return not self.socket.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def give(self) -> bool:
        """Send what is taken now; whether anything is left to send."""
        try:
            taken = self.socket.send(self.left[: 1 << 18])
        except OSError:
            return True  # full, or closed: then `take` says so
        self.sent += taken
        self.left = self.left[taken:] or memoryview(next(self.pieces, b""))
        return bool(self.left)


def send(process: Process, attack: Attack, seconds: float) -> tuple[int, float]:
    """Attack for so long; how many bytes went out, and the MB that the process takes at the end of it."""
    poll, senders, total = select.epoll(), {}, 0
    wanted = select.EPOLLIN if attack.every else select.EPOLLIN | select.EPOLLOUT

    def begin() -> None:
        sender = Sender(process.port, attack)
        senders[sender.socket.fileno()] = sender
        poll.register(sender.socket, wanted)

    for _ in range(attack.connections):
        begin()
    end = time.monotonic() + seconds
    round_at = 0.0
    while (now := time.monotonic()) < end:
        if attack.every and now >= round_at:
            round_at = now + attack.every
            for each in senders.values():
                each.give()
        for file, event in poll.poll(max(0.0, round_at - now) if attack.every else 0.1):
            each = senders[file]
            if event & ~select.EPOLLOUT and each.take():
                total += senders.pop(file).sent
                poll.unregister(file)
                each.socket.close()
                begin()
            elif event & select.EPOLLOUT and not each.give():
                poll.modify(file, select.EPOLLIN)
    memory = memory_mb(process.pid)
    for each in senders.values():
        each.socket.close()
    return total + sum(each.sent for each in senders.values()), memory


@dataclass(frozen=True)
class Stall:
    """What the probe saw of an attack."""

    attack: Attack
    probe: dict[str, Any]
    sent: int
    memory: float

    @property
    def refused(self) -> int:
        """Probes that were not answered 200."""
        statuses: dict[str, int] = self.probe["statuses"]
        return sum(number for status, number in statuses.items() if status != "200")

    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        return (
            self.attack.name,
            self.attack.service,
            f"{self.probe['answered']:,}",
            f"{self.probe['p99']:.1f}",
            f"{self.probe['longest']:.1f}",
            f"{self.refused}",
            f"{self.memory:.0f}",
            f"{self.sent / 1e6:,.1f}",
        )


def under(system: System, attack: Attack, seconds: float) -> Stall:
    """Attack for so many seconds, and probe."""
    process = system.process(attack.service)
    plan = {
        "port": process.port,
        "paths": ["/healthz"],
        "every": EVERY_SECONDS,
        "seconds": seconds + 2 * BEGIN_SECONDS,
    }
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(apart, "tests.bench.load", told=json.dumps(plan))
        time.sleep(BEGIN_SECONDS)
        sent, memory = send(process, attack, seconds)
        return Stall(attack, json.loads(probing.result()), sent, memory)


def targets(found: list[Stall]) -> list[report.Target]:
    """What was aimed at: the longest wait under anything that was sent."""
    worst = max(
        (each for each in found if each.attack.pieces), key=lambda each: each.probe["longest"]
    )
    unanswered = sum(each.refused for each in found)
    what = f"longest wait for /healthz ({worst.attack.name}, {worst.attack.service})"
    return [
        report.at_most(what, AIM_MS, worst.probe["longest"], "ms"),
        report.at_most("probes not answered 200", 0, unanswered),
        report.at_most("memory of a service at most", POD_MB, max(each.memory for each in found), "MB"),
    ]  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    with running("stalls", 100) as system, report.progress() as bar:
        task = bar.add_task("stalls", total=len(attacks()))
        found = []
        for attack in attacks():
            found.append(under(system, attack, SECONDS))
            bar.advance(task)
    title = f"/healthz while others send for {SECONDS:g} s each"
    rows = [each.cells() for each in found]
    report.conclude("stalls", title, targets(found), COLUMNS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
