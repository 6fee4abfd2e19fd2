"""HTTP to the systems outside: pooled connections for each, whose requests may be traced.

A span tells method, host, status and a template of the path: each part of a path that is not among the `words` that the
caller gives (`v1`, `invoices`, `pay`) stands there as `{id}`.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from fcntl import ioctl
from http.client import HTTPException, RemoteDisconnected
from io import BytesIO
from termios import FIONREAD
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httptools
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from shared import tracing
from shared.settings import is_loopback

CERTIFICATES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name other certificates to trust than the public ones."""
TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
ESTABLISHED: Final = 1
"""What its first byte says of a connection that neither side has ended (`TCP_ESTABLISHED` in linux/tcp_states.h)."""
ONCE: Final = urllib3.Retry.from_int(False, redirect=False)
"""Nothing is repeated, and nothing followed."""
MOST_BYTES: Final = 32 << 20
"""The longest answer that is read: a page of a hundred of Stripe's objects is a few MiB, and more where they have much metadata."""


def certificates() -> str:
    """The file of the certificates that are trusted."""
    return next(filter(None, map(os.environ.get, CERTIFICATES)), certifi.where())


_trusted: dict[str, tuple[tuple[int, int, int], ssl.SSLContext]] = {}
"""By the file: which state of it was read, and what it says."""


def trusting(file: str) -> ssl.SSLContext:
    """What all TLS connections of the process have in common that trust the certificates in `file`: read once, and again when the file is
    another one. Where it is gone or can't be read then, what it said before holds.

    Left to itself urllib3 reads it anew for each connection: the public ones are 15 ms of CPU, in which every
    green thread waits, and 0.7 MB. Raises OSError.
    """
    before = _trusted.get(file)
    try:
        found = os.stat(file)
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if before is not None and before[0] == state:
            return before[1]
        context = urllib3.util.create_urllib3_context()
        context.load_verify_locations(file)
    except OSError:
        if before is None:
            raise
        return before[1]
    _trusted[file] = state, context
    return context


