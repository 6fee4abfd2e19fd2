"""Requests out of bytes, without a socket: in any pieces, within limits, and nothing that two readers could read differently."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.nameko_ext.http_requests import (
    FIELD_BYTES,
    FIELD_MEMORY,
    FIELDS,
    HEAD_BYTES,
    NOISE_BYTES,
    REQUEST_MEMORY,
    TARGET_BYTES,
    TRAILERS,
    HttpRequest,
    RequestReader,
)

GET = b"GET /me/x?from=mail HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s"
CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def reader(*pieces: bytes) -> RequestReader:
    made = RequestReader()
    for piece in pieces:
        made.feed(piece)
    return made


def read(*pieces: bytes) -> list[tuple[str, str, bytes, bool]]:
    """Method, path and body of each request, and whether it is whole."""
    return [
        (one.method, one.path, b"".join(one.pieces), one.whole) for one in reader(*pieces).requests
    ]


@given(st.lists(st.integers(0, 200)))
def test_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    """Pipelined requests with and without a body are the same requests, however the network cut them."""
    data = GET + POST + CHUNKED % b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n" + b"\r\n" + GET
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    assert read(*pieces) == [
        ("GET", "/me/x", b"", True),
        ("POST", "/take", b"hello", True),
        ("POST", "/take", b"hello", True),
        ("GET", "/me/x", b"", True),
    ]


def only(data: bytes) -> HttpRequest:
    (request,) = reader(data).requests
    return request


def test_headers_are_found_in_any_case_and_joined() -> None:
    """By name, whatever its case; what came twice is joined; the query's parameters are decoded."""
    request = only(b"GET /%e2%82%ac?a=1&a=2&b=%20 HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert request.headers.get("x-A") == "1,2"
    assert request.headers.get("Cookie") is None
    assert request.path == "/€"
    assert (request.args.get("a"), request.args.get("b"), request.args.get("c")) == ("1", " ", None)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://portal.test:8000/me/x?from=mail", "/me/x", "from=mail"),
        ("HTTPS://portal.test/me/x", "/me/x", ""),
        ("http://portal.test", "/", ""),
        ("http://portal.test?a=/b", "/", "a=/b"),
        ("http:///healthz", "/http:///healthz", ""),
        ("http://user@portal.test/healthz", "/http://user@portal.test/healthz", ""),
        ("http://portal.test:1@/healthz", "/http://portal.test:1@/healthz", ""),
        ("http://[::1]:80/healthz", "/healthz", ""),
        ("ftp://portal.test/me/x", "/ftp://portal.test/me/x", ""),
        ("/http://portal.test/me/x", "/http://portal.test/me/x", ""),
        ("//portal.test/me/x", "//portal.test/me/x", ""),
        ("*", "*", ""),
        ("/%00%2f%2e%2e%zz%c3%28", "/\x00/..%zz\ufffd(", ""),
    ],
)
def test_an_address_may_be_written_out(target: str, path: str, query: str) -> None:
    """With scheme and host, as to a proxy (RFC 9112, 3.2.2): what it names here is its path. Any other stays as it is."""
    request = only(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize("host", ["", "x", "Portal.test:8000", "[::1]:80", "a_b-c.example", "%41"])
def test_a_host_is_a_name(host: str) -> None:
    """With a port, or an address, or nothing at all."""
    assert only(GET.replace(b"Host: x", b"Host: " + host.encode())).whole


def test_a_head_that_has_not_ended_is_counted() -> None:
    """Its bytes, and what each field takes beside them; nothing once it has ended."""
    begun = reader(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 50 + b"X: " + b"y" * 5000)
    assert 5000 + 50 * FIELD_MEMORY < begun.held < 5000 + 60 * FIELD_MEMORY
    assert begun.has_more
    begun.feed(b"\r\n\r\n")
    assert (begun.held, len(begun.requests)) == (0, 1)


def test_requests_behind_are_counted() -> None:
    """All but the one whose turn it is."""
    several = reader(GET * 4)
    assert several.held == 3 * REQUEST_MEMORY
    several.requests.popleft()
    assert several.held == 2 * REQUEST_MEMORY
    several.requests.clear()
    assert (several.held, several.has_more) == (0, False)


def form(kind: bytes, body: bytes) -> HttpRequest:
    head = b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    request = only(head % (kind, len(body)) + body)
    request._body = b"".join(request.pieces)
    return request


def test_a_form_is_what_browsers_send() -> None:
    """Its fields, decoded, of one that comes twice the first; a body that says to be something else has none."""
    plain = b"application/x-www-form-urlencoded"
    fields = form(plain + b"; charset=utf-7", b"a=%21+%ff&a=2&b&c=\xff").form
    assert [fields.get(name) for name in "abcd"] == ["! \ufffd", "", "\ufffd", None]
    assert not form(plain, b"").form
    parts = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    assert not form(b"multipart/form-data; boundary=b", parts).form
    assert not form(b"text/plain", b"a=1").form


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"a=1; b=2 ;c = 3", {"a": "1", "b": "2", "c": "3"}),
        (b"a=1; a=2", {"a": "1"}),
        (b'a="1\\"; b=2";c', {"a": '"1\\"', "b": '2"', "c": ""}),
        (b"x=1,a=2", {"x": "1,a=2"}),
        (b"\xa0a=1; \xe2\x80\x80a=2; a=3", {"\xa0a": "1", "\xe2\x80\x80a": "2", "a": "3"}),
    ],
    ids=["spaces", "twice", "quotes", "a comma", "blanks that browsers take for letters"],
)
def test_cookies_are_read_letter_by_letter(sent: bytes, found: dict[str, str]) -> None:
    """A name is what the browser held it for: none that it let somebody else set passes for a `__Host-` cookie."""
    assert only(GET.replace(b"\r\n\r\n", b"\r\nCookie: %s\r\n\r\n" % sent)).cookies == found


