"""The HTTP server of a service: connections, by when each part of a request must be there, crowds, draining.

A green thread a connection. It waits through the hub before each read, so that others get their turn between two pieces
of whatever a client sends; requests that came together take turns with others' by TURN.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import cached_property, lru_cache
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final

import eventlet
from eventlet import greenio
from eventlet.hubs import trampoline
from nameko.extensions import ProviderCollector, SharedExtension
from nameko.web.server import parse_address
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect
from werkzeug.wrappers import Response

from shared.nameko_ext.http_bodies import BodyBudget, Room
from shared.nameko_ext.http_requests import HttpRequest, RequestReader
from shared.settings import SettingsError
from shared.telemetry import exposition, get_logger

log = get_logger(__name__)

MAX_CONNECTIONS: Final = 10_500
OTHER_FILES: Final = 400
"""File descriptors that are no client's: database, broker, Stripe, SendGrid, Python's own."""
BACKLOG: Final = 1024
"""Connections not accepted yet. eventlet's 50 overflow in a burst, and who is dropped tries again after a second."""
IDLE_SECONDS: Final = 15
HEADER_SECONDS: Final = 10
BODY_SECONDS: Final = 10
ANSWER_SECONDS: Final = 10
"""For the client to take an answer, from the moment it is made."""
LINGER_SECONDS: Final = 2
LINGER_BYTES: Final = 8 << 20
DRAIN_SECONDS: Final = 20
SWEEP_SECONDS: Final = 1.0
READINESS_SECONDS: Final = 1.0

NEVER: Final = float("inf")
PIECE_BYTES: Final = 16 << 10
"""What is read at a time: as much work as may be done before others get their turn."""
TURN: Final = 4
"""Requests that come together on one connection and are answered before others get their turn."""

LOCK_DOWN: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
"""On every answer, whatever it says and whoever makes it: under a customer's link the address itself is a secret, and what else
we answer is no cache's and no frame's business either. (A 404, 405, 308, 414 or 501 may be cached unless it says no.)"""

_RESET: Final = struct.pack("ii", 1, 0)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = (204, 304)


# -- answers -----------------------------------------------------------------------------------------------


class Answer(Response):
    """A whole answer whose bytes and headers are known."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[str, str]]) -> None:
        """`headers` without Content-Length. Later ones stand beside earlier ones of the same name."""
        super().__init__(None, status, Headers(headers))
        self.response = [body]

    @cached_property
    def head(self) -> bytes:
        """See `head_of`. Made once: an answer that is given again and again costs nothing."""
        return head_of(self)


class PreparedAnswer:
    """An answer to many: another body each time, under a head that is made once for all that have its status and headers."""

    __slots__ = ("body", "head", "status_code")

    def __init__(self, body: bytes, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """As an `Answer`. Raises ValueError for a header that can't be sent."""
        self.body, self.status_code = body, status
        self.head = _prepared_head(status, headers)


@lru_cache(maxsize=2048)
def _prepared_head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    return head_of(Response(None, status, Headers(headers)))


Reply = Response | PreparedAnswer
"""What an entrypoint may give."""


def json_answer(status: int, body: dict[str, Any]) -> Answer:
    """A document as an answer."""
    return Answer(json.dumps(body).encode() + b"\n", status, [("Content-Type", "application/json")])


def plain_error(error: HTTPException) -> Response:
    """An error that no service draws a page for: its name, and what a client needs to go on."""
    answer = json_answer(error.code or 500, {"error": error.name})
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            answer.headers[name] = value
    if isinstance(error, RequestRedirect):
        answer.headers["Location"] = error.new_url.removeprefix("http://localhost")
    return answer


def head_of(response: Response) -> bytes:
    """Status line and headers, with those of LOCK_DOWN that it does not have; not what depends on connection, time and length.

    Raises ValueError for a header that can't be sent.
    """
    own = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
    lines = "".join([f"{name}: {value}\r\n" for name, value in own])
    return f"HTTP/1.1 {response.status}\r\n{lines}{_locks(tuple([name for name, _ in own]))}".encode("latin-1")  # fmt: skip


@lru_cache(maxsize=256)
def _locks(names: tuple[str, ...]) -> str:
    own = {name.lower() for name in names}
    return "".join(f"{name}: {text}\r\n" for name, text in LOCK_DOWN.items() if name.lower() not in own)  # fmt: skip


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def answer_bytes(response: Reply, *, bodiless: bool, connection: bytes) -> bytes:
    """An answer as it is sent; `connection` says what becomes of the connection. Raises ValueError for what can't be sent."""
    head = response.head if isinstance(response, PreparedAnswer | Answer) else head_of(response)
    if response.status_code in _BODILESS:
        return b"%s%s%s\r\n" % (head, _date(int(time.time())), connection)
    body = response.body if isinstance(response, PreparedAnswer) else response.get_data()
    length = b"Content-Length: %d\r\n" % len(body)
    return b"%s%s%s%s\r\n%s" % (head, length, _date(int(time.time())), connection, b"" if bodiless else body)  # fmt: skip


