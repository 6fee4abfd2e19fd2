"""Sessions of `requests`, whose requests may be traced, for the libraries that want one: Stripe's and OpenTelemetry's.

What needs none asks through `shared.http_client`, and its process does without the 5 MB of `requests`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from shared import tracing
from shared.http_client import template
from shared.settings import is_loopback


class TracedAdapter(HTTPAdapter):
    """requests' transport, with a span around each request that leaves."""

    def __init__(self, words: Iterable[str], **options: Any) -> None:
        """`words` are the parts of paths that may be told; `options` are those of `HTTPAdapter`."""
        super().__init__(**options)
        self._words = frozenset(words)

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        if not tracing.is_on():
            return super().send(request, *args, **kwargs)
        url = urlsplit(request.url or "")
        span = tracing.http_client(
            request.method or "", url.hostname or "", template(url.path, self._words)
        )
        with span:
            answer = super().send(request, *args, **kwargs)
            span.answered(answer.status_code)
        return answer


def session_to(
    base: str, *, words: Iterable[str] | None = None, connections: int = 10
) -> requests.Session:
    """A session for the system at `base`, safe to share between green threads, that pools so many `connections`.

    `words` as for `TracedAdapter`; without them its requests are not traced.
    """
    session = requests.Session()
    # A proxy from the environment is for the world outside, not for a stand-in on this machine.
    session.trust_env = not is_loopback(base)
    adapter = (
        HTTPAdapter(pool_maxsize=connections)
        if words is None
        else TracedAdapter(words, pool_maxsize=connections)
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session
