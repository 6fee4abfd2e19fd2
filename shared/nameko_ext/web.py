"""HTTP entrypoints: what a request must pass before a worker is taken for it, and what becomes of its failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import eventlet
from nameko.exceptions import ContainerBeingKilled
from nameko.web.handlers import HttpRequestHandler
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
)
from werkzeug.routing import Rule
from werkzeug.wrappers import Response

from shared import tracing
from shared.database import DatabaseUnavailable
from shared.nameko_ext.batching import Overloaded
from shared.nameko_ext.http_answers import Later, PreparedAnswer, Reply, json_answer, plain_error
from shared.nameko_ext.http_bodies import NoRoom, TooLarge
from shared.nameko_ext.http_server import HttpServer
from shared.telemetry import HTTP_SECONDS, get_logger

log = get_logger(__name__)

FORM_BYTES: Final = 16 << 10
"""The largest body of a form."""
WEBHOOK_BYTES: Final = 1 << 20
"""The largest body that a vendor may post."""
RETRY_AFTER_SECONDS: Final = 5
WAITING_PER_WORKER: Final = 5
"""Requests that may wait for each worker; more are answered 503 at once. With batching the wait stays short."""

_BODILESS: Final = frozenset({"GET", "HEAD"})

Refuse = Callable[[Any], Reply | Later | None]
Method = TypeVar("Method", bound=Callable[..., Any])


class Http(HttpRequestHandler):
    """HTTP entrypoint: what its head already condemns is refused, then the body is read, bounded in time, in size and by what
    all bodies may take together; only then a worker is taken."""

    server = HttpServer()

    def __init__(
        self,
        method: str,
        url: str,
        *,
        refuse: Refuse | None = None,
        body_limit: int = FORM_BYTES,
        **kwargs: Any,
    ) -> None:
        if refuse is None and not _BODILESS.issuperset(method.split(",")):
            raise ValueError(f"{method} {url} reads bodies: say what it refuses without (`refuse`)")
        super().__init__(method, url, **kwargs)
        self._refuse, self._body_limit = refuse, body_limit
        self._seconds: dict[tuple[str, int], Any] = {}

    def get_url_rule(self) -> Rule:
        """The route, which leads to this entrypoint."""
        return Rule(self.url, methods=self.method.split(","), endpoint=self)

    def handle_request(self, request: Any) -> Reply:
        """The answer to a request whose head has come and is for this entrypoint; a werkzeug Request will do as well."""
        started = time.perf_counter()
        outside = request.headers.get("traceparent", "")
        with tracing.http_server(request.method, self.url, outside) as span:
            response = self._respond(request)
            if isinstance(response, Later):
                eventlet.sleep(max(0.0, response.at - time.monotonic()))
                response = response.reply
            span.answered(response.status_code)
        kind = (request.method, response.status_code)
        seconds = self._seconds.get(kind)
        if seconds is None:  # looked up once: a look-up by labels costs more than the observation
            seconds = self._seconds[kind] = HTTP_SECONDS.labels(
                self.container.service_name, request.method, self.url, response.status_code
            )
        seconds.observe(time.perf_counter() - started)
        return response

    def _respond(self, request: Any) -> Reply | Later:
        if self._refuse is not None and (refusal := self._refuse(request)) is not None:
            return refusal
        if request.method in _BODILESS:
            return self._work(request)
        with self.server.bodies.room(self._body_limit) as room:
            try:
                request.read_body(room)
            except TimeoutError:
                return self.refusal(RequestTimeout())
            except NoRoom:
                return self.busy()
            except TooLarge:
                return self.refusal(RequestEntityTooLarge())
            except (OSError, ValueError):
                return self.refusal(BadRequest())
            return self._work(request)

    def refusal(self, error: HTTPException) -> Reply:
        """The answer to a request that no method of the service has seen."""
        return plain_error(error)

    def busy(self) -> Reply:
        """More than can be done now: said at once, so that whoever asks comes back instead of waiting."""
        return Response("busy\n", 503, {"Retry-After": "1"})

    def _work(self, request: Any) -> Reply | Later:
        pool = self.container.workers
        if pool.free() <= 0 and pool.waiting() > WAITING_PER_WORKER * self.container.max_workers:
            return self.busy()
        try:
            # In this connection's own green thread: a second one for each request cost a fifth of the rate.
            result = self.container.run_here(self, (request,), request.path_values, {})
            return self.response_from_result(result)
        except Exception as error:
            return self.response_from_exception(error)

    def response_from_result(self, result: Any) -> Reply | Later:
        if isinstance(result, PreparedAnswer | Later):
            return result
        answer: Response = super().response_from_result(result)
        return answer

    def response_from_exception(self, exc: Exception) -> Reply:
        if isinstance(exc, HTTPException):
            return self.refusal(exc)
        if isinstance(exc, Overloaded | ContainerBeingKilled):
            return self.busy()
        away = isinstance(exc, DatabaseUnavailable)
        if away:
            log.error("request failed", route=self.url, away=True, reason=str(exc))
        else:
            log.error("request failed", route=self.url, exc_info=exc, away=False)
        return self.failure(exc, away=away)

    def failure(self, error: Exception, *, away: bool) -> Reply:
        """The answer to a request that failed in our house; `away`: the database is."""
        hook = getattr(self.container.service_cls, "failure_page", None)
        if hook is not None:
            page: Reply = hook(error)
            return page
        if away:  # whoever sent it (Stripe, SendGrid) sends it again
            answer = json_answer(503, {"error": "unavailable"})
            answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return answer
        return json_answer(500, {"error": "internal"})


def http(
    method: str, url: str, *, refuse: Refuse | None = None, body_limit: int = FORM_BYTES
) -> Callable[[Method], Method]:
    """Decorate a method that answers `method` (comma-separated) requests at `url` with a `Reply`, or with one for `Later`.

    `refuse` is asked first, with the request's head: its answer, when it gives one, is sent at once and the body is not read.
    Raises ValueError for a method with a body and no `refuse`: whoever knows the address could fill our memory.
    What the address named is in `request.path_values`. A body over `body_limit` bytes is 413.
    """
    decorator: Callable[[Method], Method] = Http.decorator(
        method, url, refuse=refuse, body_limit=body_limit
    )
    return decorator
