"""The HTTP edge: slow clients and odd headers cost nobody else anything."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.python_process import REPOSITORY
from local.servers import Child, free_port
from tests.faults.crowd import Crowd, allow_files
from tests.faults.memory import forget_most, limit_of_a_pod, most_megabytes
from tests.faults.system import System, answers

COLD = True
PATIENCE = 25.0
"""Seconds: longer than any limit of the server."""
AT_ONCE = 5.0
"""Seconds: as long as a busy machine may take, and less than any limit of the server."""


@contextlib.contextmanager
def connected(system: System, service: str = "billing") -> Iterator[socket.socket]:
    with socket.create_connection(
        ("127.0.0.1", system.stack.processes(service)[0].port), timeout=PATIENCE
    ) as made:
        yield made


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


def ask(system: System, sent: bytes, service: str = "billing") -> bytes:
    """All that the server says to these bytes until it closes. Raises TimeoutError when it does not."""
    with connected(system, service) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        return read_all(connection)


def statuses(answers: bytes) -> list[int]:
    """The status of each answer in a stream of them."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answers, re.MULTILINE)]


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BEGUN = b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=1,v1=00\r\n"
POST = BEGUN + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = BEGUN + b"Transfer-Encoding: chunked\r\n\r\n%s"
CLOSING = POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (GET + GET + LAST, [200, 200, 200]),
        (POST + GET + POST + LAST, [400, 200, 400, 200]),
        (CHUNKED % b"2\r\n{}\r\n0\r\n\r\n" + GET + LAST, [400, 200, 200]),
        (b"\r\n" + GET + b"\r\n" + POST + b"\r\n" + LAST, [200, 400, 200]),
    ],
    ids=["pages", "bodies between", "a chunked body", "empty lines between"],
)
def test_pipelined_requests_are_all_answered_in_order(
    system: System, sent: bytes, wanted: list[int]
) -> None:
    """Requests that come together on one connection are answered one after the other, and then it closes."""
    with connected(system) as connection:
        connection.sendall(sent)
        assert statuses(read_all(connection)) == wanted


def test_what_was_whole_is_answered_before_an_error(system: System) -> None:
    """Requests that came together with one that is none: each its answer, then the refusal, then the end."""
    assert statuses(ask(system, GET + POST + b"nonsense\r\n\r\n")) == [200, 400, 400]
    assert statuses(ask(system, GET + LAST + b"nonsense\r\n\r\n")) == [200, 200]


def test_an_offer_to_speak_http_2_is_passed_over(system: System) -> None:
    """It is served as HTTP/1.1, and so is what follows."""
    offer = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    assert statuses(ask(system, GET.replace(b"\r\n\r\n", offer) + LAST)) == [200, 200]


def test_a_client_that_expects_it_is_told_to_go_on(system: System) -> None:
    """Once its head is accepted: 100, and the answer when the body has come."""
    with connected(system) as connection:
        connection.sendall(BEGUN + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}" + LAST)
        assert statuses(read_all(connection)) == [400, 200]


LIMITS = {
    "nothing": (b"", b"", [], 15),
    "half a line": (b"POST /webho", b"", [], 15),
    "a line that trickles": (b"GET /", b"x", [], 15),
    "half a header": (BEGUN + b"X-Slow: ", b"", [], 10),
    "headers that trickle": (BEGUN, b"X: y\r\n", [], 10),
    "half a body": (BEGUN + b"Content-Length: 9\r\n\r\nh", b"", [408], 10),
    "a body that trickles": (BEGUN + b"Content-Length: 99\r\n\r\n", b"h", [408], 10),
    "chunks that trickle": (CHUNKED % b"", b"1\r\nh\r\n", [408], 10),
    "a chunk's size that trickles": (CHUNKED % b"", b"0", [408], 10),
}  # fmt: skip
"""What a client sends at first, and then each second; what it is answered; the seconds until it is let go."""


def let_go(system: System, first: bytes, then: bytes) -> tuple[list[int], float]:
    """What such a client is answered, and how long it is listened to."""
    said = b""
    began = time.monotonic()
    with connected(system) as connection, contextlib.suppress(ConnectionError):
        connection.settimeout(1)
        connection.sendall(first)
        while time.monotonic() - began < PATIENCE:
            try:
                if not (piece := connection.recv(65536)):
                    break
                said += piece
            except TimeoutError:
                connection.sendall(then)
    return statuses(said), time.monotonic() - began


