"""TLS to the systems outside: whom it trusts is read once, however many connections there are."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import urllib3

from services.notifier.adapters.hosts.caller import HostCaller
from services.notifier.domain.hook_addresses import Target
from shared.http_client import HttpPool
from tests.fixtures.certificates import make_certificate
from tests.fixtures.serving import running

Asking = Callable[[str, Path, pytest.MonkeyPatch], Callable[[], int]]
"""What asks the server at an address, trusting the certificates in a file; it gives the status."""


class _Answering(BaseHTTPRequestHandler):
    """Answers 200, and ends the connection: each request needs one of its own."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Nothing on the screen of a test."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server that speaks TLS, and the file of its certificate."""
    certificate, key = make_certificate(tmp_path, "stripe.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield f"https://127.0.0.1:{server.server_port}", certificate


def by_pool(base: str, trusted: Path, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """As SendGrid is asked."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        patch.delenv(name, raising=False)
    patch.setenv("SSL_CERT_FILE", str(trusted))
    pool = HttpPool(base, words=(), connections=2, timeouts=(5, 5))
    return lambda: pool.get("/", {}).status


def by_named(base: str, trusted: Path, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """As Stripe is asked: whom its library trusts, whatever the environment says."""
    patch.setenv("SSL_CERT_FILE", str(trusted.parent / "nowhere.pem"))
    pool = HttpPool(base, words=(), connections=2, timeouts=(5, 5), trusted=str(trusted))
    return lambda: pool.get("/", {}).status


def by_hosts(base: str, trusted: Path, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """As hosts are called; 0: TLS failed."""
    host, port = base.removeprefix("https://").split(":")
    caller = HostCaller(
        certificates=str(trusted), is_allowed=lambda _: True, look_up=lambda *_: [host]
    )
    target = Target("https", host, int(port), "/")
    return lambda: caller.post(target, b"", {}).status or 0


@pytest.mark.parametrize("asking", [by_pool, by_named, by_hosts])
def test_connections_share_what_they_trust(
    served: tuple[str, Path], asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second connection reads no certificates: the file is gone."""
    base, certificate = served
    ask = asking(base, certificate, monkeypatch)
    assert ask() == 200
    certificate.unlink()
    assert ask() == 200


@pytest.mark.parametrize("asking", [by_pool, by_named, by_hosts])
def test_a_rotated_file_is_read_again(
    served: tuple[str, Path], asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart; and while it is half-written what it said before holds."""
    base, certificate = served
    other, _ = make_certificate(tmp_path, "other.example.com")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(certificate.read_bytes())
    ask = asking(base, bundle, monkeypatch)
    assert ask() == 200
    bundle.write_bytes(certificate.read_bytes()[:100])
    assert ask() == 200
    other.rename(bundle)
    with suppress(urllib3.exceptions.SSLError):
        assert ask() == 0
    bundle.write_bytes(bundle.read_bytes() + certificate.read_bytes())
    assert ask() == 200


@pytest.mark.parametrize("asking", [by_pool, by_named])
def test_a_stranger_is_not_trusted(
    served: tuple[str, Path], asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that the file does not have is refused."""
    base, _ = served
    other, _ = make_certificate(tmp_path, "other.example.com")
    ask = asking(base, other, monkeypatch)
    with pytest.raises(urllib3.exceptions.SSLError):
        ask()


def test_certificates_that_can_not_be_read_fail_the_request(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the process: it is known as any other trouble with a connection."""
    base, certificate = served
    ask = by_pool(base, tmp_path / "nowhere.pem", monkeypatch)
    with pytest.raises(urllib3.exceptions.SSLError):
        ask()
    certificate.rename(tmp_path / "nowhere.pem")
    assert ask() == 200
