"""What a browser makes of the way to Stripe and back over TLS, which `make run` has not: our page's real headers and cookie, on hosts of which
Stripe's lead on to one another by redirects, as its sign-in does."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from babel import Locale
from playwright.sync_api import Browser, Page, expect

from services.portal.web import connect_views
from services.portal.web.connect_page import RETURN_PATH, ConnectPage
from shared.stripe_connect import STRIPE_CONNECT
from tests.fixtures.browser import FLAGS, chromium

PORTAL: Final = "https://portal.example"
SIGN_IN: Final = "https://dashboard.stripe.com/login"
SECRET: Final = "s" * 43
ROW: Any = SimpleNamespace(business_id="sunrise", name="Sunrise", logo_url=None, color="#2f6f9f")
PAGE: Final = ConnectPage(PORTAL, "ca_1", STRIPE_CONNECT)

Answer = tuple[int, list[tuple[str, str]], str]


class World:
    """All hosts at once: what each address answers, and the cookies that the portal was sent, by path."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.origins = origins
        self.cookies: dict[str, str] = {}
        self.referrers: list[str] = []

    def answer(self, method: str, host: str, path: str, cookie: str, referrer: str) -> Answer:
        if host == "portal.example":
            self.cookies[path] = cookie
        elif referrer:
            self.referrers.append(referrer)
        if path == f"/connect/{SECRET}" and method == "GET":
            page = connect_views.ask(
                ROW, SECRET, Locale("en"), platform="Acme", origins=self.origins, connected=False
            )
            return 200, list(page.headers), page.html
        if path == f"/connect/{SECRET}":
            return 303, [("Location", PAGE.address("state")), ("Set-Cookie", PAGE.cookie("mine"))], ""  # fmt: skip
        if path == "/oauth/authorize":
            return 302, [("Location", SIGN_IN)], ""
        if path == "/login":
            return 200, [("Content-Type", "text/html")], "<form method=post action=/answer><button>Connect</button></form>"  # fmt: skip
        if path == "/answer":
            return 302, [("Location", f"{PORTAL}{RETURN_PATH}?code=ac_1&state=state")], ""
        return 200, [("Content-Type", "text/html")], "<h1>back</h1>"


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[[World], Page]]:
    """A page of another Chromium, for which every host is this machine: of the run's own Playwright, since a process has one."""
    made: list[ThreadingHTTPServer] = []
    browsers: list[Browser] = []
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=portal.example", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def begin(world: World) -> Page:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(world))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
        flags = [one for one in FLAGS if not one.startswith("--host-resolver-rules")]
        flags += [f"--host-resolver-rules=MAP * 127.0.0.1:{server.server_address[1]}"]
        flags += ["--ignore-certificate-errors"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        browsers.append(browser.browser_type.launch(executable_path=chromium(), args=flags))
        page = browsers[-1].new_page(ignore_https_errors=True)
        page.set_default_timeout(10_000)
        return page

    yield begin
    for one in browsers:
        one.close()
    for server in made:
        server.shutdown()
        server.server_close()


def _handler(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, headers, body = world.answer(
                self.command,
                self.headers["Host"].partition(":")[0],
                parts.path,
                self.headers.get("Cookie", ""),
                self.headers.get("Referer", ""),
            )
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.headers["Host"].startswith("portal.example"):
                self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


def test_the_way_to_stripe_and_back(open_page: Callable[[World], Page]) -> None:
    """The form's policy lets Stripe's sign-in through, and the cookie comes back with Stripe's answer to its own form; no host of Stripe's
    is told the link."""
    world = World(PAGE.origins)
    page = open_page(world)
    page.goto(f"{PORTAL}/connect/{SECRET}")
    page.get_by_role("button", name="Continue to Stripe").click()
    page.wait_for_url(SIGN_IN)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("heading")).to_have_text("back")
    assert world.cookies[RETURN_PATH] == "__Host-portico-connect=mine"
    assert not any("/connect/" in one for one in world.referrers)


def test_the_policy_holds_redirects_against_the_form(open_page: Callable[[World], Page]) -> None:
    """So Stripe's other hosts have to be among its targets: with the first alone nobody gets to its sign-in."""
    page = open_page(World((STRIPE_CONNECT,)))
    refused: list[str] = []
    page.on("console", lambda told: refused.append(told.text))
    page.goto(f"{PORTAL}/connect/{SECRET}")
    page.get_by_role("button", name="Continue to Stripe").click()
    page.wait_for_timeout(1000)
    assert page.url != SIGN_IN
    assert any("form-action" in one for one in refused)
