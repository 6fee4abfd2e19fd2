"""HTTP/1.1 on one connection: how strictly a request is read, and by when each part of it must be there.

eventlet's own protocol takes headers that were cut off for whole ones and runs them, waits indefinitely for a line or for the reader of
an answer that trickles, reads a chunk's size without a limit, and lets a proxy and us see two different requests in one.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

import eventlet
from eventlet import greenio, wsgi
from nameko.web.server import HttpOnlyProtocol

from shared.telemetry import get_logger

log = get_logger(__name__)

MAX_CONNECTIONS: Final = 10_500
OTHER_FILES: Final = 400
"""File descriptors that are no client's: database, broker, Stripe, SendGrid, Python's own."""
IDLE_SECONDS: Final = 15
HEADER_SECONDS: Final = 10
ANSWER_SECONDS: Final = 10
"""For the client to take an answer, from the moment it is made, and to send what it still announced."""
LEAVING_SECONDS: Final = 2
READ_AWAY_BYTES: Final = 8 << 20

NEVER: Final = float("inf")
PIECE_BYTES: Final = 8 << 10
TURN: Final = 16
"""Requests that come together on one connection and are answered before others get their turn."""

LOCK_DOWN: Final = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
)
"""On every answer, whatever it says and whoever makes it: under a customer's link the address itself is a secret, and what else
we answer is no cache's and no frame's business either. (A 404, 405, 308, 414 or 501 may be cached unless it says no.)"""

_RESET: Final = struct.pack("ii", 1, 0)
_SIZE_LINE_BYTES: Final = 200
_MOST_TRAILERS: Final = 50
_LENGTH: Final = re.compile(r"[0-9]{1,15}\Z")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n\Z")
_TARGET: Final = re.compile(r"[!-~]+\Z")
_NO_VALUE: Final = re.compile(r"[\x00\r\n]")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Connection(list[Any]):
    """A connection as eventlet keeps it (address, socket, state), with the moment by which it must get on."""

    __slots__ = ("ends",)

    def __init__(self, address: Any, sock: Any) -> None:
        super().__init__([address, sock, wsgi.STATE_IDLE])
        self.ends = time.monotonic() + IDLE_SECONDS
        """On the monotonic clock; NEVER while a request is worked on."""

    @property
    def idle(self) -> bool:
        """Whether no request has begun."""
        return bool(self[2] == wsgi.STATE_IDLE)

    def has_unread(self) -> bool:
        """Whether the client has sent bytes that nobody has taken yet."""
        with contextlib.suppress(OSError):
            return bool(self[1].fd.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False

    def cut(self) -> None:
        """End it; whoever waits for it wakes and finds its end."""
        greenio.shutdown_safe(self[1])


def most_connections() -> int:
    """How many connections this process can hold: MAX_CONNECTIONS, or what its limit of open files leaves.

    The soft limit is raised first, as far as it may be.
    """
    wanted = MAX_CONNECTIONS + OTHER_FILES
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files >= wanted:
        return MAX_CONNECTIONS
    files = wanted if most_files == resource.RLIM_INFINITY else min(wanted, most_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
    if files == wanted:
        return MAX_CONNECTIONS
    most = max(files - OTHER_FILES, files // 4)
    log.warning("fewer connections than usual: few open files are allowed", files=files, most=most)
    return most


class Protocol(HttpOnlyProtocol):
    """One connection's requests, one after the other.

    The server ends a connection whose `ends` has passed. The socket itself has no time-out: the exception would hold its
    own stack, and with it the connection, until it is collected.
    """

    conn_state: Connection
    rfile: Any
    environ: Any
    application: Any
    _hung_up = False
    _requests = 0

    def hang_up(self) -> None:
        """End the connection after this answer; what the client still sends is not waited for."""
        self.close_connection = True
        self._hung_up = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (_CutOff, UnicodeError):  # UnicodeError: a Host label over 63 characters
            self.close_connection = True

    def _read_request_line(self) -> Any:
        self.conn_state.ends = time.monotonic() + IDLE_SECONDS
        line = super()._read_request_line()
        if line in (
            b"\r\n",
            b"\n",
        ):  # RFC 9112, 2.2: one that stands before a request is no request
            line = super()._read_request_line()
        if len(line) >= self.server.url_length_limit:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return b""
        if line and line[-1:] != b"\n":
            raise _CutOff
        self._requests += 1
        if self._requests % TURN == 0:  # when they all came together, nothing else would wait
            self.conn_state[2] = wsgi.STATE_REQUEST
            eventlet.sleep(0)
        self.conn_state.ends = time.monotonic() + HEADER_SECONDS
        return line

    def parse_request(self) -> bool:
        self.rfile = _WholeLines(self.rfile)  # eventlet puts the old one back
        try:
            if not super().parse_request():
                return False
        except (wsgi.HeaderLineTooLong, wsgi.HeadersTooLarge):
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False
        if self._is_ambiguous():
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        return True

    def _is_ambiguous(self) -> bool:
        """Whether a proxy in front of us may have understood another request than we do (RFC 9112, 3.2, 5.1, 6.3)."""
        headers = self.headers
        if not _TARGET.match(self.path):
            return True
        if headers.defects or any(_NO_VALUE.search(value) for _, value in headers.raw_items()):
            return True
        http_1_1 = self.request_version == "HTTP/1.1"
        if len(headers.get_all("Host", ())) != 1 and (http_1_1 or "Host" in headers):
            return True
        lengths = headers.get_all("Content-Length", ())
        if lengths and (len(lengths) > 1 or not _LENGTH.match(lengths[0])):
            return True
        codings = headers.get_all("Transfer-Encoding", ())
        if codings and lengths:
            return True
        return bool(codings) and not (http_1_1 and [one.lower() for one in codings] == ["chunked"])

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that could not be read: like every other error of ours, without what the client said.

        A version that we don't speak is 400 as well: who counts 5xx counts our own errors.
        """
        error = _Error(HTTPStatus.BAD_REQUEST if code >= 500 else code)
        headers = [*locked_down(error.headers), ("Connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.wfile.write(f"HTTP/1.1 {error.status}\r\n{head}\r\n".encode() + error.body)
        self.hang_up()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["wsgi.input"] = environ["eventlet.input"] = _Body(environ["wsgi.input"])
        return environ

    def handle_one_response(self) -> None:
        self.conn_state.ends = NEVER
        self.application = self._answer
        super().handle_one_response()

    def _answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        def start_locked(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, locked_down(headers))

        application: Application = self.server.app
        body = environ["eventlet.input"]
        try:
            made = application(environ, start_locked)
        except Exception:
            log.exception("request failed")
            error = _Error(HTTPStatus.INTERNAL_SERVER_ERROR)
            start_locked(error.status, error.headers)
            made = [] if self.command == "HEAD" else [error.body]
        if not body.ended:  # answered without it, or without its end: nobody will read it
            self.hang_up()
        self.conn_state.ends = time.monotonic() + ANSWER_SECONDS
        return made

    def finish(self) -> None:
        try:
            self.wfile.flush()
            if self._hung_up or self.conn_state.has_unread():
                self._leave()
        except OSError:  # nobody takes it: without this the system would go on trying
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.rfile.close()  # left open when flushing fails, and the socket with it until it is collected
        super().finish()
        self.environ = self.application = (
            None  # they lead back here: free now, not when it is collected
        )

    def _leave(self) -> None:
        """Say that we are done, then take what is still coming: closed on unread bytes, a connection is reset and the
        client may never see our answer."""
        self.conn_state[2] = wsgi.STATE_REQUEST
        self.conn_state.ends = time.monotonic() + LEAVING_SECONDS
        self.connection.shutdown(socket.SHUT_WR)
        left = READ_AWAY_BYTES
        while left > 0 and (taken := len(self.connection.recv(1 << 16))):
            left -= taken


def locked_down(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """An answer's headers with those of LOCK_DOWN that it does not have."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return [*own, *(one for one in LOCK_DOWN if one[0].lower() not in names)]


class _Error:
    """An answer that is made here, since no entrypoint made one."""

    def __init__(self, code: int) -> None:
        status = HTTPStatus(code)
        self.status = f"{status.value} {status.phrase}"
        self.body = json.dumps({"error": status.phrase}).encode() + b"\n"
        self.headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(self.body))),
        ]


class _CutOff(Exception):
    """The connection ended in the middle of a request's head."""


class _WholeLines:
    """A reader of lines that knows a line from the beginning of one."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._lines.readline(size)
        if line[-1:] != b"\n":
            raise _CutOff
        return line


class _Body(wsgi.Input):
    """A request's body, read as RFC 9112 has it and no other way: what it is not raises ValueError, an early end OSError.

    Each read returns what is there: nothing is set aside for what a client announces and does not send.
    """

    ended: bool
    """Whether all of it was read."""

    def __init__(self, given: wsgi.Input) -> None:
        super().__init__(
            given.rfile,
            given.content_length,
            None,
            given.wfile,
            given.wfile_line,
            given.chunked_input,
        )
        self.ended = not self.chunked_input and not self.content_length

    def read(self, length: int = PIECE_BYTES) -> bytes:
        """The next piece, some bytes but not more than `length`; nothing at the end."""
        if self.ended:
            return b""
        if self.should_send_hundred_continue:
            self.send_hundred_continue_response()
            self.is_hundred_continue_response_sent = True
        if self.chunked_input and self.position >= self.chunk_length:
            self._begin_chunk()
            if self.ended:
                return b""
        left = (self.chunk_length if self.chunked_input else self.content_length) - self.position
        piece: bytes = self.rfile.read(min(left, length, len(self.rfile.peek(1))))
        if not piece:
            raise OSError("the body ended early")
        self.position += len(piece)
        if len(piece) == left:
            self._end_part()
        return piece

    def _begin_chunk(self) -> None:
        size = _CHUNK_SIZE.match(self._line())
        if not size:
            raise wsgi.ChunkReadError("no size of a chunk")
        self.position, self.chunk_length = 0, int(size[1], 16)
        if self.chunk_length == 0:
            self._end_chunks()

    def _end_part(self) -> None:
        if not self.chunked_input:
            self.ended = True
        elif self._line() not in (b"\r\n", b"\n"):
            raise wsgi.ChunkReadError("more in a chunk than it said")

    def _end_chunks(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if self._line() in (b"\r\n", b"\n"):
                self.ended = True
                return
        raise wsgi.ChunkReadError("too many trailers")

    def _line(self) -> bytes:
        line: bytes = self.rfile.readline(_SIZE_LINE_BYTES)
        if not line:
            raise OSError("the body ended early")
        return line
