"""Answers as they are sent."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

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

_BODILESS: Final = (204, 304)


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


class Later(NamedTuple):
    """What an entrypoint gives that is to leave no sooner than a moment: nobody holds a worker for it until then."""

    reply: Reply
    at: float
    """Monotonic, in seconds."""


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
    body = _body_of(response)
    length = b"Content-Length: %d\r\n" % len(body)
    return b"%s%s%s%s\r\n%s" % (head, length, _date(int(time.time())), connection, b"" if bodiless else body)  # fmt: skip


def _body_of(response: Reply) -> bytes:
    if isinstance(response, PreparedAnswer):
        return response.body
    if isinstance(response, Answer):
        whole: bytes = response.response[0]  # type: ignore[index]
        return whole
    return response.get_data()


@lru_cache(maxsize=16)
def json_error(status: int) -> Answer:
    """An answer that is made here, since no entrypoint made one: without what the client said."""
    return json_answer(status, {"error": HTTPStatus(status).phrase})
