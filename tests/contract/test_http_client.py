"""Requests and answers as they are on the wire, by llhttp in the place of Python's own client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import urllib3

from shared.http_client import MOST_BYTES, HttpPool

HEAD = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: one\r\n"
SAID = HEAD + b"Content-Length: 5\r\n\r\nhello"


class Server:
    """Answers each request with these bytes, in these pieces, and ends the connection after it where it is told to."""

    def __init__(self, pieces: list[bytes], *, ends: bool) -> None:
        self.pieces, self.ends = pieces, ends
        self.requests: list[bytes] = []
        self.connections = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.connections += 1
                with connection, contextlib.suppress(OSError):
                    while asked := self._read(connection):
                        self.requests.append(asked)
                        for piece in self.pieces:
                            connection.sendall(piece)
                        if self.ends:
                            break

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        asked = b""
        while not asked.endswith((b"{}", b"\r\n\r\n")) or asked.endswith(b"Length: 2\r\n\r\n"):
            piece = connection.recv(65536)
            if not piece:
                return b""
            asked += piece
        return asked


@pytest.fixture
def serving() -> Iterator[Callable[..., tuple[Server, HttpPool]]]:
    """Starts a server; it, and a pool that asks it."""
    with contextlib.ExitStack() as ending:

        def start(*pieces: bytes, ends: bool = False) -> tuple[Server, HttpPool]:
            server = Server(list(pieces), ends=ends)
            pool = HttpPool(
                f"http://127.0.0.1:{server.port}", words=(), connections=1, timeouts=(5, 5)
            )
            thread = threading.Thread(target=server.serve)
            thread.start()
            ending.callback(server.listening.close)
            ending.callback(thread.join)
            ending.callback(server.listening.shutdown, socket.SHUT_RDWR)
            ending.callback(pool.close)
            return server, pool

        yield start


Serving = Callable[..., tuple[Server, HttpPool]]


def test_a_request_says_whom_it_asks_and_how_long_it_is(serving: Serving) -> None:
    """Once each, whatever the caller's headers are, and the connection is used again."""
    server, pool = serving(SAID)
    pool.post("/v3/mail/send", b"{}", {"Authorization": "Bearer SG.x"})
    pool.get("/v3/scopes", {})
    host = f"Host: 127.0.0.1:{server.port}\r\nAccept-Encoding: identity\r\n".encode()
    assert server.requests == [
        b"POST /v3/mail/send HTTP/1.1\r\n"
        + host
        + b"Authorization: Bearer SG.x\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /v3/scopes HTTP/1.1\r\n" + host + b"\r\n",
    ]
    assert server.connections == 1


@pytest.mark.parametrize(
    "pieces",
    [
        (SAID,),
        tuple(bytes([one]) for one in SAID),
        (HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + SAID,
        ),
    ],
)
def test_an_answer_is_read_however_it_comes(serving: Serving, pieces: tuple[bytes, ...]) -> None:
    """In one piece, byte by byte, in chunks, after what is told before it: twice on one connection."""
    server, pool = serving(*pieces)
    for _ in range(2):
        answer = pool.post("/", b"{}", {})
        assert (answer.status, answer.headers.get("x-message-id")) == (202, "one")
        assert answer.data == b"hello"
        assert "link" not in answer.headers
    assert server.connections == 1


@pytest.mark.parametrize(
    "end", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_an_answer_without_a_body_has_an_empty_one(serving: Serving, end: bytes) -> None:
    """Bytes all the same: who reads what was said finds nothing in it, and not that there is nothing to read."""
    server, pool = serving(HEAD + end)
    assert [pool.post("/", b"{}", {}).data for _ in range(2)] == [b"", b""]
    assert server.connections == 1


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"\r\nhello",
        HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(
    serving: Serving, said: bytes
) -> None:
    """Where the answer says so, and where its end is the connection's."""
    server, pool = serving(said, ends=True)
    assert [pool.post("/", b"{}", {}).data for _ in range(2)] == [b"hello", b"hello"]
    assert server.connections == 2


def test_nobody_gets_what_stands_behind_an_answer(serving: Serving) -> None:
    """A second answer to one request ends the connection: the next request must not get it."""
    server, pool = serving(SAID + SAID.replace(b"hello", b"other"))
    assert [pool.post("/", b"{}", {}).data for _ in range(2)] == [b"hello", b"hello"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 202 Acc",
        HEAD + b"Content-Length: 9\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        HEAD + b"\r\n" + b"x" * (MOST_BYTES + 1),
    ],
)
def test_an_answer_that_is_not_whole_is_none(serving: Serving, said: bytes) -> None:
    """One that breaks off, that is no HTTP, or that has no end: whether the request was heard nobody knows."""
    _, pool = serving(said, ends=True)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        pool.post("/", b"{}", {})


def test_no_header_can_begin_another_one(serving: Serving) -> None:
    """A line break in a value never leaves."""
    server, pool = serving(SAID)
    with pytest.raises(ValueError, match="line break"):
        pool.post("/", b"{}", {"Authorization": "Bearer x\r\nHost: elsewhere"})
    assert server.requests == []
