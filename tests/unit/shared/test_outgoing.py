"""Requests to vendors: what their spans tell of an address, and who may be reached through a proxy."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from services.billing.adapters.stripe.objects import PATH_WORDS
from shared import tracing
from shared.http_sessions import session_to
from tests.fixtures.spans import Spans, named, parent


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """The wire is cut: what would leave is kept, and answered 200."""
    left: list[requests.PreparedRequest] = []

    def send(self: Any, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        left.append(request)
        answer = requests.Response()
        answer.status_code = int(request.headers.get("X-Answer", 200))
        answer.request, answer.url = request, request.url or ""
        answer.raw = None
        answer._content = b""
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return left


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
    spans: Spans, answering: list[requests.PreparedRequest], path: str, template: str
) -> None:
    """Method, host, template and status: no id, no query, and no header of ours goes to the vendor."""
    session = session_to("https://api.stripe.com", words=PATH_WORDS)
    with tracing.task("click", "") as click:
        session.post(f"https://api.stripe.com{path}")
    span = spans.one(f"POST {template}")
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "api.stripe.com",
        "url.template": template,
        "http.response.status_code": 200,
    }
    assert parent(span) == named(click.traceparent)
    assert "traceparent" not in answering[0].headers


@pytest.mark.parametrize(("status", "failed"), [(200, False), (402, True), (503, True)])
def test_a_refusal_is_an_error_of_ours(
    spans: Spans, answering: list[requests.PreparedRequest], status: int, failed: bool
) -> None:
    """A 4xx from a vendor is an error of the span, as a 5xx is, and told by its number alone."""
    session = session_to("https://api.stripe.com", words=PATH_WORDS)
    session.post("https://api.stripe.com/v1/invoices", headers={"X-Answer": str(status)})
    span = spans.one("POST /v1/invoices")
    assert (span.status.status_code.name == "ERROR") == failed
    assert (span.attributes or {}).get("error.type") == (str(status) if failed else None)


def test_the_way_to_the_collector_is_not_traced(
    spans: Spans, answering: list[requests.PreparedRequest]
) -> None:
    """A session without words makes no spans: an exporter that traced itself would never come to rest."""
    session_to("http://collector:4318").post("http://collector:4318/v1/traces")
    assert len(answering) == 1
    assert spans.all() == ()


def test_off_it_is_the_librarys_adapter(answering: list[requests.PreparedRequest]) -> None:
    """Without tracing the request goes straight through."""
    session = session_to("https://api.stripe.com", words=PATH_WORDS)
    assert session.get("https://api.stripe.com/v1").status_code == 200
    assert len(answering) == 1


@pytest.mark.parametrize(
    ("base", "proxied"),
    [
        ("https://api.stripe.com", True),
        ("http://127.0.0.1:8010", False),
        ("http://[::1]:8010", False),
        ("http://localhost", False),
        ("http://collector:4318", True),
    ],
)
def test_proxies_are_for_the_world_outside(base: str, proxied: bool) -> None:
    """What the environment says of proxies does not concern this machine."""
    session = session_to(base)
    assert session.trust_env is proxied
