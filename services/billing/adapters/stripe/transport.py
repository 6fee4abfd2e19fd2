"""How the library's requests get to Stripe: over a pool of our own. Through `requests`, which it would use, one takes three times as long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import stripe  # noqa: TID251
import urllib3

from shared.http_client import HttpPool

Answered = Callable[[str, Mapping[str, str], urllib3.BaseHTTPResponse], object]
"""Told of each answer, whatever its status: the request's method and headers, and what came."""


class PooledClient(stripe.HTTPClient):
    """The library's HTTP client. What to try again, and when, it decides itself."""

    name = "portico"

    def __init__(
        self, base: str, pool: HttpPool, timeouts: tuple[float, float], answered: Answered
    ) -> None:
        """`base` is the address that the library has and the pool leads to; `timeouts` are seconds to connect and to wait."""
        super().__init__()
        self._base, self._pool, self._timeouts, self._answered = base, pool, timeouts, answered

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, Any]]:
        """Ask once. Raises the library's APIConnectionError, which says whether to ask again: not where the certificate is wrong."""
        body = None if post_data is None else post_data.encode()
        path = url.removeprefix(self._base)
        try:
            answer = self._pool.ask(method.upper(), path, body, headers, self._timeouts)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            passing = not isinstance(error, urllib3.exceptions.SSLError | ValueError)
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                type(error).__name__, should_retry=passing
            ) from error
        self._answered(method, headers, answer)
        return answer.data, answer.status, answer.headers
