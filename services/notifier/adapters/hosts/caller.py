"""One request to an endpoint that somebody else has named: to a public address that was looked up once, with the name's certificate.

The request is written by hand and the answer read by llhttp (httptools), since nothing of it is wanted but the status: so no more
than `MOST_BYTES` is read whatever the host sends, nothing is followed, unpacked or kept, and no connection outlives its attempt.
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httptools

from services.notifier.domain.hook_addresses import Target, is_address, is_public
from services.notifier.domain.hooks import Answered, answered
from shared.clock import utc_now
from shared.http_client import certificates as trusted_file
from shared.http_client import trusting

SECONDS: Final = 15.0
"""One attempt in all, from looking the name up to the end of the answer's head."""
CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 64 * 1024
MOST_ADDRESSES: Final = 3
"""Of a name's addresses, so many are tried."""

LookUp = Callable[[str, int], Sequence[str]]


class Failed(Exception):
    """No whole answer; the text is the word for it."""


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the whole internet knows it: but for a dot at its end the resolver would try it with each domain of this
    cluster behind it too, and what came of the attempt would tell which names there are. Raises OSError."""
    name = f"{host}." if "." in host and not is_address(host) else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class HostCaller:
    """Posts to hosts' endpoints (`Hosts`)."""

    def __init__(
        self,
        *,
        loopback: bool = False,
        look_up: LookUp = look_up,
        is_allowed: Callable[[str], bool] = is_public,
        certificates: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """`loopback`: this machine may be called by its own names. `certificates`: a file of those to trust."""
        self._loopback = loopback
        self._look_up = look_up
        self._is_allowed = is_allowed
        self._seconds = seconds
        self._certificates = certificates or trusted_file()
        trusting(self._certificates)  # that they can't be read is known before anybody is called

    def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answered:
        """See `Hosts.post`."""
        began = time.monotonic()

        def taken() -> int:
            return int((time.monotonic() - began) * 1000)

        try:
            status, retry_after = self._post(target, body, headers, began + self._seconds)
        except Failed as failure:
            return Answered(None, str(failure), taken())
        except ssl.SSLError:
            return Answered(None, "tls", taken())
        except TimeoutError:
            return Answered(None, "timeout", taken())
        except (OSError, UnicodeError):
            return Answered(None, "connection", taken())
        return answered(status, taken(), retry_after)

    def _post(
        self, target: Target, body: bytes, headers: Mapping[str, str], end: float
    ) -> tuple[int, dt.timedelta | None]:
        connection = self._connect(target, end)
        try:
            if target.scheme == "https":
                connection.settimeout(_left(end))
                tls = trusting(self._certificates)
                connection = tls.wrap_socket(connection, server_hostname=target.host)
            connection.settimeout(_left(end))
            connection.sendall(_request(target, body, headers))
            return _read(connection, end)
        finally:
            connection.close()

    def _connect(self, target: Target, end: float) -> socket.socket:
        """A connection to an address that was looked at: there is no second look-up that could say another one."""
        try:
            addresses = self._look_up(target.host, target.port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError):
            raise Failed("unknown_host") from None
        if not addresses:
            raise Failed("unknown_host")
        for one in addresses:
            if not self._is_allowed(one) and not (self._loopback and one in ("127.0.0.1", "::1")):
                raise Failed("refused_address")
        trouble: OSError | None = None
        for one in addresses[:MOST_ADDRESSES]:
            wait = min(CONNECT_SECONDS, _left(end))
            try:
                return socket.create_connection((one, target.port), wait)
            except OSError as error:
                trouble = error
        raise trouble or Failed("connection")


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _request(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.netloc}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


class _Head:
    """What llhttp tells of an answer's head; heads of 1xx are passed over."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.status: int | None = None
        self.retry_after: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if self.status is None and self.parser.get_status_code() >= 200:
            self.status = self.parser.get_status_code()


def _read(connection: socket.socket, end: float) -> tuple[int, dt.timedelta | None]:
    """The status, and how long the host asks to be left alone. Nothing is read beyond the head's last piece."""
    head, read = _Head(), 0
    while head.status is None:
        if read >= MOST_BYTES:
            raise Failed("too_large")
        connection.settimeout(_left(end))
        piece = connection.recv(min(4096, MOST_BYTES - read))
        if not piece:
            raise Failed("no_answer")
        read += len(piece)
        try:
            head.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            raise Failed("unreadable") from None
        except httptools.HttpParserError:
            if head.status is None:  # what stands behind the head is nobody's concern
                raise Failed("unreadable") from None
    return head.status, read_retry_after(head.retry_after, utc_now())


def read_retry_after(text: str | None, now: dt.datetime) -> dt.timedelta | None:
    """`Retry-After`: seconds or a date; None for what can't be read."""
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return dt.timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        until = parsedate_to_datetime(text)
        return max(dt.timedelta(), until.astimezone(dt.UTC) - now)
    except (ValueError, TypeError, OverflowError):
        return None
