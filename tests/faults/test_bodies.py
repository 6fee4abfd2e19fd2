"""What strangers' bodies may cost: memory has an end, and who sends little in good time still gets through."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from local.processes import Process
from shared.nameko_ext.http_bodies import BODY_BUDGET
from tests.faults.memory import forget_most, limit_of_a_pod, megabytes, most_megabytes
from tests.faults.payloads import other_event
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.system import System

pytestmark = pytest.mark.alone
COLD = True

STRANGERS = 400
MEBIBYTE = 1 << 20
TOKEN = b"A" * 27 + b"." + b"A" * 43
HEADS = {
    "billing": b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=%d,v1=00\r\n",
    "notifier": b"POST /webhooks/sendgrid HTTP/1.1\r\nHost: x\r\n"
    b"X-Twilio-Email-Event-Webhook-Timestamp: %d\r\nX-Twilio-Email-Event-Webhook-Signature: AAAA\r\n",
    "portal": b"POST /me/" + TOKEN + b"/billing HTTP/1.1\r\nHost: x\r\nX-At: %d\r\n",
}
"""What passes for a request until the body is there."""
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


def at_once(strangers: list[socket.socket], head: bytes) -> None:
    """Each sends all but the last byte of a mebibyte, and waits."""
    for one in strangers:
        send(one, head + b"Content-Length: %d\r\n\r\n" % MEBIBYTE + b"x" * (MEBIBYTE - 1))


def by_and_by(strangers: list[socket.socket], head: bytes) -> None:
    """All send a sixteenth in turn, and wait for the last byte."""
    for one in strangers:
        send(one, head + b"Content-Length: %d\r\n\r\n" % MEBIBYTE)
    for _ in range(16):
        for one in strangers:
            send(one, b"x" * (MEBIBYTE // 16 - 1))


def in_chunks(strangers: list[socket.socket], head: bytes) -> None:
    """Each sends chunks without saying how many, and waits."""
    for one in strangers:
        send(one, head + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 15)


def send(one: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # refused already
        one.sendall(data)


def answers(strangers: list[socket.socket]) -> Counter[bytes]:
    """The statuses that they were answered so far; what was seen once is seen again."""
    found: Counter[bytes] = Counter()
    for one in strangers:
        one.setblocking(False)
        with contextlib.suppress(OSError):
            found.update(re.findall(rb"^HTTP/1\.1 (\d{3}) ", one.recv(65536, socket.MSG_PEEK)))
    return found


@contextlib.contextmanager
def crowd(process: Process, size: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=5))
            for _ in range(size)
        ]


@pytest.mark.parametrize("service", HEADS)
@pytest.mark.parametrize("way", [at_once, by_and_by, in_chunks], ids=lambda way: way.__name__)
def test_bodies_take_what_they_may_and_give_it_back(
    system: System, service: str, way: Callable[[list[socket.socket], bytes], None]
) -> None:
    """Four hundred strangers with a mebibyte each: the process stays within its pod and its budget, and when they are gone
    the memory is the system's again. Those it has no room for are told to come back."""
    process = system.stack.processes(service)[0]
    before = megabytes(process)
    forget_most(process)
    with crowd(process, STRANGERS) as strangers:
        way(strangers, HEADS[service] % time.time())

        def have_answers() -> bool:
            """those who must not wait are answered"""
            return answers(strangers).total() > STRANGERS - 2 * BODY_BUDGET // MEBIBYTE

        system.wait(have_answers, 8)
        answered = answers(strangers)
    most = most_megabytes(process)
    print(f"{service}, {way.__name__}: {before:.0f}, then {most:.0f} MiB, answers {answered}")
    assert set(answered) == ({b"413"} if service == "portal" else {b"503"})
    assert most < limit_of_a_pod()
    assert most - before < BODY_BUDGET / MEBIBYTE + 40

    def given_back() -> bool:
        """the memory is given back"""
        return megabytes(process) - before < 25

    system.wait(given_back, 5)


def test_what_stripe_sends_gets_through_meanwhile(system: System, poster: Poster) -> None:
    """While strangers hold all that bodies may take, and want more, each webhook is accepted at the first try: bodies that are
    large and slow give way."""
    process = system.stack.processes("billing")[0]
    with crowd(process, STRANGERS) as strangers:
        at_once(strangers, HEADS["billing"] % time.time())
        assert megabytes(process) > BODY_BUDGET / MEBIBYTE
        poster.post(
            [Delivery(other_event("product.updated", event_id=f"evt_room{n}")) for n in range(50)],
            over=2,
        )
        by_and_by(strangers, b"")
        poster.drain(20)
    assert poster.ledger.refused == {}
    assert len(poster.ledger.accepted) == 50
