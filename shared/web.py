"""nameko's web server, hardened: limits on time and size, shedding, health outside the worker pool, draining.

Stock, chunked bodies read as empty, half-sent requests hold workers for ever, a 500 shows the exception's
text, and running out of file descriptors kills the process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

import eventlet
from eventlet import greenio, wsgi
from nameko.web.handlers import HttpRequestHandler
from nameko.web.server import HttpOnlyProtocol, WebServer, WsgiApp
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from shared import tracing
from shared.batching import Overloaded
from shared.database import DatabaseUnavailable
from shared.telemetry import HTTP_SECONDS, get_logger

log = get_logger(__name__)

BODY_LIMIT: Final = 1 << 20
HEADER_SECONDS: Final = 10
BODY_SECONDS: Final = 10
READ_AWAY_BYTES: Final = 8 << 20
READ_AWAY_SECONDS: Final = 2
IDLE_SECONDS: Final = 15
SOCKET_SECONDS: Final = 30
DRAIN_SECONDS: Final = 20
MAX_CONNECTIONS: Final = 10_500
RETRY_AFTER_SECONDS: Final = 5
WAITING_PER_WORKER: Final = 5
"""Requests that may wait for each worker; more are answered 503 at once. With batching the wait stays short."""
READINESS_SECONDS: Final = 1.0

StartResponse = Callable[..., Any]
Method = TypeVar("Method", bound=Callable[..., Any])


class _Protocol(HttpOnlyProtocol):
    """HTTP/1.1 whose headers must arrive within a limit."""

    _limit: Any = None

    def handle_one_request(self) -> None:
        self._limit = None
        try:
            super().handle_one_request()
        except eventlet.Timeout as expired:
            if expired is not self._limit:
                raise
            self.close_connection = 1
        except UnicodeError:  # a Host label over 63 characters, eventlet fails on it
            self.close_connection = 1
        finally:
            if self._limit:
                self._limit.cancel()

    def _read_request_line(self) -> Any:  # waiting for it is idling, and bounded by keepalive
        line = super()._read_request_line()
        self._limit = eventlet.Timeout(HEADER_SECONDS)
        return line

    def handle_one_response(self) -> None:
        self._limit.cancel()
        super().handle_one_response()


class HardWebServer(WebServer):
    """The web server of a container; also answers `/healthz`, `/readyz` and `/metrics`."""

    _is_accepting: bool

    def __init__(self) -> None:
        super().__init__()
        self._connections: dict[int, list[Any]] = {}
        self._readiness: tuple[float, int, dict[str, Any]] | None = None

    # -- serving ---------------------------------------------------------------------------------------

    def get_wsgi_server(
        self, sock: Any, wsgi_app: Any, protocol: Any = _Protocol, debug: bool = False
    ) -> Any:
        return wsgi.Server(
            sock,
            sock.getsockname(),
            wsgi_app,
            protocol=protocol,
            debug=False,
            log=_QuietLog(),
            log_output=False,
            keepalive=IDLE_SECONDS,
            socket_timeout=SOCKET_SECONDS,
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
                return [generate_latest()]
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
            sock.settimeout(self._serv.socket_timeout)
            self.container.spawn_managed_thread(partial(self.process_request, sock, address))

    def process_request(self, sock: Any, address: Any) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            sock.close()
            return
        state = [address, sock, wsgi.STATE_IDLE]
        self._connections[id(state)] = state
        try:
            self._serv.process_request(state)
        except Exception as error:  # nameko lets it kill the container
            log.info("connection broke", error=repr(error))
            sock.close()
        finally:
            self._connections.pop(id(state), None)

    # -- stopping --------------------------------------------------------------------------------------

    def unregister_provider(self, provider: Any) -> None:
        self.close_door()
        super().unregister_provider(provider)

    def close_door(self) -> None:
        """Take no new connection and end the idle ones; what was accepted is answered."""
        if not self._is_accepting:
            return
        self._is_accepting = False
        self._serv.keepalive = False
        self._gt.kill()
        self._sock.close()
        for state in list(self._connections.values()):
            if state[2] == wsgi.STATE_IDLE:
                greenio.shutdown_safe(state[1])

    def stop(self) -> None:
        self.close_door()
        end = time.monotonic() + DRAIN_SECONDS
        while (
            any(state[2] != wsgi.STATE_IDLE for state in self._connections.values())
            and time.monotonic() < end
        ):
            eventlet.sleep(0.02)


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


class _QuietLog:
    """eventlet's own lines about a connection: kept, without their addresses and paths, at DEBUG."""

    def debug(self, message: str, *args: Any) -> None:
        return None

    info = debug
    error = debug

    def write(self, message: str) -> None:
        return None