def test_cookies_without_end_take_no_time() -> None:
    """Blanks of as many bytes as a head may have, which have held a portal up for 0.6 s: read in proportion to their length."""
    blanks = b"Cookie: a=" + b" " * 7900 + b"x\r\n"
    request = only(GET.removesuffix(b"\r\n") + blanks * 3 + b"\r\n")
    began = time.process_time()
    assert request.cookies.keys() == {"a"}
    assert time.process_time() - began < 0.1


def test_a_trailer_is_no_header() -> None:
    """What follows a body is dropped: a signature comes before what it signs."""
    request = only(CHUNKED % b"2\r\nhe\r\n0\r\nStripe-Signature: t=1\r\nHost: y\r\n\r\n")
    assert request.whole
    assert dict(request.headers) == {"host": "x", "transfer-encoding": "chunked"}


def test_what_followed_a_last_request_is_nobodys() -> None:
    """After `Connection: close` nothing is read and nothing is refused."""
    last = reader(GET + CLOSING + b"\x00 nonsense" + GET)
    assert [one.keep_alive for one in last.requests] == [True, False]
    assert last.error == 0


def test_whole_requests_before_an_error_stand() -> None:
    """What was whole is there to be answered, then comes the refusal."""
    broken = reader(GET + POST + b"nonsense\r\n\r\n")
    assert [one.whole for one in broken.requests] == [True, True]
    assert broken.error == 400


def test_an_upgrade_is_left_alone() -> None:
    """HTTP/2 is not spoken: the request is served as it is, and the next one is read. One with a body is refused, since its
    body would be read as another request."""
    offer = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    upgrading = GET.replace(b"\r\n\r\n", offer)
    assert len(read(upgrading * 3 + GET)) == 4
    assert len(read(upgrading, GET)) == 2
    smuggling = reader(POST.replace(b"\r\n\r\n", offer) + GET)
    assert (len(smuggling.requests), smuggling.error) == (0, 400)


