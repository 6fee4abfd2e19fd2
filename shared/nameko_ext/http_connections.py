"""One client's connection: by when each part of a request must be there, in whose turn it is read and answered, and what of it counts.

A green thread a connection. It waits through the hub before each read, and in a line with all others (`http_turns.py`) for each
TURN_SECONDS of reading and answering. Only a connection's first read, and a first question that is one of PROBES, wait
for nobody: they are answered in time whatever the others ask.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any, Final, Protocol

import eventlet
from eventlet import greenio

from shared.nameko_ext.http_answers import Reply, answer_bytes, json_error
from shared.nameko_ext.http_bodies import BodyBudget, Held, NoRoom, Room
from shared.nameko_ext.http_requests import HttpRequest, RequestReader
from shared.nameko_ext.http_turns import Line
from shared.nameko_ext.readable import Readable
from shared.telemetry import get_logger

log = get_logger(__name__)

IDLE_SECONDS: Final = 15
HEADER_SECONDS: Final = 10
BODY_SECONDS: Final = 10
ANSWER_SECONDS: Final = 10
"""For the client to take an answer, from the moment it is made."""
LINGER_SECONDS: Final = 2
LINGER_BYTES: Final = 8 << 20
NEVER: Final = float("inf")
PIECE_BYTES: Final = 16 << 10
"""What is read at a time. The rest waits with the system."""
FIRST_BYTES: Final = 512
"""What is read of a newcomer before its turn: the question of a probe is shorter."""
TURN_SECONDS: Final = 0.001
"""For one connection to go on; then others get their turn."""
PROBES: Final = ("/healthz", "/readyz")
"""What a newcomer is answered without waiting for a turn: it costs nothing, and whoever asks may end the process when it is late."""
_RESET: Final = struct.pack("ii", 1, 0)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Server(Protocol):
    """What a connection belongs to."""

    accepting: bool
    """Whether what comes now may be followed by more."""
    bodies: BodyBudget
    line: Line

    def respond(self, request: HttpRequest) -> Reply:
        """The answer to a request whose head has come."""
        ...

    def unreadable(self, status: int) -> Reply:
        """The answer to what can't be read as a request."""
        ...


class _Cut(ConnectionError):
    """The connection was ended while its green thread stood in line, or was about to."""