# -- one connection ----------------------------------------------------------------------------------------


class Connection:
    """One client's requests, one after the other.

    The server ends a connection whose `ends` has passed. The socket itself has no time-out: the exception would hold its
    own stack, and with it the connection, until it is collected.
    """

    __slots__ = ("_reader", "_server", "_sock", "_stage", "ends")

    def __init__(self, server: HttpServer, sock: Any) -> None:
        self._server, self._sock = server, sock
        self._reader: RequestReader | None = None
        self._stage = IDLE_SECONDS
        self.ends = time.monotonic() + IDLE_SECONDS
        """On the monotonic clock; NEVER while a request is worked on."""

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

    def cut(self) -> None:
        """End it; whoever waits for it wakes and finds its end."""
        greenio.shutdown_safe(self._sock)

    def run(self) -> None:
        """Answer until it ends, and close it."""
        try:
            try:
                if self._serve() or self.has_unread():
                    self._linger()
            except OSError:  # nobody takes it: without this the system would go on trying
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            if self._reader is not None:
                self._reader.close()
            self._sock.close()

    def _serve(self) -> bool:
        """Whether the client may still be sending when it ends. Raises OSError."""
        if not (data := self._receive()):  # nothing is made for a client before it speaks
            return False
        self._reader = reader = RequestReader()
        reader.feed(data)
        while True:
            for number in itertools.count(1):
                if not reader.requests:
                    break
                request = reader.requests.popleft()
                if number % TURN == 0:
                    self.take_up()
                    eventlet.sleep(0)
                if not self._answer(request):
                    return not request.whole
            if reader.error:
                self._send(json_error(reader.error), b"Connection: close\r\n")
                return True
            if not (self._server.accepting or reader.in_head or self.has_unread()):
                return False
            self._wait_for(HEADER_SECONDS if reader.in_fields else IDLE_SECONDS)
            if not (data := self._receive()):
                return False
            reader.feed(data)

    def _wait_for(self, stage: int) -> None:
        if stage != self._stage:
            self._stage, self.ends = stage, time.monotonic() + stage

    def _receive(self) -> bytes:
        """The next bytes, none at the end. Others get their turn meanwhile. Raises OSError."""
        while True:
            trampoline(self._sock, read=True)
            with contextlib.suppress(BlockingIOError):
                data: bytes = self._sock.fd.recv(PIECE_BYTES)
                return data

    def _answer(self, request: HttpRequest) -> bool:
        """Answer one request; whether the connection goes on. Raises OSError."""
        self._stage, self.ends = 0, NEVER
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
            goes_on = bool(self._reader and self._reader.requests)
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
        self._stage, self.ends = 0, time.monotonic() + ANSWER_SECONDS
        self._sock.sendall(data)

    def read_body(self, request: HttpRequest, room: Room) -> bytes:
        """See `BodyReader`."""
        reader = self._reader
        assert reader is not None
        room.expect(request.length)
        if not request.whole:
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
        self._keep(request, room)
        return room.whole()

    @staticmethod
    def _keep(request: HttpRequest, room: Room) -> None:
        if request.pieces:
            room.add(b"".join(request.pieces))
            request.pieces.clear()

    def _linger(self) -> None:
        """Say that we are done, then take what is still coming: closed on unread bytes, a connection is reset and the
        client may never see our answer. Raises OSError."""
        self._stage, self.ends = 0, time.monotonic() + LINGER_SECONDS
        self._sock.shutdown(socket.SHUT_WR)
        left = LINGER_BYTES
        while left > 0 and (taken := len(self._receive())):
            left -= taken


@lru_cache(maxsize=16)
def json_error(status: int) -> Answer:
    """An answer that is made here, since no entrypoint made one: without what the client said."""
    return json_answer(status, {"error": HTTPStatus(status).phrase})


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


# -- the server --------------------------------------------------------------------------------------------


