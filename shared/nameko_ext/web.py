"""nameko's web server, hardened: limits on time and size, shedding, health outside the worker pool, draining.

Stock, chunked bodies read as empty, half-sent requests hold workers indefinitely, a 500 shows the exception's
text, and running out of file descriptors kills the process.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeVar

import eventlet
from eventlet import wsgi
from eventlet.hubs import trampoline
from nameko.exceptions import ContainerBeingKilled
from nameko.web.handlers import HttpRequestHandler
from nameko.web.server import WebServer, WsgiApp
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.datastructures import Headers
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
)
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Request, Response

from shared import tracing
from shared.database import DatabaseUnavailable
from shared.nameko_ext.batching import Overloaded
from shared.nameko_ext.http_bodies import BodyBudget, NoRoom, Room, TooLarge
from shared.nameko_ext.http_protocol import MAX_CONNECTIONS, Connection, Protocol, most_connections
from shared.settings import SettingsError
from shared.telemetry import HTTP_SECONDS, exposition, get_logger

log = get_logger(__name__)

FORM_BYTES: Final = 16 << 10
"""The largest body of a form."""
WEBHOOK_BYTES: Final = 1 << 20
"""The largest body that a vendor may post."""
BODY_SECONDS: Final = 10
PIECES: Final = 64
"""Pieces of a body that are read before others get their turn; they can be as small as a byte."""
DRAIN_SECONDS: Final = 20
SWEEP_SECONDS: Final = 1.0
BACKLOG: Final = 1024
"""Connections not accepted yet. eventlet's 50 overflow in a burst, and who is dropped tries again after a second."""
RETRY_AFTER_SECONDS: Final = 5
WAITING_PER_WORKER: Final = 5
"""Requests that may wait for each worker; more are answered 503 at once. With batching the wait stays short."""
READINESS_SECONDS: Final = 1.0

StartResponse = Callable[..., Any]
Refuse = Callable[[Any], Response | None]
Method = TypeVar("Method", bound=Callable[..., Any])


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


