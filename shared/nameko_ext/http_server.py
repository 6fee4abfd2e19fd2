"""The HTTP server of a service: what it answers itself, routes, crowds of connections, draining."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import resource
import socket
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final

import eventlet
from eventlet import greenio
from nameko.extensions import ProviderCollector, SharedExtension
from nameko.web.server import parse_address
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from shared.nameko_ext.http_answers import Answer, Reply, json_answer, json_error, plain_error
from shared.nameko_ext.http_bodies import BODY_BUDGET, BodyBudget
from shared.nameko_ext.http_connections import Connection
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.http_routes import Routes
from shared.nameko_ext.http_turns import Line
from shared.settings import SettingsError
from shared.telemetry import error_text, exposition, get_logger

log = get_logger(__name__)

MAX_CONNECTIONS: Final = 10_500
OTHER_FILES: Final = 500
"""File descriptors that are none of its clients': of a second server, database, broker, Stripe, SendGrid, Python's own."""
BACKLOG: Final = 1024
"""Connections not accepted yet. eventlet's 50 overflow in a burst, and who is dropped tries again after a second."""
UNREAD_BYTES: Final = 64 << 10
"""What the system is to keep of a client's words until they are read (Linux takes twice as much). It would grow to megabytes for each of
thousands, which count as the pod's memory, and are freed at the close of one, all at once."""
DRAIN_SECONDS: Final = 20
SWEEP_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 1.0
"""What each client has to get on in, however many others want in."""
ROOM_SECONDS: Final = 0.05
"""How often a newcomer looks for room."""
READINESS_SECONDS: Final = 1.0
METRICS_SECONDS: Final = 0.1
"""For how long metrics are told again as they are: to write them down takes ten milliseconds, in which nothing else is done."""

TURN_CONNECTIONS: Final = 32
"""Connections that are begun, or ended, at a time."""


def _cut(connections: Iterable[Connection]) -> None:
    """End them, some at a time: each wakes a green thread, and those thousands at once would hold everybody else up."""
    for number, connection in enumerate(connections, 1):
        connection.cut()
        if number % TURN_CONNECTIONS == 0:
            eventlet.sleep(0)


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


def listen(address: tuple[str, int], *, shared: bool = False, setting: str = "HTTP_ADDRESS") -> Any:
    """A socket that listens on `address`, which `setting` names, alone there unless `shared`: eventlet's own default lets a second
    process on this machine take the same address, and each connection is answered by one or the other.

    Raises SettingsError when the address is taken, not this machine's, or not ours to take.
    """
    try:
        sock = eventlet.listen(address, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        reason = error.strerror or str(error)
        raise SettingsError(
            f"{setting}: can't listen on {where}: {reason}.\n"
            "Set it to a free host:port of this machine, or end what listens there."
        ) from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)  # of all that it accepts
    sock.settimeout(None)  # as nameko does (https://github.com/celery/kombu/issues/838)
    return sock