def listen(address: tuple[str, int], *, shared: bool = False) -> Any:
    """A socket that listens on `address`, alone there unless `shared`: eventlet's own default lets a second process on this
    machine take the same address, and each connection is answered by one or the other.

    Raises SettingsError when the address is taken, not this machine's, or not ours to take.
    """
    try:
        sock = eventlet.listen(address, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        reason = error.strerror or str(error)
        raise SettingsError(
            f"HTTP_ADDRESS: can't listen on {where}: {reason}.\n"
            "Set it to a free host:port of this machine, or end what listens there."
        ) from None
    sock.settimeout(None)  # as nameko does (https://github.com/celery/kombu/issues/838)
    return sock


class HttpServer(ProviderCollector, SharedExtension):
    """The web server of a container; also answers `/healthz`, `/readyz` and `/metrics`."""

    container: Any

    def __init__(self) -> None:
        super().__init__()
        self.accepting = True
        self.bodies = BodyBudget()
        self._listener: Any = None
        self._accept_thread: Any = None
        self._connections: set[Connection] = set()
        self._most = MAX_CONNECTIONS
        self._readiness: tuple[float, int, dict[str, Any]] | None = None
        healthy = json_answer(200, {"ok": True})
        self._own: dict[str, Callable[[], Reply]] = {
            "/healthz": lambda: healthy,
            "/readyz": lambda: json_answer(*self.readiness_report()),
            "/metrics": lambda: Answer(exposition(), 200, [("Content-Type", CONTENT_TYPE_LATEST)]),
        }

    def setup(self) -> None:
        """Take the address before anything of the service runs. Raises SettingsError when it can't be had."""
        if self._listener is None:  # once, however many entrypoints ask
            config = self.container.config
            address = parse_address(config["WEB_SERVER_ADDRESS"])
            self._listener = listen(address, shared=bool(config.get("http_shared")))

    def start(self) -> None:
        if self._accept_thread is not None:
            return
        self._most = most_connections()
        # Bound once, and without a word of the client's: only whole addresses would need its host and scheme.
        self._routes = Map([one.get_url_rule() for one in self._providers]).bind("localhost")
        self._accept_thread = self.container.spawn_managed_thread(self._accept)
        self.container.spawn_managed_thread(self._sweep)

    # -- requests --------------------------------------------------------------------------------------

    def respond(self, request: HttpRequest) -> Reply:
        """The answer to a request whose head has come."""
        own = self._own.get(request.path)
        if own is not None:
            return own()
        try:
            provider, request.path_values = self._routes.match(
                request.path, request.method, query_args=request.query
            )
            response: Reply = provider.handle_request(request)
        except HTTPException as error:
            return self.error_response(request, error)
        return response

    def error_response(self, request: HttpRequest, error: HTTPException) -> Reply:
        """The answer to a request that no entrypoint took; a service may draw its own with
        `error_page(request, error)`."""
        hook = getattr(self.container.service_cls, "error_page", None)
        page: Reply | None = hook(request, error) if hook is not None else None
        return page if page is not None else plain_error(error)

    def readiness_report(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`: started, not draining, database there. A broker that is away is told,
        but takes no traffic from us: pages and webhooks work without it."""
        now = time.monotonic()
        if self._readiness and now - self._readiness[0] < READINESS_SECONDS and self.accepting:
            return self._readiness[1], self._readiness[2]
        failing: dict[str, str] = {}
        degraded: dict[str, str] = {}
        if not self.accepting:
            failing["server"] = "draining"
        for extension in self.container.extensions:
            for probe, found in (("readiness", failing), ("degradation", degraded)):
                check = getattr(extension, probe, None)
                problem = check() if check else None
                if problem:
                    found[type(extension).__name__] = problem
        body: dict[str, Any] = {"ready": not failing, "failing": failing, "degraded": degraded}
        status = 503 if failing else 200
        self._readiness = (now, status, body)
        return status, body

    # -- connections -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        while self.accepting:
            try:
                sock, _ = self._listener.accept()
            except OSError as error:  # out of file descriptors: the stock server dies of it
                if not self.accepting:
                    return
                log.warning("connection not accepted", error=repr(error))
                eventlet.sleep(0.2)
                continue
            self._take(sock)

    def _take(self, sock: Any) -> None:
        if len(self._connections) >= self._most and not self._evict_idle():
            sock.close()
            return
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, sock)
        self._connections.add(connection)
        self.container.spawn_managed_thread(lambda: self._run(connection))

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        except Exception as error:  # nameko lets it kill the container
            log.info("connection broke", error=repr(error))
        finally:
            self._connections.discard(connection)

    def _evict_idle(self) -> bool:
        """End those that have been idle for longest; whether there were any. More than one, as looking for one costs as much."""
        idle: Iterable[Connection] = (one for one in self._connections if one.idle)
        longest = heapq.nsmallest(self._most // 100 + 1, idle, key=attrgetter("ends"))
        for connection in longest:
            self._connections.discard(connection)
            connection.cut()
        return bool(longest)

    def _sweep(self) -> None:
        """End the connections whose time is over: one look at each a second costs less than a timer a request."""
        while True:
            eventlet.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for connection in [one for one in self._connections if one.ends < now]:
                connection.cut()

    # -- stopping --------------------------------------------------------------------------------------

    def unregister_provider(self, provider: Any) -> None:
        """Accept nothing more, and wait here, while everything that a request needs is still there, until all are answered."""
        self.stop_accepting()
        end = time.monotonic() + DRAIN_SECONDS
        while any(not one.idle for one in self._connections) and time.monotonic() < end:
            eventlet.sleep(0.02)
        super().unregister_provider(provider)

    def stop_accepting(self) -> None:
        """Take no new connection and end the idle ones; what was accepted is answered."""
        if not self.accepting:
            return
        self.accepting = False
        if self._accept_thread is not None:
            self._accept_thread.kill()
        self._take_waiting()
        self._listener.close()
        for connection in self._connections:
            if connection.idle and connection.has_unread():
                connection.take_up()
            elif connection.idle:
                connection.cut()

    def _take_waiting(self) -> None:
        """Those that the system has accepted for us: closed with the listener, they would be reset."""
        self._listener.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                # eventlet leaves those plain that it accepts without waiting.
                self._take(greenio.GreenSocket(self._listener.accept()[0]))