@pytest.mark.punctual
def test_a_client_that_stops_or_trickles_is_let_go_in_time(system: System) -> None:
    """Whatever it is slow with: closed when the limit is over, with 408 where only the body was missing."""
    with ThreadPoolExecutor(len(LIMITS)) as pool:
        running = {
            name: pool.submit(let_go, system, first, then)
            for name, (first, then, _, _) in LIMITS.items()
        }
        found = {name: one.result() for name, one in running.items()}
    for name, (_, _, wanted, limit) in LIMITS.items():
        answered, seconds = found[name]
        assert answered == wanted, name
        assert limit - 1 < seconds < limit + 4, (name, seconds)


def test_a_client_that_does_not_read_is_let_go(system: System) -> None:
    """Answers that nobody takes fill the connection; it is closed, and until then nobody else waits."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(1)
        deaf.connect(("127.0.0.1", system.stack.processes("billing")[0].port))
        began = time.monotonic()
        with pytest.raises(
            ConnectionError
        ):  # until we can't send either, and then until it is closed
            while time.monotonic() - began < 60:
                with contextlib.suppress(TimeoutError):
                    deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                assert statuses(ask(system, LAST)) == [200]


def test_a_request_that_was_cut_off_is_not_run(system: System) -> None:
    """The client is gone in the middle of a line, of the headers or of the body: nothing is done for it."""
    for sent in (b"GET /healthz", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"):
        with connected(system) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""
    for sent in (BEGUN + b"Content-Length: 9\r\n\r\nh", CHUNKED % b"9\r\nh"):
        with connected(system) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
        assert statuses(answer) == [400]
        assert b"Bad Request" in answer  # not what the webhook's own check would say


TOKEN = "A" * 27 + "." + "A" * 43
DECIDED_BY_ITS_HEAD = {
    "no signature of Stripe's": ("billing", "POST", "/webhooks/stripe", "", 400),
    "an empty signature": ("billing", "POST", "/webhooks/stripe", "Stripe-Signature: \r\n", 400),
    "no such signature": ("billing", "POST", "/webhooks/stripe", "Stripe-Signature: x\r\n", 400),
    "no signature of SendGrid's": ("notifier", "POST", "/webhooks/sendgrid", "", 400),
    "half a signature of SendGrid's": (
        "notifier",
        "POST",
        "/webhooks/sendgrid",
        "X-Twilio-Email-Event-Webhook-Signature: AAAA\r\n",
        400,
    ),
    "a mangled link": ("portal", "POST", "/me/x/billing", "", 404),
    "a mangled link to a number": ("portal", "POST", f"/me/{TOKEN}x/cancellation/1", "", 404),
    "a mangled request": ("portal", "POST", f"/requests/{TOKEN}", "", 404),
    "an unknown address": ("portal", "POST", "/nothing", "", 404),
    "an unknown address of billing's": ("billing", "POST", "/", "", 404),
    "a method that is none": ("portal", "PUT", f"/me/{TOKEN}", "", 405),
    "a method that is none of billing's": ("billing", "PATCH", "/webhooks/stripe", "", 405),
    "a form over 16 KiB": ("portal", "POST", f"/me/{TOKEN}/billing", "", 413),
    "a question that needs no body": ("billing", "GET", "/healthz", "", 200),
    "an address with one slash too many": ("portal", "POST", f"/me//{TOKEN}/billing", "", 308),
}


@pytest.mark.parametrize("name", DECIDED_BY_ITS_HEAD)
@pytest.mark.parametrize("sends", [False, True], ids=["waiting", "sending all the same"])
@pytest.mark.parametrize("expects", [False, True], ids=["", "expecting to be told"])
def test_what_its_head_decides_is_answered_without_its_body(
    system: System, name: str, sends: bool, expects: bool
) -> None:
    """The answer is there before a byte of the body is, and whole also for a client that sends on; then the connection ends."""
    service, method, path, headers, wanted = DECIDED_BY_ITS_HEAD[name]
    expect = "Expect: 100-continue\r\n" if expects else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{expect}Content-Length: 1000000\r\n\r\n"
    )
    began = time.monotonic()
    with connected(system, service) as connection:
        connection.sendall(head.encode())
        if sends:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x" * 1_000_000)
        answer = read_all(connection)
    assert statuses(answer) == [wanted]
    assert b"\r\nConnection: close\r\n" in answer
    assert time.monotonic() - began < AT_ONCE


def test_a_form_in_chunks_ends_at_its_limit(system: System) -> None:
    """16 KiB of a form are taken, whoever says nothing of its length; one byte more is 413."""
    head = f"POST /me/{TOKEN}/billing HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size, wanted in ((16384, 404), (16385, 413)):
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size)
        assert statuses(ask(system, head.encode() + body, "portal")) == [wanted]


LOCKED = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW")
SECRET_PATHS = [
    path
    for base in (f"/me/{TOKEN}", "/me/x", f"/requests/{TOKEN[4:]}", "/requests/x")
    for path in (base, f"{base}/billing", f"{base}?from=x", base.replace("/", "//"), f"{base}/")
] + [f"/me/{TOKEN}/appointments/1.ics", f"/me/{TOKEN}/cancellation/1", "/me/%00", "/me/", "/me"]
MALFORMED = {
    "no host": b"GET /me/x HTTP/1.1\r\n\r\n",
    "no such version": b"GET /me/x HTTP/9.9\r\nHost: x\r\n\r\n",
    "a word too many": b"GET /me/x y HTTP/1.1\r\nHost: x\r\n\r\n",
    "a byte that no address has": f"GET /me/{TOKEN}?from=\xf7 HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"),
    "a control character in the address": b"GET /me/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long address": b"GET /me/x?" + b"y" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /me/x HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
    "many headers": b"GET /me/x HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "no length": b"POST /me/x HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"POST /me/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body cut off": f"POST /me/{TOKEN}/billing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".encode(),
}  # fmt: skip


def assert_locked(answer: bytes) -> None:
    """Every head in it has LOCKED, each header once."""
    heads = [one.partition(b"\r\n\r\n")[0].decode("latin-1") for one in re.split(rb"(?m)^HTTP/1\.1 ", answer)[1:]]  # fmt: skip
    assert heads
    for head in heads:
        for name, value in LOCKED.items():
            assert re.findall(rf"(?mi)^{name}: (.*?)\r?$", head) == [value], head


@pytest.mark.parametrize("method", METHODS)
def test_no_answer_below_a_link_is_kept_or_passed_on(system: System, method: str) -> None:
    """Whatever the method and the address, found or not, and whoever answers: no cache, no Referer, no frame, no index."""
    for path in SECRET_PATHS:
        answer = ask(
            system,
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(),
            "portal",
        )
        assert_locked(answer)


@pytest.mark.parametrize("name", MALFORMED)
def test_nor_is_the_answer_to_what_can_not_be_read(system: System, name: str) -> None:
    """What the server itself refuses, before there is an address to look at, is locked down like everything else; and no
    error of ours."""
    answer = ask(system, MALFORMED[name], "portal")
    assert_locked(answer)
    assert statuses(answer)[0] in (400, 414, 431)


def test_a_slash_too_many_leads_to_the_address_itself(system: System) -> None:
    """Below the same host, whatever name the client gave it, with its query."""
    answer = ask(
        system,
        f"GET /me//{TOKEN}?from=x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode(),
        "portal",
    )
    assert statuses(answer) == [308]
    assert f"\r\nLocation: /me/{TOKEN}?from=x\r\n".encode() in answer


@pytest.mark.alone
def test_many_requests_at_once_keep_nobody_waiting(system: System) -> None:
    """Ten thousand on one connection, a body in chunks of a byte, a header without end: another client is answered between them."""
    chunks = CHUNKED % (b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
    pages = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    for sent in (pages, chunks, BEGUN + b"X: " + b"x" * (64 << 20)):
        with ThreadPoolExecutor(1) as pool, connected(system) as greedy:
            reading = pool.submit(read_all, greedy)
            with contextlib.suppress(ConnectionError):  # refused and closed meanwhile
                greedy.sendall(sent)
            took = []
            for _ in range(20):
                began = time.monotonic()
                assert statuses(ask(system, LAST)) == [200]
                took.append(time.monotonic() - began)
            with contextlib.suppress(OSError):
                greedy.shutdown(socket.SHUT_RDWR)
            reading.result()
        assert max(took) < 0.5, took


@pytest.mark.alone
def test_connections_by_the_thousand_keep_nobody_waiting(system: System) -> None:
    """Begun at once, or let go at once when their time is over: another client is answered between them."""
    port = system.stack.processes("billing")[0].port
    took = []
    with Crowd(port, 5000) as crowd:
        began = time.monotonic()
        while crowd.held() and time.monotonic() - began < PATIENCE:
            asked = time.monotonic()
            assert statuses(ask(system, LAST)) == [200]
            took.append(time.monotonic() - asked)
            time.sleep(0.01)
        assert crowd.held() == 0
    assert max(took) < 0.25, max(took)


HELD = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: %s\r\n" % (b"y" * 7000) * 4, 0),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X:\r\n" * 98, 0),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 40, 4096),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 600, 4096),
]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("sent", "window"), HELD, ids=["heads", "small fields", "answers", "requests"]
)
def test_what_connections_hold_is_bounded_together(
    system: System, sent: bytes, window: int
) -> None:
    """Four thousand that don't end their head, don't take their answers, or ask on and on: those that hold most for longest are ended, the
    process stays within its pod, and another client is answered."""
    process = system.stack.processes("billing")[0]
    allow_files(4000)
    forget_most(process)
    with contextlib.ExitStack() as stack:
        for _ in range(4000):
            one = stack.enter_context(socket.socket())
            if window:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            one.settimeout(5)
            with contextlib.suppress(OSError):
                one.connect(("127.0.0.1", process.port))
                one.sendall(sent)
        assert statuses(ask(system, LAST)) == [200]
    print(f"\n{most_megabytes(process):.0f} MiB at most")
    assert most_megabytes(process) < limit_of_a_pod()

    def as_before() -> bool:
        """whoever asks is answered at once again"""
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            return statuses(ask(system, CLOSING)) == [400] and time.monotonic() - began < 0.2
        return False

    system.wait(as_before, 30)


def test_slow_clients_hold_no_worker(system: System) -> None:
    """Two hundred half-sent requests: another client is answered at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            one = stack.enter_context(connected(system))
            one.sendall(BEGUN + b"Content-Length: 9\r\n\r\nh")
        began = time.monotonic()
        with connected(system) as other:
            other.sendall(BEGUN + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
            assert read_all(other).split()[1] == b"400"
        assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Big: " + b"x" * 70_000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(5000)),
        b"Content-Length: nine\r\n",
        b"Content-Length: -1\r\n",
        b"Host: " + b"a" * 100 + b".example\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
    ids=[
        "a big header",
        "many headers",
        "a length in words",
        "a negative length",
        "a long label",
        "an encoding",
    ],
)
def test_headers_that_nobody_should_send_are_refused(system: System, headers: bytes) -> None:
    """An answer below 500 or a closed connection; never a stack trace, nor what runs here."""
    with connected(system) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(
                b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + headers
                + b"\r\n"
            )
        answer = read_all(connection)
    assert not answer or int(answer.split()[1]) < 500
    assert b"Traceback" not in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        BEGUN + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        BEGUN + b"Content-Length: +2\r\n\r\n{}",
        BEGUN + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BEGUN + b"Content-Length : 2\r\n\r\n{}",
        BEGUN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        BEGUN + b"X: y\r\n z: folded\r\nContent-Length: 2\r\n\r\n{}",
        BEGUN + b"Host: y\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /webhooks/stripe HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED % b"0x2\r\n{}\r\n0\r\n\r\n",
        CHUNKED % b"2\r\n{}0\r\n\r\n",
        CHUNKED % (b"2;" + b"x" * 5000 + b"\r\n{}\r\n0\r\n\r\n"),
        CHUNKED % (b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"),
        BEGUN + b"X: y\rContent-Length: 2\r\n\r\n{}",
        BEGUN.replace(b"HTTP/1.1", b"HTTP/0.9") + b"Content-Length: 2\r\n\r\n{}",
        BEGUN.replace(b"POST", b"post") + b"Content-Length: 2\r\n\r\n{}",
        b"From x\r\n" + BEGUN + b"Content-Length: 2\r\n\r\n{}",
        BEGUN + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "two lengths",
        "a signed length",
        "length and chunks",
        "a space before the colon",
        "another coding",
        "a folded header",
        "two hosts",
        "no host",
        "a chunk's size in C",
        "a chunk too long",
        "a chunk's size without end",
        "trailers without end",
        "a bare CR",
        "HTTP/0.9",
        "a method in small letters",
        "a From line",
        "an upgrade with a body",
        "a tunnel",
    ],
)
def test_a_request_that_a_proxy_could_read_otherwise_ends_the_connection(
    system: System, sent: bytes
) -> None:
    """400 and closed: what follows on the connection is never taken for a request of somebody else's."""
    answer = ask(system, sent + GET)
    assert statuses(answer.replace(b"HTTP/1.0", b"HTTP/1.1")) == [400]


