"""Requests out of bytes: llhttp (`httptools`) reads HTTP/1.1, and what it leaves to us is decided here, without a socket.

llhttp is the parser of Node.js. It refuses by itself what a proxy in front of us could read otherwise: a bare CR or LF, a folded header,
two lengths, a length and chunks, a chunk's size that is none. It sets no limit to anything, so what it takes without
a word is counted; and it gives no opinion on a Host, a version or a coding.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote

import httptools
from werkzeug.datastructures import MultiDict

from shared.nameko_ext.http_bodies import Room

TARGET_BYTES: Final = 8 << 10
FIELD_BYTES: Final = 8 << 10
"""The longest header field, name and value."""
FIELDS: Final = 100
HEAD_BYTES: Final = 32 << 10
"""The longest head, as it comes over the wire."""
NOISE_BYTES: Final = 4 << 10
"""The most, beyond heads and bodies, that a connection may carry at a time: extensions of chunks, trailers, empty lines."""
TRAILERS: Final = 50
FIELD_MEMORY: Final = 200
"""What a header field takes beside its bytes."""
REQUEST_MEMORY: Final = 1500
"""What the smallest request takes."""

_TARGET: Final = re.compile(rb"[!-~]+")
_HOST: Final = re.compile(rb"[\w.~!$&'()*+;=%:\[\]-]*")
_ORIGIN: Final = re.compile(rb"\Ahttps?://(?=[^/?])%s(?=[/?]|\Z)" % _HOST.pattern, re.IGNORECASE)
"""What stands before the path where a client writes its address out (RFC 9112, 3.2.2). Without a host it is no address (RFC 9110, 4.2.1),
nor with a user's name (4.2.4)."""
_LINE: Final = len("  HTTP/1.1\r\n\r\n")
_FIELD: Final = len(": \r\n")
_CHUNK: Final = len("ffffffff\r\n\r\n")

FORM: Final = "application/x-www-form-urlencoded"
BAD_REQUEST: Final = 400
TARGET_TOO_LONG: Final = 414
HEAD_TOO_LARGE: Final = 431


class HeaderFields(Mapping[str, str]):
    """A request's header by name, in any case. What came more than once is joined by commas (RFC 9110, 5.2)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def _parameters(text: str) -> Mapping[str, str]:
    return MultiDict(parse_qsl(text, keep_blank_values=True)) if text else {}


class BodyReader(Protocol):
    """Where the rest of a request's body comes from."""

    def read_body(self, request: HttpRequest, room: Room) -> bytes:
        """All of it, in a room of its own.

        Raises TooLarge, NoRoom, TimeoutError; ValueError when it is none, ConnectionError when it ends early.
        """
        ...


