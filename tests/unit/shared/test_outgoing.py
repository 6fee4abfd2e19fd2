"""Requests to vendors: what their spans tell of an address, and who may be reached through a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from services.billing.adapters.stripe.objects import PATH_WORDS
from shared import tracing
from shared.http_client import HttpPool
from shared.tracing.recorder import session_to
from tests.fixtures.spans import Spans, named, parent


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """The wire is cut: the headers of what would leave are kept, and it is answered 200, or as they wish."""
    headers: list[Mapping[str, str]] = []

    def urlopen(self: Any, method: str, url: str, **how: Any) -> urllib3.BaseHTTPResponse:
        headers.append(how["headers"])
        return urllib3.HTTPResponse(b"", {}, int(how["headers"].get("X-Answer", 200)))

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
    return headers


def stripe() -> HttpPool:
    return HttpPool("https://api.stripe.com", words=PATH_WORDS, connections=1, timeouts=(1, 1))


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/invoices/in_1QxSecret/pay", "/v1/invoices/{id}/pay"),
        ("/v1/billing_portal/sessions", "/v1/billing_portal/sessions"),
        ("/v1/customers/pay_me?email=ada@example.com", "/v1/customers/{id}"),
        ("/v1/something/new", "/v1/{id}/{id}"),
    ],
)
def test_a_vendor_call_tells_a_template(
    spans: Spans, left: list[Mapping[str, str]], path: str, template: str
) -> None:
    """Method, host, template and status: no id, no query, and no header of ours goes to the vendor."""
    with tracing.task("click", "") as click:
        stripe().post(path, b"", {})
    span = spans.one(f"POST {template}")
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "api.stripe.com",
        "url.template": template,
        "http.response.status_code": 200,
    }
    assert parent(span) == named(click.traceparent)
    assert left == [{}]


@pytest.mark.parametrize(("status", "failed"), [(200, False), (402, True), (503, True)])
def test_a_refusal_is_an_error_of_ours(
    spans: Spans, left: list[Mapping[str, str]], status: int, failed: bool
) -> None:
    """A 4xx from a vendor is an error of the span, as a 5xx is, and told by its number alone."""
    stripe().post("/v1/invoices", b"", {"X-Answer": str(status)})
    span = spans.one("POST /v1/invoices")
    assert (span.status.status_code.name == "ERROR") == failed
    assert (span.attributes or {}).get("error.type") == (str(status) if failed else None)


def test_the_way_to_the_collector_is_not_traced(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter that traced itself would never come to rest."""
    sent: list[str | None] = []

    def send(self: Any, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        sent.append(request.url)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b""
        answer.raw = None
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", send)
    session_to("http://collector:4318").post("http://collector:4318/v1/traces")
    assert sent == ["http://collector:4318/v1/traces"]
    assert spans.all() == ()


def test_off_it_goes_straight_through(left: list[Mapping[str, str]]) -> None:
    """Without tracing nothing is around the request."""
    assert stripe().get("/v1", {}).status == 200
    assert len(left) == 1


@pytest.mark.parametrize(
    ("base", "proxied"),
    [
        ("https://collector.example.com", True),
        ("http://127.0.0.1:8010", False),
        ("http://[::1]:8010", False),
        ("http://localhost", False),
        ("http://collector:4318", True),
    ],
)
def test_proxies_are_for_the_world_outside(base: str, proxied: bool) -> None:
    """What the environment says of proxies does not concern this machine."""
    assert session_to(base).trust_env is proxied