REFUSED = {
    "a bare CR": GET.replace(b"Host: x\r\n", b"Host: x\rX: y\r\n"),
    "a bare LF": GET.replace(b"\r\n", b"\n"),
    "HTTP/0.9": GET.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/2.0": GET.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/1.2": GET.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": GET.replace(b"GET", b"get"),
    "a mailbox's From line": b"From x\r\n" + GET,
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a host that is none": GET.replace(b"Host: x", b"Host: a b"),
    "a list of hosts": GET.replace(b"Host: x", b"Host: a, b"),
    "a host with a path": GET.replace(b"Host: x", b"Host: a/b"),
    "a host with a name": GET.replace(b"Host: x", b"Host: a@b"),
    "two hosts": GET.replace(b"Host: x", b"Host: x\r\nHost: x"),
    "a NUL": GET.replace(b"Host: x", b"Host: x\r\nX: \x00"),
    "a byte in the address": GET.replace(b"/me/", b"/me/\xf7"),
    "two lengths": POST.replace(b"Host", b"Content-Length: 5\r\nHost"),
    "an empty length": POST.replace(b": 5", b": "),
    "a list of lengths": POST.replace(b": 5", b": 5, 5"),
    "a length and chunks": POST.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
    "another coding before": (CHUNKED % b"0\r\n\r\n").replace(b": chunked", b": gzip, chunked"),
    "chunks of HTTP/1.0": (CHUNKED % b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a space before the colon": GET.replace(b"Host:", b"Host :"),
    "a folded header": GET.replace(b"Host: x\r\n", b"Host: x\r\nX: y\r\n z\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_otherwise_is_refused(name: str) -> None:
    """400, and what follows is no request."""
    refused = reader(REFUSED[name] + GET)
    assert (len(refused.requests), refused.error) == (0, 400)


CHUNK_ERRORS = [
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}0\r\n\r\n",
    b"-1\r\n",
    b"2\n{}\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n",
    b"2;" + b"x" * (NOISE_BYTES + 100) + b"\r\n{}\r\n0\r\n\r\n",
    b"0\r\n" + b"X: y\r\n" * (TRAILERS + 1) + b"\r\n",
    b"0\r\nX: " + b"y" * (NOISE_BYTES + 100) + b"\r\n\r\n",
]


@pytest.mark.parametrize("size", [100, 2048, 5000, 16384])
def test_a_body_with_too_much_beside_it_is_none(size: int) -> None:
    """However it is cut, and whatever follows: its request is not whole, and nothing is read after it."""
    sent = CHUNKED % (b"2;" + b"x" * (NOISE_BYTES + 1000) + b"\r\n{}\r\n0\r\n\r\n") + GET * 3
    made = reader()
    for at in range(0, len(sent), size):
        made.feed(sent[at : at + size])
    assert made.error == 400
    assert not any(one.whole for one in made.requests)
    assert len(made.requests) < 2


@pytest.mark.parametrize("chunks", CHUNK_ERRORS, ids=range(len(CHUNK_ERRORS)))
def test_a_body_that_is_none_ends_everything(chunks: bytes) -> None:
    """The request never becomes whole, and nothing after it is read."""
    broken = reader(CHUNKED % chunks + GET)
    assert broken.error == 400
    assert not any(one.whole for one in broken.requests)
    assert len(broken.requests) < 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"x" * TARGET_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (GET.replace(b"\r\n\r\n", b"\r\nX: %s\r\n\r\n" % (b"y" * FIELD_BYTES)), 431),
        (GET.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * FIELDS + b"\r\n"), 431),
        (GET.replace(b"\r\n\r\n", b"\r\n" + b"X: %s\r\n" % (b"y" * 7000) * 5 + b"\r\n"), 431),
    ],
    ids=["an address", "a header", "many headers", "headers in all"],
)
def test_a_head_has_limits(head: bytes, status: int) -> None:
    """Of its address, a header, their number and all of it."""
    assert reader(head).error == status
    pieces = [head[at : at + 100] for at in range(0, len(head), 100)]
    assert reader(*pieces).error == status


@pytest.mark.parametrize("before", [b"", POST])
@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET /",
        CHUNKED % b"2;",
        CHUNKED % b"0\r\nX: ",
        b"",
    ],
    ids=["a value", "a name", "an address", "an extension", "a trailer", "empty lines"],
)
def test_what_never_ends_is_given_up(before: bytes, endless: bytes) -> None:
    """llhttp would take megabytes of it without a word: bytes are counted that no callback has told of."""
    endless_reader = reader(before + endless)
    filler = b"\r\n" if not endless else b"x"
    fed = 0
    while not endless_reader.error and fed < 1 << 20:
        endless_reader.feed(filler * 1000)
        fed += len(filler) * 1000
    assert endless_reader.error in (400, 414, 431)
    assert fed <= HEAD_BYTES + 2000
