"""The HTTP edge: slow clients and odd headers cost nobody else anything."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.faults.system import System

PATIENCE = 25.0
"""Longer than any limit of the server: headers and bodies have 10 s, an idle connection 15 s."""


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


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"",
    ],
    ids=["half a header", "nothing"],
)
def test_a_client_that_stops_in_the_middle_is_let_go(system: System, sent: bytes) -> None:
    """Within the limit the connection is closed, with 408 where a request had begun in full."""
    with connected(system) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        answer = read_all(connection)
        assert time.monotonic() - began < PATIENCE
        assert not answer or answer.split()[1] in (b"400", b"408")


def test_slow_clients_hold_no_worker(system: System) -> None:
    """Two hundred half-sent requests: another client is answered at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            one = stack.enter_context(connected(system))
            one.sendall(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nh")
        began = time.monotonic()
        with connected(system) as other:
            other.sendall(
                b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
            )
            assert read_all(other).split()[1] == b"400"
        assert time.monotonic() - began < 3


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
    """An answer below 500 or a closed connection; never a stack trace."""
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