class HttpServer(ProviderCollector, SharedExtension):
    """The web server of a container; also answers `/healthz`, `/readyz` and `/metrics`."""

    container: Any
    setting = "HTTP_ADDRESS"
    """What names its address. A subclass is a second server, at another."""
    body_budget = BODY_BUDGET
    """Bytes that the bodies of its requests may take together."""
    most_connections = MAX_CONNECTIONS

    def __init__(self) -> None:
        super().__init__()
        self.accepting = True
        self.bodies = BodyBudget(self.body_budget)
        self.line = Line()
        self._listener: Any = None
        self._accept_thread: Any = None
        self._connections: set[Connection] = set()
        self._most = MAX_CONNECTIONS
        self._readiness: tuple[float, int, dict[str, Any]] | None = None
        self._told: tuple[float, Answer] | None = None
        self._own = self.own_answers()

    def own_answers(self) -> dict[str, Callable[[], Reply]]:
        """What it answers by itself, by path."""
        healthy = json_answer(200, {"ok": True})
        return {
            "/healthz": lambda: healthy,
            "/readyz": lambda: json_answer(*self.readiness_report()),
            "/metrics": self._metrics,
        }

    def address(self) -> str | None:
        """Where it listens, `host:port`; None: nowhere."""
        address: str = self.container.config["WEB_SERVER_ADDRESS"]
        return address

    def setup(self) -> None:
        """Take the address before anything of the service runs. Raises SettingsError when it can't be had."""
        address = self.address()
        if self._listener is None and address is not None:  # once, however many entrypoints ask
            shared = bool(self.container.config.get("http_shared"))
            self._listener = listen(parse_address(address), shared=shared, setting=self.setting)

    def start(self) -> None:
        if self._accept_thread is not None or self._listener is None:
            return
        self._most = min(self.most_connections, most_connections())
        self._routes = Routes(one.get_url_rule() for one in self._providers)
        self._accept_thread = self.container.spawn_managed_thread(self._accept)
        self.container.spawn_managed_thread(self._sweep)

    # -- requests --------------------------------------------------------------------------------------

    def respond(self, request: HttpRequest) -> Reply:
        """The answer to a request whose head has come."""
        own = self._own.get(request.path)
        if own is not None:
            return own()
        try:
            provider, request.path_values = self._routes.find(
                request.method, request.path, request.query
            )
            response: Reply = provider.handle_request(request)
        except HTTPException as error:
            return self.error_response(request, error)
        return response

    def unreadable(self, status: int) -> Reply:
        """The answer to what can't be read as a request."""
        return json_error(status)

    def error_response(self, request: HttpRequest, error: HTTPException) -> Reply:
        """The answer to a request that no entrypoint took; a service may draw its own with
        `error_page(request, error)`."""
        hook = getattr(self.container.service_cls, "error_page", None)
        page: Reply | None = hook(request, error) if hook is not None else None
        return page if page is not None else plain_error(error)

    def _metrics(self) -> Answer:
        if self._told is None or time.monotonic() - self._told[0] > METRICS_SECONDS:
            content = [("Content-Type", CONTENT_TYPE_LATEST)]
            self._told = time.monotonic(), Answer(exposition(), 200, content)
        return self._told[1]

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
        for number in itertools.count(1):
            if number % TURN_CONNECTIONS == 0:
                eventlet.sleep(0)
            try:
                sock, _ = self._listener.accept()
            except OSError as error:  # out of file descriptors: the stock server dies of it
                if not self.accepting:
                    return
                log.warning("connection not accepted", error=error_text(error))
                eventlet.sleep(0.2)
                continue
            self._wait_for_room()  # others wait with the system, in their order
            self._take(sock)

    def _take(self, sock: Any) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, sock)
        self._connections.add(connection)
        self.container.spawn_managed_thread(lambda: self._run(connection))

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        except Exception as error:  # nameko lets it kill the container
            log.info("connection broke", error=error_text(error))
        finally:
            self._connections.discard(connection)

    def _wait_for_room(self) -> None:
        """Return when there are fewer connections than there may be. Those that gave way count until they are gone."""
        leaving: list[Connection] = []
        while len(self._connections) >= self._most:
            leaving = [one for one in leaving if one in self._connections] or self._make_room()
            eventlet.sleep(0 if leaving else ROOM_SECONDS)

    def _make_room(self) -> list[Connection]:
        """End those that wait for their clients, or for a turn, for longest, idle or in the middle of a request, and for PATIENCE_SECONDS at
        least; which they are. More than one, as looking for one costs as much."""
        before = time.monotonic() - PATIENCE_SECONDS
        waiting = (one for one in self._connections if one.since < before)
        longest = heapq.nsmallest(self._most // 100 + 1, waiting, key=attrgetter("since"))
        for connection in longest:
            connection.cut()
        return longest

    def _sweep(self) -> None:
        """End the connections whose time is over: one look at each a second costs less than a timer a request."""
        while True:
            eventlet.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            expired = [one for one in self._connections if one.ends < now]
            _cut(one for one in expired if one.ends < now)

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
        if not self.accepting or self._listener is None:
            return
        self.accepting = False
        if self._accept_thread is not None:
            self._accept_thread.kill()
        self._take_waiting()
        self._listener.close()
        _cut(one for one in list(self._connections) if one.idle and not one.take_up_unread())

    def _take_waiting(self) -> None:
        """Those that the system has accepted for us: closed with the listener, they would be reset."""
        self._listener.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                # eventlet leaves those plain that it accepts without waiting.
                self._take(greenio.GreenSocket(self._listener.accept()[0]))