class _Routes(WsgiApp):
    """Finds the entrypoint for a request; errors look as the service wants them to."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        # Made once: what it knows of a host and a scheme only matters for redirects, see below.
        self._adapter = self.url_map.bind("localhost")

    def _match(self, environ: dict[str, Any]) -> Any:
        path = environ["PATH_INFO"].encode("latin1").decode(errors="replace")
        try:
            return self._adapter.match(path, environ["REQUEST_METHOD"])
        except (
            HTTPException
        ):  # rare: once more, with all that the answer needs to know of the request
            return self.url_map.bind_to_environ(environ).match()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, shallow=True)
        try:
            provider, values = self._match(environ)
            request.path_values = values  # type: ignore[attr-defined]
            response = provider.handle_request(request)
        except HTTPException as error:
            response = self.server.error_response(request, error)
        except UnicodeError:
            response = Response("bad request\n", 400)
        result: Iterable[bytes] = response(environ, start_response)
        return result


def _plain_error(error: HTTPException) -> Response:
    response = Response(
        json.dumps({"error": error.name}) + "\n", error.code, content_type="application/json"
    )
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


class Http(HttpRequestHandler):
    """HTTP entrypoint: the body is read, bounded in time and size, before a worker is taken."""

    server = HardWebServer()

    def __init__(self, method: str, url: str, **kwargs: Any) -> None:
        super().__init__(method, url, **kwargs)
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
        request.max_content_length = BODY_LIMIT
        if request.method not in ("GET", "HEAD"):
            try:
                with eventlet.Timeout(BODY_SECONDS, _BodyTimeout()):
                    request.get_data(cache=True)
            except _BodyTimeout:
                return Response("request timeout\n", 408, {"Connection": "close"})
            except HTTPException as error:
                _read_away(request.environ["wsgi.input"])
                response = self.server.error_response(request, error)
                response.headers["Connection"] = "close"
                return response
            except (OSError, ValueError):
                return Response("bad request\n", 400, {"Connection": "close"})
        pool = self.container._worker_pool
        if pool.free() <= 0 and pool.waiting() > WAITING_PER_WORKER * self.container.max_workers:
            return _busy()
        try:
            # In this connection's own green thread: a second one for each request cost a fifth of the rate.
            result = self.container.run_here(self, (request,), request.path_values, {})
            return self.response_from_result(result)
        except Exception as error:
            return self.response_from_exception(error)

    def response_from_exception(self, exc: Exception) -> Response:
        if isinstance(exc, HTTPException):
            return _plain_error(exc)
        if isinstance(exc, Overloaded):
            return _busy()
        away = isinstance(exc, DatabaseUnavailable)
        log.error("request failed", route=self.url, exc_info=None if away else exc, away=away)
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


def _busy() -> Response:
    """More than can be done now: said at once, so that whoever asks comes back instead of waiting."""
    return Response("busy\n", 503, {"Retry-After": "1"})


def _read_away(body: Any) -> None:
    """Take what a client is still sending, within limits: closed on unread bytes, the connection is reset and the
    client never sees our answer."""
    with eventlet.Timeout(READ_AWAY_SECONDS, False):
        try:
            for _ in range(READ_AWAY_BYTES >> 16):
                if not body.read(1 << 16):
                    return
        except (OSError, ValueError):
            return


class _BodyTimeout(Exception):
    """The request's body did not arrive in time."""


def http(method: str, url: str) -> Callable[[Method], Method]:
    """Decorate a method that answers `method` (comma-separated) requests at `url` with a werkzeug Response."""
    decorator: Callable[[Method], Method] = Http.decorator(method, url)
    return decorator