@pytest.mark.parametrize(
    "sent",
    [
        BEGUN + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000,
        CHUNKED % ((b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 40 + b"0\r\n\r\n"),
    ],
    ids=["with its length", "in chunks"],
)
def test_a_body_over_the_limit_is_told_so(system: System, sent: bytes) -> None:
    """413, which arrives although the client was still sending."""
    assert statuses(ask(system, sent)) == [413]


FEW_FILES = 800
FEW = 300
"""The connections that a service holds when it may open FEW_FILES."""


@contextlib.contextmanager
def billing_with(system: System, files: int) -> Iterator[tuple[int, Path, Child]]:
    """The port, the log and the process of another billing, which may open so many files."""
    port, log = free_port(), system.stack.folder / "modest.log"
    child = Child(
        ["sh", "-c", f"ulimit -n {files} && exec {sys.executable} -m services.billing"],
        env={
            **system.stack.processes("billing")[0].env,
            "HTTP_ADDRESS": f"127.0.0.1:{port}",
        },
        log=log,
        cwd=REPOSITORY,
    )
    child.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), name="modest", within=30)
    yield port, log, child
    child.stop(within=30)


@pytest.fixture
def modest(system: System) -> Iterator[tuple[int, Path]]:
    """The port and the log of another billing, which may open FEW_FILES."""
    with billing_with(system, FEW_FILES) as (port, log, _):
        yield port, log


