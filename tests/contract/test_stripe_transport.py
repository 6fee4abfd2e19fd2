"""The stripe library over our own pool: what is tried again, and whom it tells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import stripe  # noqa: TID251  (the real client, over our pool)
import urllib3

from services.billing.adapters.stripe.client import stripe_client
from services.billing.adapters.stripe.transport import PooledClient
from shared.http_client import HttpPool
from tests.fixtures.serving import running

KEY = "sk_test_0123456789abcdef"
INVOICE = b'{"id": "in_1", "object": "invoice"}'


class Stripe(HTTPServer):
    """Answers each request by the next of `answers`; None: not at all, and the connection ends."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.asked: list[tuple[str, Mapping[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Answering)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    server: Stripe

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((f"{self.command} {self.path}", dict(self.headers), body))
        status = self.server.answers.pop(0)
        if status is None:
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(INVOICE)))
        self.end_headers()
        self.wfile.write(INVOICE)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Nothing on the screen of a test."""


@pytest.fixture
def server() -> Iterator[Stripe]:
    with running(Stripe()) as made:
        yield made


@contextlib.contextmanager
def asking(
    base: str, *, retries: int = 0, key: str = KEY
) -> Iterator[tuple[Any, list[tuple[str, int]]]]:
    """The library's client, and what was told of answers."""
    told: list[tuple[str, int]] = []

    def answered(method: str, headers: Mapping[str, str], answer: urllib3.BaseHTTPResponse) -> None:
        assert headers["Authorization"] == f"Bearer {key}"
        told.append((method, answer.status))

    with contextlib.closing(HttpPool(base, words=(), connections=1, timeouts=(9, 9))) as pool:
        client = PooledClient(base, pool, (1, 1), answered)
        yield stripe_client(key, base, client, retries=retries).api, told


def test_a_request_leaves_as_the_library_made_it(server: Stripe) -> None:
    """Path, parameters and headers; each answer is told."""
    server.answers = [200, 200]
    with asking(server.base) as (api, told):
        assert api.invoices.retrieve("in_1", {"expand": ["customer"]}).id == "in_1"
        api.invoices.pay("in_1", {"off_session": True}, {"idempotency_key": "pay:1"})
    (read, _, nothing), (paid, headers, body) = server.asked
    assert (read, nothing) == ("GET /v1/invoices/in_1?expand%5B0%5D=customer", b"")
    assert (paid, body) == ("POST /v1/invoices/in_1/pay", b"off_session=true")
    assert headers["Idempotency-Key"] == "pay:1"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Stripe-Version"] == stripe.api_version
    assert told == [("get", 200), ("post", 200)]


@pytest.mark.parametrize("first", [503, None])
def test_what_may_pass_is_tried_again_under_the_same_key(server: Stripe, first: int | None) -> None:
    """An outage, and a connection that ends without an answer."""
    server.answers = [first, 200]
    with asking(server.base, retries=1) as (api, _):
        assert api.invoices.pay("in_1").id == "in_1"
    one, other = (headers["Idempotency-Key"] for _, headers, _ in server.asked)
    assert one == other


def test_who_is_not_trusted_is_not_asked_again(server: Stripe) -> None:
    """What speaks no TLS there, or by a certificate of nobody's, will not be another one in a moment."""
    with (
        asking(server.base.replace("http:", "https:"), retries=2) as (api, told),
        pytest.raises(stripe.APIConnectionError) as raised,
    ):
        api.invoices.retrieve("in_1")
    assert not raised.value.should_retry
    assert (server.asked, told) == ([], [])


def test_a_key_that_is_no_header_is_an_error_of_the_librarys(server: Stripe) -> None:
    """It never leaves, and the error quotes nothing of it."""
    key = "sk_test_0123\r\nHost: elsewhere"
    with (
        asking(server.base, key=key, retries=2) as (api, _),
        pytest.raises(stripe.APIConnectionError) as raised,
    ):
        api.invoices.retrieve("in_1")
    assert "0123" not in str(raised.value)
    assert server.asked == []