class HardWebServer(WebServer):
    """The web server of a container; also answers `/healthz`, `/readyz` and `/metrics`."""

    _is_accepting: bool
    _sock: Any
    _starting: bool

    def __init__(self) -> None:
        super().__init__()
        self._connections: dict[int, Connection] = {}
        self._most = MAX_CONNECTIONS
        self.bodies = BodyBudget()
        self._readiness: tuple[float, int, dict[str, Any]] | None = None

    # -- serving ---------------------------------------------------------------------------------------

    def get_wsgi_server(
        self, sock: Any, wsgi_app: Any, protocol: Any = Protocol, debug: bool = False
    ) -> Any:
        return wsgi.Server(
            sock,
            sock.getsockname(),
            wsgi_app,
            protocol=protocol,
            debug=False,
            log_output=False,
            log_x_forwarded_for=False,
        )

    def get_wsgi_app(self) -> Any:
        routes = _Routes(self)

        def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/healthz":
                return self._answer(start_response, 200, {"ok": True})
            if path == "/readyz":
                return self._answer(start_response, *self.readiness_report())
            if path == "/metrics":
                start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
                return [exposition()]
            environ["wsgi.input_terminated"] = True  # eventlet decodes chunked bodies itself
            return routes(environ, start_response)

        return app

    @staticmethod
    def _answer(
        start_response: StartResponse, status: int, body: dict[str, Any]
    ) -> Iterable[bytes]:
        line = "200 OK" if status == 200 else "503 Service Unavailable"
        payload = json.dumps(body).encode() + b"\n"
        start_response(
            line,
            [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))],
        )
        return [payload]

    def readiness_report(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`: started, not draining, database there. A broker that is away is told,
        but takes no traffic from us: pages and webhooks work without it."""
        now = time.monotonic()
        if self._readiness and now - self._readiness[0] < READINESS_SECONDS and self._is_accepting:
            return self._readiness[1], self._readiness[2]
        failing: dict[str, str] = {}
        degraded: dict[str, str] = {}
        if not self._is_accepting:
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

    def error_response(self, request: Request, error: HTTPException) -> Response:
        """The answer to a request that no entrypoint took; a service may draw its own with
        `error_page(request, error)`."""
        hook = getattr(self.container.service_cls, "error_page", None)
        page: Response | None = hook(request, error) if hook is not None else None
        return page if page is not None else _plain_error(error)

    def setup(self) -> None:
        """Take the address before anything of the service runs. Raises SettingsError when it can't be had."""
        if self._sock is None:  # once, however many entrypoints ask
            self._sock = listen(
                self.bind_addr, shared=bool(self.container.config.get("http_shared"))
            )

    def start(self) -> None:
        if self._starting:
            return
        self._starting = True
        self._most = most_connections()
        self._serv = self.get_wsgi_server(self._sock, self.get_wsgi_app())
        self._gt = self.container.spawn_managed_thread(self.run)
        self.container.spawn_managed_thread(self._sweep)

    def run(self) -> None:
        while self._is_accepting:
            try:
                sock, address = self._sock.accept()
            except OSError as error:  # out of file descriptors: the stock server dies of it
                if not self._is_accepting:
                    return
                log.warning("connection not accepted", error=repr(error))
                eventlet.sleep(0.2)
                continue
            self._take(sock, address)

    def _take(self, sock: Any, address: Any) -> None:
        self.container.spawn_managed_thread(partial(self.process_request, sock, address))

    def process_request(self, sock: Any, address: Any) -> None:
        if len(self._connections) >= self._most and not self._make_room():
            sock.close()
            return
        connection = Connection(address, sock)
        self._connections[id(connection)] = connection
        try:
            trampoline(sock, read=True)  # nothing is made for a client before it speaks
            self._serv.process_request(connection)
        except Exception as error:  # nameko lets it kill the container
            log.info("connection broke", error=repr(error))
            sock.close()
        finally:
            self._connections.pop(id(connection), None)

    def _make_room(self) -> bool:
        """End those that have been idle for longest; whether there were any. More than one, as looking for one costs as much."""
        idle = [one for one in self._connections.values() if one.idle]
        longest = heapq.nsmallest(self._most // 100 + 1, idle, key=attrgetter("ends"))
        for connection in longest:
            del self._connections[id(connection)]
            connection.cut()
        return bool(longest)

    def _sweep(self) -> None:
        """End the connections whose time is over: one look at each a second costs less than a timer a request."""
        while True:
            eventlet.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for connection in [one for one in self._connections.values() if one.ends < now]:
                connection.cut()

    # -- stopping --------------------------------------------------------------------------------------

    def unregister_provider(self, provider: Any) -> None:
        """Close the door, and wait here, while everything that a request needs is still there, until all are answered."""
        self.close_door()
        end = time.monotonic() + DRAIN_SECONDS
        while any(not one.idle for one in self._connections.values()) and time.monotonic() < end:
            eventlet.sleep(0.02)
        super().unregister_provider(provider)

    def close_door(self) -> None:
        """Take no new connection and end the idle ones; what was accepted is answered."""
        if not self._is_accepting:
            return
        self._is_accepting = False
        self._serv.keepalive = False
        self._gt.kill()
        self._take_waiting()
        self._sock.close()
        for connection in self._connections.values():
            if connection.idle and connection.has_unread():  # its green thread has yet to wake
                connection[2] = wsgi.STATE_REQUEST
            elif connection.idle:
                connection.cut()

    def _take_waiting(self) -> None:
        """Those that the system has accepted for us: closed with the listener, they would be reset."""
        self._sock.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                self._take(*self._sock.accept())


class Answer(Response):
    """A whole answer whose bytes and headers are known: sent as it is, without what werkzeug looks at once more."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[str, str]]) -> None:
        """`headers` without Content-Length. Later ones stand beside earlier ones of the same name."""
        super().__init__(None, status, Headers(headers))
        self.response = [body]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body: list[bytes] = self.response  # type: ignore[assignment]
        length = ("Content-Length", str(sum(map(len, body))))
        start_response(self.status, [*self.headers, length])
        return body if environ["REQUEST_METHOD"] != "HEAD" else []


class _Routes(WsgiApp):
    """Finds the entrypoint for a request; errors look as the service wants them to."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        # Made once, and without a word of the client's: only whole addresses would need its host and scheme.
        self._adapter = self.url_map.bind("localhost")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, shallow=True)
        path = environ["PATH_INFO"].encode("latin1").decode(errors="replace")
        try:
            provider, values = self._adapter.match(
                path, environ["REQUEST_METHOD"], query_args=environ.get("QUERY_STRING", "")
            )
            request.path_values = values  # type: ignore[attr-defined]
            response = provider.handle_request(request)
        except HTTPException as error:
            response = self.server.error_response(request, error)
        result: Iterable[bytes] = response(environ, start_response)
        return result


def _plain_error(error: HTTPException) -> Response:
    response = Response(
        json.dumps({"error": error.name}) + "\n", error.code, content_type="application/json"
    )
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    if isinstance(error, RequestRedirect):
        response.headers["Location"] = error.new_url.removeprefix("http://localhost")
    return response


class Http(HttpRequestHandler):
    """HTTP entrypoint: what its head already condemns is refused, then the body is read, bounded in time, in size and by what
    all bodies may take together; only then a worker is taken."""

    server = HardWebServer()

    def __init__(
        self,
        method: str,
        url: str,
        *,
        refuse: Refuse | None = None,
        body_limit: int = FORM_BYTES,
        **kwargs: Any,
    ) -> None:
        super().__init__(method, url, **kwargs)
        self._refuse, self._body_limit = refuse, body_limit
        self._seconds: dict[tuple[str, int], Any] = {}

    def handle_request(self, request: Any) -> Response:
        started = time.perf_counter()
        outside = request.environ.get("HTTP_TRACEPARENT", "")
        with tracing.http_server(request.method, self.url, outside) as span:
            response = self._respond(request)
            span.answered(response.status_code)
        kind = (request.method, response.status_code)
        seconds = self._seconds.get(kind)
        if seconds is None:  # looked up once: a look-up by labels costs more than the observation
            seconds = self._seconds[kind] = HTTP_SECONDS.labels(
                self.container.service_name, request.method, self.url, response.status_code
            )
        seconds.observe(time.perf_counter() - started)
        return response

    def _respond(self, request: Any) -> Response:
        request.shallow = False
        if self._refuse is not None and (refusal := self._refuse(request)) is not None:
            return refusal
        if request.method in ("GET", "HEAD"):
            return self._work(request)
        with self.server.bodies.room(self._body_limit) as room:
            try:
                with eventlet.Timeout(BODY_SECONDS, _BodyTimeout()):
                    _take_body(request, room)
            except _BodyTimeout:
                return _plain_error(RequestTimeout())
            except NoRoom:
                return _busy()
            except TooLarge:
                return _plain_error(RequestEntityTooLarge())
            except (OSError, ValueError):
                return _plain_error(BadRequest())
            return self._work(request)

    def _work(self, request: Any) -> Response:
        pool = self.container.workers
        if pool.free() <= 0 and pool.waiting() > WAITING_PER_WORKER * self.container.max_workers:
            return _busy()
        try:
            # In this connection's own green thread: a second one for each request cost a fifth of the rate.
            result = self.container.run_here(self, (request,), request.path_values, {})
            answer: Response = self.response_from_result(result)
        except Exception as error:
            return self.response_from_exception(error)
        return answer

    def response_from_exception(self, exc: Exception) -> Response:
        if isinstance(exc, HTTPException):
            return _plain_error(exc)
        if isinstance(exc, Overloaded | ContainerBeingKilled):
            return _busy()
        away = isinstance(exc, DatabaseUnavailable)
        if away:
            log.error("request failed", route=self.url, away=True, reason=str(exc))
        else:
            log.error("request failed", route=self.url, exc_info=exc, away=False)
        hook = getattr(self.container.service_cls, "failure_page", None)
        if hook is not None:
            page: Response = hook(exc)
            return page
        if away:  # whoever sent it (Stripe, SendGrid) sends it again
            return Response(
                '{"error": "unavailable"}\n',
                503,
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
                content_type="application/json",
            )
        return Response('{"error": "internal"}\n', 500, content_type="application/json")


def _take_body(request: Any, room: Room) -> None:
    """Read the body into the request. Raises NoRoom, TooLarge, and for what is no whole body OSError or ValueError."""
    body = request.environ["wsgi.input"]
    room.expect(body.content_length or 0)
    for number, piece in enumerate(iter(body.read, b""), 1):
        room.add(piece)
        if number % PIECES == 0:
            eventlet.sleep(0)
    request._cached_data = room.whole()  # where werkzeug keeps a body that was read


def _busy() -> Response:
    """More than can be done now: said at once, so that whoever asks comes back instead of waiting."""
    return Response("busy\n", 503, {"Retry-After": "1"})


class _BodyTimeout(Exception):
    """The request's body did not arrive in time."""


def http(
    method: str, url: str, *, refuse: Refuse | None = None, body_limit: int = FORM_BYTES
) -> Callable[[Method], Method]:
    """Decorate a method that answers `method` (comma-separated) requests at `url` with a werkzeug Response.

    `refuse` is asked first, with the request's head: its answer, when it gives one, is sent at once and the body is not read.
    What the address named is in `request.path_values`. A body over `body_limit` bytes is 413.
    """
    decorator: Callable[[Method], Method] = Http.decorator(
        method, url, refuse=refuse, body_limit=body_limit
    )
    return decorator
