"""One request to an endpoint that may be anything: over real sockets, with certificates of a test's own."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from services.notifier.adapters.hosts.caller import MOST_BYTES, HostCaller, read_retry_after
from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hooks import Answered
from tests.fixtures.certificates import make_certificate

LONG, SHORT = 10.0, 0.5
"""What an attempt may take here in all: of a host that ends by itself, on however busy a machine, and of one that does not."""
NAME = "hooks.example.com"

Host = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in (NAME, "other.example.com")}


@contextmanager
def serving(host: Host) -> Iterator[int]:
    """A host that treats each connection so, at a port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                connection.settimeout(10)
                host(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.close()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", 1), 0.01)


def call(
    host: Host, scheme: str = "http", trusted: Path | None = None, **options: object
) -> Answered:
    """One attempt at it, which ends in time whatever it does."""
    given = {
        "look_up": lambda name, port: ["127.0.0.1"],
        "is_allowed": lambda address: address == "127.0.0.1",
        "seconds": LONG,
        "certificates": str(trusted) if trusted else None,
    }
    caller = HostCaller(**(given | options))  # type: ignore[arg-type]
    with serving(host) as port:
        began = time.monotonic()
        answer = caller.post(
            Target(scheme, NAME, port, "/in?k=1"), b'{"a":1}', {"webhook-id": "evh_1"}
        )
        assert time.monotonic() - began < LONG + 5
    return answer


def saying(*pieces: bytes, pause: float = 0.0, over: int = 1) -> Host:
    """A host that reads the request and says this."""

    def host(connection: socket.socket) -> None:
        connection.recv(65536)
        for _ in range(over):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)

    return host


def silent(connection: socket.socket) -> None:
    """A host that says nothing until its caller has gone."""
    while connection.recv(65536):
        pass


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "status", "error"),
    [
        pytest.param(saying(OK), 200, None, id="well"),
        pytest.param(saying(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, None, id="no-content"),
        pytest.param(saying(b"HTTP/1.1 100 Continue\r\n\r\n", OK), 200, None, id="continue-first"),
        pytest.param(saying(OK.replace(b"200", b"500")), 500, "http_500", id="500"),
        pytest.param(saying(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"), 302, "http_302", id="redirect"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nonly"), 200, None, id="lies-about-its-length"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 65536), 200, None, id="a-gigabyte"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"), 200, None, id="packed"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n", b"X: " + b"a" * 1000 + b"\r\n", over=1), None, "no_answer", id="half-a-head"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 2 * MOST_BYTES), None, "too_large", id="endless-head"),
        pytest.param(saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 20000), None, "too_large", id="endless-continue"),
        pytest.param(saying(b"H", pause=0.3, over=100), None, "unreadable", id="no-http"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n", b"a", pause=0.3, over=100), None, None, id="drips"),
        pytest.param(saying(b""), None, "no_answer", id="hangs-up"),
        pytest.param(silent, None, "timeout", id="says-nothing"),
        pytest.param(saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), None, "unreadable", id="upgrade"),
        pytest.param(saying(b"\x00\xff" * 500), None, "unreadable", id="noise"),
    ],
)  # fmt: skip
def test_a_host_that_misbehaves_costs_one_attempt_of_a_bounded_time(
    host: Host, status: int | None, error: str | None
) -> None:
    """Slow, false, endless or rude: the attempt ends in time, with a word for it, and nothing is followed."""
    never_ends = status is None and error in (None, "timeout")
    answer = call(host, seconds=SHORT if never_ends else LONG)
    assert answer.status == status
    if status is None and error is None:
        assert answer.error in ("timeout", "unreadable")
    else:
        assert answer.error == error


def test_what_is_sent_is_a_request_with_the_bytes_that_were_signed() -> None:
    """To the name, at the address that was looked up."""
    got: list[bytes] = []

    def host(connection: socket.socket) -> None:
        got.append(connection.recv(65536))
        connection.sendall(OK)

    assert call(host).delivered
    head, _, body = got[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /in?k=1 HTTP/1.1"
    assert lines[1].startswith(b"Host: hooks.example.com:")
    assert b"webhook-id: evh_1" in lines
    assert body == b'{"a":1}'


def test_the_name_is_looked_up_once() -> None:
    """What answers with another address at the second question (rebinding) is never asked a second time."""
    asked: list[str] = []

    def rebinding(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    assert call(saying(OK), look_up=rebinding).delivered
    assert asked == [NAME]


def tls(certificate: Path, key: Path) -> Host:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, before: names.append(name)

    def host(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(OK if names[-1] == NAME else OK.replace(b"200", b"421"))

    return host


def test_the_certificate_is_the_names(certificates: dict[str, tuple[Path, Path]]) -> None:
    """The connection is to an address; name and certificate are checked all the same, and the name is told (SNI)."""
    certificate, key = certificates[NAME]
    assert call(tls(certificate, key), "https", certificate).delivered
    other, others_key = certificates["other.example.com"]
    assert call(tls(other, others_key), "https", other).error == "tls"
    assert call(tls(certificate, key), "https").error == "tls"


@pytest.mark.parametrize("host", [saying(b"plain"), silent])
def test_a_handshake_that_is_none_ends(
    host: Host, certificates: dict[str, tuple[Path, Path]]
) -> None:
    """Plain text where TLS was expected, and a handshake that never goes on."""
    answer = call(host, "https", certificates[NAME][0], seconds=SHORT)
    assert answer.error in ("tls", "timeout")


def test_nobody_at_home_is_a_failed_attempt() -> None:
    """Refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    caller = HostCaller(loopback=True, look_up=lambda name, port: ["127.0.0.1"])
    assert caller.post(Target("http", "localhost", port, "/"), b"", {}).error == "connection"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), ("Mon, 23 Nov 2026 12:01:00 GMT", 60), ("Mon, 23 Nov 2020 12:00:00 GMT", 0),
     ("-5", None), ("soon", None), ("", None), (None, None), ("9" * 400, 10**8)],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(text: str | None, seconds: int | None) -> None:
    """Anything else is as if it were not there."""
    now = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    wanted = None if seconds is None else dt.timedelta(seconds=seconds)
    assert read_retry_after(text, now) == wanted


def test_in_green_threads_nobody_waits_for_another(
    certificates: dict[str, tuple[Path, Path]],
) -> None:
    """As in the notifier's process: a look-up that hangs and a handshake that never ends have an end, and the good host is served at
    once meanwhile."""
    certificate, key = certificates[NAME]
    with serving(tls(certificate, key)) as port:
        told = subprocess.run(
            [sys.executable, "-m", "tests.contract.green_hosts", str(port), str(certificate)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    found = json.loads(told.stdout)
    status, error, seconds = found.pop("well")
    assert (status, error) == (200, None)
    assert seconds < min(one[2] for one in found.values() if one[1] == "timeout")
    assert found.pop("wrong name")[1] == "tls"
    assert {name: one[:2] for name, one in found.items()} == {
        "hangs": [None, "timeout"],
        "hangs too": [None, "timeout"],
        "no handshake": [None, "timeout"],
        "no answer": [None, "timeout"],
    }
    assert all(one[2] < 20 for one in found.values())