def test_over_its_connections_a_service_ends_those_idle_for_longest(
    modest: tuple[int, Path],
) -> None:
    """It fits the number to the files it may open, says so, and every newcomer is answered."""
    port, log = modest
    with Crowd(port, FEW) as old:
        assert old.held() == FEW
        with Crowd(port, 100) as young:
            assert all(answers(f"http://127.0.0.1:{port}/healthz") for _ in range(20))
            assert young.held() == 100
        assert FEW - 150 < old.held() < FEW - 100
    assert "few open files are allowed" in log.read_text()


@pytest.mark.parametrize(
    "begun",
    [BEGUN + b"Content-Length: 9\r\n\r\nh", BEGUN + b"X-Never: ends\r\nX-"],
    ids=["a body", "a head"],
)
def test_nor_do_requests_that_do_not_get_on_keep_others_out(
    modest: tuple[int, Path], begun: bytes
) -> None:
    """More than it holds have begun to ask something, and do not go on: each newcomer is answered."""
    port, _ = modest
    with contextlib.ExitStack() as stack:
        for _ in range(FEW + 100):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(begun)
        time.sleep(1)  # all are read: none is idle
        assert all(answers(f"http://127.0.0.1:{port}/healthz") for _ in range(20))


@pytest.mark.alone
def test_who_gave_way_is_gone_before_another_comes(system: System) -> None:
    """Twice as many as it holds ask on and on, so that all stand in line for their turn: it never has more connections than it may,
    and newcomers are answered, soon at once."""
    asking = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 400
    most = 1200
    with billing_with(system, most + 500) as (port, log, child), contextlib.ExitStack() as stack:
        files, at_once = Path(f"/proc/{child.pid}/fd"), []
        allow_files(2 * most)
        for _ in range(2 * most):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(0.5)
            with contextlib.suppress(OSError):
                one.connect(("127.0.0.1", port))
                one.setblocking(False)
                one.send(asking)

        def is_answered() -> bool:
            """a newcomer is answered"""
            at_once.append(len(list(files.iterdir())))
            return answers(f"http://127.0.0.1:{port}/healthz")

        system.wait(is_answered, 45)
        assert all(is_answered() for _ in range(20))
    assert max(at_once) < most + 100, at_once
    assert "connection not accepted" not in log.read_text()
