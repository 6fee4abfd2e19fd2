"""HTTP to the systems outside through a proxy: it is logged in to, and found without a scheme."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import urllib3

from shared.http_client import HttpPool
from tests.fixtures.serving import running

LOGIN = "portico:pä/ss@1"


class Proxy(HTTPServer):
    """On loopback: keeps what it was asked for, with which login, and lets nobody through."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Refusing)


class _Refusing(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_error(403)

    def log_message(self, *args: object) -> None:
        """Nothing on the screen of a test."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with running(Proxy()) as server:
        yield server


@pytest.mark.parametrize(
    ("form", "login"),
    [
        ("http://portico:p%C3%A4%2Fss%401@127.0.0.1:{port}", LOGIN),
        ("portico:p%C3%A4%2Fss%401@127.0.0.1:{port}", LOGIN),
        ("http://127.0.0.1:{port}", None),
        ("127.0.0.1:{port}", None),
    ],
)
def test_a_proxy_is_asked_with_the_login_that_its_address_has(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str, login: str | None
) -> None:
    """User and password are what stands there, unquoted; `proxy:3128` is one, too; its answer tells neither."""
    monkeypatch.setenv("HTTPS_PROXY", form.format(port=proxy.server_port))
    monkeypatch.delenv("https_proxy", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    pool = HttpPool("https://api.example.com", words=(), connections=1, timeouts=(5, 5))
    with pytest.raises(urllib3.exceptions.ProxyError) as refused:
        pool.get("/v3/scopes", {})
    pool.close()
    sent = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None
    assert proxy.seen == [("api.example.com:443", sent)]
    assert "ss@1" not in str(refused.value)
    assert "portico" not in str(refused.value)


def test_a_stand_in_on_this_machine_is_asked_directly(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment says of proxies does not concern this machine."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    pool = HttpPool("https://127.0.0.1:1", words=(), connections=1, timeouts=(1, 1))
    with pytest.raises(urllib3.exceptions.HTTPError):
        pool.get("/", {})
    pool.close()
    assert proxy.seen == []