class Connection:
    """One client's requests, one after the other.

    The server ends a connection whose `ends` has passed. The socket itself has no time-out: the exception would hold its
    own stack, and with it the connection, until it is collected.
    """

    __slots__ = (
        "_cut",
        "_held",
        "_readable",
        "_reader",
        "_server",
        "_sock",
        "_stage",
        "_turn_ends",
        "ends",
        "since",
    )

    def __init__(self, server: Server, sock: Any) -> None:
        self._server, self._sock = server, sock
        self._readable = Readable(sock)
        self._reader: RequestReader | None = None
        self._held: Held | None = None
        self._turn_ends = 0.0
        self._stage = IDLE_SECONDS
        self._cut = False
        self.since = self.ends = NEVER
        """From when to when its client may take its time, on the monotonic clock; NEVER while a request is worked on, and once it is cut.
        While a request waits for its turn there is no such end, though others may still take its place."""
        self._allow(IDLE_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether no request has begun."""
        return self._stage == IDLE_SECONDS

    def has_unread(self) -> bool:
        """Whether the client has sent bytes that nobody has taken yet."""
        with contextlib.suppress(OSError):
            return bool(self._sock.fd.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False

    def take_up(self) -> None:
        """A request has come, though its green thread has yet to wake."""
        self._stage = 0

    def take_up_unread(self) -> bool:
        """Take it up if it has come; whether it has."""
        if unread := self.has_unread():
            self.take_up()
        return unread

    def cut(self) -> None:
        """End it, without what was asked beside; whoever waits for it, or in line, wakes and finds its end."""
        self._cut = True
        self.since = self.ends = NEVER
        greenio.shutdown_safe(self._sock)
        self._server.line.call_up(self)

    def run(self) -> None:
        """Answer until it ends, and close it."""
        try:
            try:
                if self._serve() or self.has_unread():
                    self._linger()
            except _Cut:
                pass  # the client may still read what it was answered
            except (OSError, NoRoom):  # nobody takes it: without this the system would go on trying
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            self._hold(0)
            if self._reader is not None:
                self._reader.close()  # or all of this would wait for the garbage collector
            self._readable.forget()
            self._sock.close()

    def _hold(self, size: int) -> None:
        """Count so many bytes as in hand, and no longer those of before. Raises NoRoom."""
        if self._held is not None and not size:
            self._held.free()
            self._held = None
        elif size:
            if self._held is None:
                self._held = Held(self._server.bodies, lambda _: self.cut())
            self._held.hold(size)

    def _serve(self) -> bool:
        """Whether the client may still be sending when it ends. Raises OSError."""
        data = self._receive(FIRST_BYTES)  # nothing is made for a client before it speaks
        if not data:
            return False
        self._reader = reader = RequestReader()
        while True:
            reader.feed(data)
            if not (self._turn_ends or reader.requests):
                self._turn_ends = time.monotonic()
            self._hold(reader.held)
            while reader.requests:
                request = reader.requests.popleft()
                if not self._answer(request):
                    return not request.whole
            if reader.error:
                self._send(self._server.unreadable(reader.error), b"Connection: close\r\n")
                return True
            if not (self._server.accepting or reader.in_head or self.has_unread()):
                return False
            self._wait_for(HEADER_SECONDS if reader.in_fields else IDLE_SECONDS)
            if not (data := self._receive()):
                return False

    def _take_turn(self, *, first: bool = False) -> None:
        """Go on while the turn lasts, then wait for the next one. Raises _Cut."""
        if time.monotonic() > self._turn_ends and not self._cut:
            self._server.line.wait(self, first=first)
            self._turn_ends = time.monotonic() + TURN_SECONDS
        if self._cut:
            raise _Cut

    def _wait_for(self, stage: int) -> None:
        if stage != self._stage:
            self._stage = stage
            self._allow(stage)

    def _allow(self, seconds: int) -> None:
        self.since = time.monotonic()
        self.ends = self.since + seconds

    def _receive(self, most: int = PIECE_BYTES) -> bytes:
        """The next bytes, none at the end. Others get their turn meanwhile. Raises OSError."""
        while True:
            self._readable.wait()
            if self._turn_ends:  # a newcomer's first words wait for nobody
                self._take_turn()
            with contextlib.suppress(BlockingIOError):
                data: bytes = self._sock.fd.recv(most)
                return data

    def _answer(self, request: HttpRequest) -> bool:
        """Answer one request; whether the connection goes on. Raises OSError."""
        self._stage = 0
        self.ends = NEVER
        if self._turn_ends or request.path not in PROBES:
            self._take_turn()
        else:
            self._turn_ends = time.monotonic()
        self.since = NEVER
        request.connection = self
        bodiless = request.method == "HEAD"
        try:
            response = self._server.respond(request)
        except Exception:
            log.exception("request failed")
            response = json_error(500)
        # What was answered without its body, or without its end, has a connection that nobody will read.
        goes_on = request.keep_alive and request.whole
        if goes_on and not self._server.accepting:
            goes_on = bool(self._reader and self._reader.has_more) or self.has_unread()
        connection = b"Connection: close\r\n" if not goes_on else b""
        if goes_on and request.http_1_0:
            connection = b"Connection: keep-alive\r\n"
        try:
            self._send(response, connection, bodiless=bodiless)
        except ValueError:
            log.exception("answer can't be sent")
            self._send(json_error(500), connection, bodiless=bodiless)
        return goes_on

    def _send(self, response: Reply, connection: bytes, *, bodiless: bool = False) -> None:
        data = answer_bytes(response, bodiless=bodiless, connection=connection)
        self._stage = 0
        self._allow(ANSWER_SECONDS)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            sent = self._sock.fd.send(data)
        if sent < len(data):
            behind = self._reader.held if self._reader is not None else 0
            self._hold(len(data) + behind)
            self._sock.sendall(memoryview(data)[sent:])
            self._hold(behind)

    def read_body(self, request: HttpRequest, room: Room) -> bytes:
        """See `BodyReader`."""
        room.expect(request.length)
        try:
            if not request.whole:
                self._read_rest(request, room)
            self._keep(request, room)
            return room.whole()
        except (NoRoom, TimeoutError):  # a whole crowd may hear so at once
            room.free()
            self.ends = NEVER
            self._take_turn(first=True)
            raise

    def _read_rest(self, request: HttpRequest, room: Room) -> None:
        reader = self._reader
        assert reader is not None
        self._allow(BODY_SECONDS)
        with eventlet.Timeout(BODY_SECONDS, TimeoutError()):
            if request.expects and not request.pieces:
                self._sock.sendall(_CONTINUE)
            while not request.whole:
                self._keep(request, room)
                if reader.error:
                    raise ValueError
                if not (data := self._receive()):
                    raise ConnectionError
                reader.feed(data)
        self.since = self.ends = NEVER

    @staticmethod
    def _keep(request: HttpRequest, room: Room) -> None:
        if request.pieces:
            room.add(b"".join(request.pieces))
            request.pieces.clear()

    def _linger(self) -> None:
        """Say that we are done, then take what is still coming: closed on unread bytes, a connection is reset and the
        client may never see our answer. Raises OSError."""
        self._stage = 0
        self._allow(LINGER_SECONDS)
        self._sock.shutdown(socket.SHUT_WR)
        left = LINGER_BYTES
        while left > 0 and (taken := len(self._receive())):
            left -= taken
