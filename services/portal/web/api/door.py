"""The HTTP API's own listener, and what a request must pass there before its body is read: a key that can be one of ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from services.portal.domain.api_keys import is_well_formed
from services.portal.web.api import problems
from services.portal.web.entrypoints import as_late_as_others
from shared.contracts.rpc.base import Arguments
from shared.nameko_ext.http_answers import Later, Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.http_server import HttpServer
from shared.nameko_ext.web import RETRY_AFTER_SECONDS, Http

ROOT: Final = "/api/v1"
BODY_BYTES: Final = 1 << 20
"""The largest body: a thousand customers fit, of names and addresses as people have them."""
MEMORY: Final = 8 << 20
CONNECTIONS: Final = 64
"""What bodies may take together, and how many connections there are: the manifests' memory limit has room for both
(`tests/unit/deploy/test_promises.py`). A host has a few machines, and a pool of connections on each."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """An operation of the API."""

    method: str
    path: str
    """Below `ROOT`, as werkzeug writes it."""
    scope: str
    """What a key must have."""
    query: type[Arguments] | None
    """What may stand in the address."""
    body: type[Arguments] | None
    """What is sent."""
    answer: Any
    creates: bool = False
    """Whether it may answer 201."""
    unfinished: bool = False
    """Whether it may answer 202: it did a part, and wants to be asked again."""
    asks: str | None = None
    """It needs other services: the method that finds, in a reading transaction and for the key's own alone, what to ask, and returns
    what asks it. That is called with no transaction open, before the route's own code, which has the answer in `Call.told`."""
    again: str | None = None
    """Its answer opens something, so it is not kept: the method that makes it anew for a request that is repeated. What it `asks` is
    asked again before: with `Call.request_id`, by which the other service knows what it has done."""
    bulk: bool = False
    """Whether it may write so much that all who decide about links, of any business, wait for it: of a key's requests one is done at a
    time."""
    audited: tuple[str, ...] | None = None
    """What of the body stands in each request's line of the audit log, beside what the address names; None: it has none. As with
    `audited_rpc`."""


class ApiServer(HttpServer):
    """The listener at `API_ADDRESS`. Nothing else is answered there, neither health nor metrics."""

    setting = "API_ADDRESS"
    body_budget = MEMORY
    most_connections = CONNECTIONS

    def address(self) -> str | None:
        address: str | None = self.container.config["settings"].api_address
        return address

    def own_answers(self) -> dict[str, Callable[[], Reply]]:
        return {}

    def unreadable(self, status: int) -> Response:
        return problems.of_status(status)

    def error_response(self, request: HttpRequest, error: HTTPException) -> Response:
        return problems.of_http(error)


class ApiHttp(Http):
    """HTTP entrypoint of the API."""

    server = ApiServer()

    def __init__(self, route: Route, **kwargs: Any) -> None:
        super().__init__(route.method, ROOT + route.path, refuse=self._keyless, body_limit=BODY_BYTES, **kwargs)  # fmt: skip
        self.route = route

    def _keyless(self, request: Any) -> Later | None:
        """What a request without a key that can be ours gets: its body is not read."""
        arrived = time.monotonic()
        if key_of(request, self.container.config["settings"].api_mode) is not None:
            return None
        return as_late_as_others(problems.unauthorized(), arrived)

    def refusal(self, error: HTTPException) -> Response:
        return problems.of_http(error)

    def busy(self) -> Response:
        return problems.unavailable(1)

    def failure(self, error: Exception, *, away: bool) -> Response:
        if away:
            return problems.unavailable(RETRY_AFTER_SECONDS)
        return problems.internal_error()


def key_of(request: Any, mode: str) -> str | None:
    """The key that a request shows, when it can be one of ours by its form; no query is made for it."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    return key if scheme.lower() == "bearer" and is_well_formed(key, mode) else None