class _Connection(HTTPConnection):
    """A connection of urllib3's that writes a request in one piece and has llhttp read the answer. http.client would write head and
    body apart, which are two records of TLS, and make an email message of the answer's head: half of what a post costs."""

    def connect(self) -> None:
        super().connect()
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_connected(self) -> bool:
        """Whether a request may be sent on it: nothing has come unasked, and the server has not ended it. The kernel knows both; urllib3 would
        wait for either, in no time, which takes a green thread round all that others wait for."""
        if TCP_INFO is None or not hasattr(self.sock, "getsockopt"):  # or TLS within TLS, or none
            return super().is_connected
        unread = ioctl(self.sock.fileno(), FIONREAD, bytes(4))
        state = self.sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)
        return not any(unread) and state[0] == ESTABLISHED

    def request(
        self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any
    ) -> None:
        """Write it. `body` is bytes, or None; what urllib3 has for bodies of other kinds is left out."""
        if self.sock is None:
            self.connect()
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"{method} {url} HTTP/1.1",
            f"Host: {host}" if self.port == self.default_port else f"Host: {host}:{self.port}",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        if not all(map(str.isprintable, lines)):
            raise ValueError("a line break, or a character of no print, in a request's head")
        self.sock.settimeout(self.timeout)
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        """The whole answer. Raises HTTPException for one that ends too early, is too long, or is no HTTP."""
        self._is_whole, self._has_head, self._keeps = False, False, False
        self.sock.settimeout(self.timeout)
        left = MOST_BYTES
        while not self._is_whole:
            piece = self.sock.recv(65536)
            left -= len(piece)
            if left < 0:
                raise HTTPException("an answer without end")
            if piece:
                self._feed(piece)
            elif self._has_head and not self._headers.keys() & {
                "content-length",
                "transfer-encoding",
            }:
                break  # the end of the connection is the answer's
            else:
                raise RemoteDisconnected("the connection ended before the answer did")
        if not self._keeps:
            self.close()
        # Of bytes that are none urllib3 makes None.
        body = b"".join(self._pieces) or BytesIO()
        return urllib3.HTTPResponse(body, self._headers, self._status, preload_content=False)

    def _feed(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_whole:
                raise HTTPException(f"no answer of HTTP: {type(error).__name__}") from None
            self._keeps = False  # nobody asked for what stands behind the answer

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self._is_whole:
            raise HTTPException
        self._headers, self._pieces = urllib3.HTTPHeaderDict(), list[bytes]()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._has_head = self._status >= 200  # what is told before the answer is passed over
        self._keeps = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._is_whole = self._has_head


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class HttpPool:
    """Asks the system at `base`, over pooled connections: a third of what a request costs through `requests`, and without its 5 MB.

    Safe to share between green threads. A proxy from the environment (`HTTPS_PROXY=http://user:password@proxy:3128`, or
    `proxy:3128`) is used for the world outside alone: for TLS, and not for a stand-in on this machine.
    """

    def __init__(
        self,
        base: str,
        *,
        words: Iterable[str],
        connections: int,
        timeouts: tuple[float, float],
        trusted: str | None = None,
    ) -> None:
        """`words` are the parts of paths that may be told; `timeouts` are seconds to connect and to wait for an answer; `trusted` is a file
        of certificates, None: that of `certificates`."""
        self._base = urlsplit(base)
        self._options = {"maxsize": connections}
        self._timeout = urllib3.Timeout(*timeouts)
        self._trusted = trusted or certificates()
        self._prefix = self._base.path.rstrip("/")
        self._words = frozenset(words)
        self._made: tuple[ssl.SSLContext | None, urllib3.HTTPConnectionPool] | None = None

    @property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        """Made at the first request, and anew when other certificates are to be trusted. Certificates that can't be read are the request's
        failure, as a server that is away is."""
        context = None
        if self._base.scheme == "https":
            try:
                context = trusting(self._trusted)
            except OSError as error:
                raise urllib3.exceptions.SSLError(error) from error
        if self._made is None or self._made[0] is not context:
            self._made = context, self._make_pool(context)
        return self._made[1]

    def _make_pool(self, context: ssl.SSLContext | None) -> urllib3.HTTPConnectionPool:
        base, options = self._base, dict[str, Any](self._options)
        proxy = None
        if context is not None:
            proxy = getproxies().get("https")
            options["ssl_context"] = context
        manager: urllib3.PoolManager
        if proxy and not is_loopback(base.geturl()) and not proxy_bypass(base.netloc):
            manager = _through(proxy, options)
        else:
            manager = urllib3.PoolManager(**options)
        pool = manager.connection_from_url(base.geturl())
        pool.ConnectionCls = _Connection if context is None else _SecureConnection
        return pool

    def get(self, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """See `ask`."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """See `ask`."""
        return self.ask("POST", path, body, headers)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeouts: tuple[float, float] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The whole answer, whatever its status; nothing is repeated or followed. `timeouts`: in the place of the pool's. Raises
        urllib3's HTTPError, and ValueError for a header that can't be one."""
        path = self._prefix + path
        timeout = self._timeout if timeouts is None else urllib3.Timeout(*timeouts)
        if not tracing.is_on():
            return self._urlopen(method, path, body, headers, timeout)
        told = template(path.partition("?")[0], self._words)
        with tracing.http_client(method, self._pool.host, told) as span:
            answer = self._urlopen(method, path, body, headers, timeout)
            span.answered(answer.status)
        return answer

    def _urlopen(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: urllib3.Timeout,
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.urlopen(
            method,
            path,
            body=body,
            headers=headers,
            timeout=timeout,
            retries=ONCE,
            redirect=False,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        if self._made is not None:
            self._made[1].close()


def _through(proxy: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    """Connections through a proxy as the environment names it, whose user and password urllib3 leaves out by itself."""
    scheme, _, rest = (proxy if "://" in proxy else f"http://{proxy}").partition("://")
    who, at, place = rest.rpartition("@")
    # Latin-1 is what urllib3 encodes with; the proxy is to get UTF-8.
    login = unquote(who).encode().decode("latin-1")
    return urllib3.ProxyManager(
        f"{scheme}://{place}",
        proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if at else None,
        proxy_ssl_context=options["ssl_context"],
        **options,
    )


def template(path: str, words: frozenset[str]) -> str:
    """What may be told of a path."""
    return "/".join(part if part in words or not part else "{id}" for part in path.split("/"))