class HttpRequest:
    """A request as entrypoints get it. What is not here nobody wants: werkzeug's Request takes time in the square of a header's length
    to find cookies."""

    path_values: Mapping[str, Any]
    """What the address names, by the route's placeholders."""
    connection: BodyReader

    def __init__(
        self,
        method: str,
        target: bytes,
        fields: dict[bytes, bytes],
        *,
        http_1_0: bool,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.headers: Mapping[str, str] = HeaderFields(fields)
        self.http_1_0, self.keep_alive = http_1_0, keep_alive
        self.length = int(fields.get(b"content-length", b"0"))
        """Bytes of the body, as far as they are announced."""
        self.expects = fields.get(b"expect", b"").lower() == b"100-continue" and not http_1_0
        """Whether the client waits for a word before it sends the body."""
        self.pieces: list[bytes] = []
        """What of the body has come and was not taken yet."""
        self.whole = False
        """Whether all of it has come."""
        path, _, query = target.partition(b"?")
        self._raw_path, self.query = path, query.decode("latin-1")
        self._body = b""

    @cached_property
    def path(self) -> str:
        raw = self._raw_path.decode("latin-1")
        return unquote(raw, errors="replace") if "%" in raw else raw

    @cached_property
    def args(self) -> Mapping[str, str]:
        """The query's parameters; of one that comes twice the first."""
        return _parameters(self.query)

    @cached_property
    def form(self) -> Mapping[str, str]:
        """The fields of a form, as browsers send one by themselves; of one that comes twice the first. None in any other body."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return _parameters(self._body.decode(errors="replace")) if kind == FORM else {}

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """What a browser was given, by name and letter by letter; of two of a name the first."""
        found: dict[str, str] = {}
        for pair in self.headers.get("Cookie", "").split(";"):
            name, _, value = pair.partition("=")
            found.setdefault(name.strip(" \t"), value.strip(" \t"))
        return found

    def read_body(self, room: Room) -> None:
        """Take the body, or the rest of it, into memory that is counted. Raises as `BodyReader` does."""
        self._body = self.connection.read_body(self, room)

    def get_data(self) -> bytes:
        """The body."""
        return self._body


class _Refused(Exception):
    """The request can't be taken."""


class RequestReader:
    """What one connection sends, as requests in their order. Nothing in here waits: llhttp calls back in the middle of a read."""

    def __init__(self) -> None:
        self.requests: deque[HttpRequest] = deque()
        """Those whose heads have come, oldest first; to be taken from here."""
        self.error = 0
        """The status with which what follows these requests is refused; 0 while there is no reason to."""
        self.in_head = False
        """Whether a head has begun and has not ended."""
        self._parser = httptools.HttpRequestParser(self)
        self._request: HttpRequest | None = None
        self._closing = False
        self._refused = 0
        self._target = b""
        self._fields: dict[bytes, bytes] = {}
        self._number = self._size = 0
        self._accounted = self._noise = 0

    @property
    def held(self) -> int:
        """Bytes of memory that are taken beside the request whose turn it is: by a head that has not ended, by requests behind."""
        behind = REQUEST_MEMORY * (len(self.requests) - 1) if len(self.requests) > 1 else 0
        if not self.in_head:
            return behind
        return behind + self._noise + len(self._target) + self._size + FIELD_MEMORY * self._number

    @property
    def has_more(self) -> bool:
        """Whether more was asked, or has begun to be."""
        return bool(self.requests) or self.in_head

    @property
    def in_fields(self) -> bool:
        """Whether the head that has begun has got beyond its first line."""
        return self.in_head and self._number > 0

    def close(self) -> None:
        """Forget what leads back here: the parser, and the request, which has its connection."""
        del self._parser, self._request

    def feed(self, data: bytes) -> None:
        """Read the next bytes: `requests` and `error` tell what they were."""
        if self.error or self._closing:
            return
        before, begun = len(self.requests), self._request
        if begun is not None and begun.whole:
            begun = None
        try:
            self._parse(data)
        except httptools.HttpParserError:  # not named: it holds this frame, which would hold it
            if not self._closing:  # what follows a `Connection: close` is nobody's business
                self.error = self._refused or BAD_REQUEST
        # What no callback has told of is a head that has not ended, or what nobody needs.
        self._noise = max(0, self._noise + len(data) - self._accounted)
        self._accounted = 0
        if not self.error and self._noise > (HEAD_BYTES if self.in_head else NOISE_BYTES):
            self.error = HEAD_TOO_LARGE if self.in_head else BAD_REQUEST
            while len(self.requests) > before:
                self.requests.pop()
            for one in (begun, self._request):
                if one is not None:
                    one.whole = False

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:  # we go on with HTTP/1.1
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)

    def _refuse(self, status: int) -> NoReturn:
        self._refused = status
        raise _Refused

    # -- what llhttp calls ---------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.in_head = True
        self._target, self._fields = b"", {}
        self._number = self._size = 0

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        self._accounted += len(piece)
        if len(self._target) > TARGET_BYTES:
            self._refuse(TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value)
        self._number += 1
        if not self.in_head:  # a trailer: dropped, or a signature could follow its body
            if self._number > TRAILERS:
                self._refuse(BAD_REQUEST)
            return
        self._size += size
        self._accounted += size + _FIELD
        if size > FIELD_BYTES or self._size > HEAD_BYTES or self._number > FIELDS:
            self._refuse(HEAD_TOO_LARGE)
        name = name.lower()
        if name in self._fields:
            if name == b"host":
                self._refuse(BAD_REQUEST)
            value = b"%s,%s" % (self._fields[name], value)
        self._fields[name] = value

    def on_headers_complete(self) -> None:
        parser, fields = self._parser, self._fields
        method, version = parser.get_method().decode(), parser.get_http_version()
        self._accounted += len(method) + _LINE
        coding = fields.get(b"transfer-encoding")
        if (
            not _TARGET.fullmatch(self._target)
            or version not in ("1.1", "1.0")
            or (version == "1.1" and b"host" not in fields)
            or not _HOST.fullmatch(fields.get(b"host", b""))
            or (coding is not None and (coding.lower() != b"chunked" or version == "1.0"))
            or method == "CONNECT"
        ):
            self._refuse(BAD_REQUEST)
        target = self._target
        if not target.startswith((b"/", b"*")):
            target = b"/" + _ORIGIN.sub(b"", target, count=1).removeprefix(b"/")
        self._request = request = HttpRequest(
            method,
            target,
            fields,
            http_1_0=version == "1.0",
            keep_alive=parser.should_keep_alive(),
        )
        if parser.should_upgrade() and (request.length or coding):
            self._refuse(BAD_REQUEST)  # httptools would take its body for another request
        self.in_head = False
        self._number = 0
        self.requests.append(request)

    def on_chunk_header(self) -> None:
        self._accounted += _CHUNK

    def on_body(self, piece: bytes) -> None:
        self._accounted += len(piece)
        self._request.pieces.append(piece)  # type: ignore[union-attr]

    def on_message_complete(self) -> None:
        request = self._request
        assert request is not None
        request.whole = True
        self._closing = not request.keep_alive
