"""Sessions of `requests`, whose requests may be traced, for the libraries that want one: Stripe's and OpenTelemetry's.

What needs none asks through `shared.http_client`, and its process does without the 5 MB of `requests`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from shared import tracing
from shared.http_client import template, trusting
from shared.settings import is_loopback


class TracedAdapter(HTTPAdapter):
    """requests' transport, with a span around each request that leaves. Its connections share what they trust."""

    def __init__(self, words: Iterable[str], **options: Any) -> None:
        """`words` are the parts of paths that may be told; `options` are those of `HTTPAdapter`."""
        super().__init__(**options)
        self._words = frozenset(words)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """See `HTTPAdapter`."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if _is_file(verify) and host["scheme"] == "https":
            pool["ssl_context"] = trusting(pool.pop("ca_certs"))
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """See `HTTPAdapter`. A proxy that speaks TLS is looked at by the pool's own certificates, not by the context's."""
        if conn.proxy is not None or cert or not _is_file(verify):
            super().cert_verify(  # type: ignore[no-untyped-call]
                conn, url, verify, cert
            )

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


def _is_file(verify: Any) -> bool:
    """Whether the certificates to trust are those in a file, as both Stripe's library and the environment name them."""
    return isinstance(verify, str) and not os.path.isdir(verify)


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
