"""HTTP to the systems outside: pooled connections for each, whose requests may be traced.

A span tells method, host, status and a template of the path: each part of a path that is not among the `words` that the
caller gives (`v1`, `invoices`, `pay`) stands there as `{id}`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter

from shared import tracing
from shared.settings import is_loopback

CERTIFICATES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name other certificates to trust than the public ones."""


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
            request.method or "", url.hostname or "", _template(url.path, self._words)
        )
        with span:
            answer = super().send(request, *args, **kwargs)
            span.answered(answer.status_code)
        return answer


class PostingPool:
    """Posts to the system at `base`, over pooled connections: half of what a post costs through `requests`.

    Safe to share between green threads. A proxy from the environment is used for the world outside alone: for TLS, and
    not for a stand-in on this machine.
    """

    def __init__(
        self, base: str, *, words: Iterable[str], connections: int, timeouts: tuple[float, float]
    ) -> None:
        """`words` as for `TracedAdapter`; `timeouts` are seconds to connect and to wait for an answer."""
        options: dict[str, Any] = {
            "maxsize": connections,
            "timeout": urllib3.Timeout(*timeouts),
            "ca_certs": next(filter(None, map(os.environ.get, CERTIFICATES)), certifi.where()),
        }
        url = urlsplit(base)
        proxy = getproxies().get("https") if url.scheme == "https" else None
        manager: urllib3.PoolManager
        if proxy and not is_loopback(base) and not proxy_bypass(url.netloc):
            manager = urllib3.ProxyManager(proxy, **options)
        else:
            manager = urllib3.PoolManager(**options)
        self._pool = manager.connection_from_url(base)
        self._prefix = url.path.rstrip("/")
        self._words = frozenset(words)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The whole answer, whatever its status; nothing is repeated or followed. Raises urllib3's HTTPError."""
        path = self._prefix + path
        if not tracing.is_on():
            return self._urlopen(path, body, headers)
        with tracing.http_client("POST", self._pool.host, _template(path, self._words)) as span:
            answer = self._urlopen(path, body, headers)
            span.answered(answer.status)
        return answer

    def _urlopen(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.urlopen(
            "POST", path, body=body, headers=headers, retries=False, redirect=False
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.close()


def _template(path: str, words: frozenset[str]) -> str:
    return "/".join(part if part in words or not part else "{id}" for part in path.split("/"))


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
