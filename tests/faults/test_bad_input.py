"""Bad input, by the hundred: no 5xx, no stack trace, no row, and the services go on. Examples are made by hypothesis."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from typing import Any

import kombu
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.messaging import topology
from tests.faults.payloads import invoice_event, signature
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.system import System

pytestmark = pytest.mark.timeout(600)

MANY = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TRACES = (b"Traceback", b'File "', b"sqlalchemy", b"psycopg2", b"nameko")

header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """One request; status and body. A connection that is closed without an answer is status 0."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value.encode("latin-1", "replace"))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def fine(status: int, body: bytes, *allowed: int) -> None:
    """No server error, and no word of what is inside."""
    assert status < 500 or status in allowed, (status, body[:300])
    assert not any(trace in body for trace in TRACES)


def port_of(system: System, service: str) -> int:
    return system.stack.processes(service)[0].port


def counted(system: System) -> list[Any]:
    """How many rows there are that strangers must not be able to make."""
    return [
        system.rows(
            "billing", "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)"
        ),
        system.rows(
            "notifier",
            "SELECT (SELECT count(*) FROM notifications), (SELECT count(*) FROM sendgrid_events)",
        ),
        system.rows(
            "portal", "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM invoices)"
        ),
    ]


def test_unsigned_webhooks_of_any_shape_leave_nothing(system: System) -> None:
    """Any body, any signature header, at Stripe's and SendGrid's door: 4xx and no row."""
    before = counted(system)

    @MANY
    @given(
        st.binary(max_size=300) | json_values.map(lambda v: json.dumps(v).encode()),
        header_text,
        header_text,
    )
    def check(body: bytes, signed: str, stamp: str) -> None:
        status, answer = ask(
            port_of(system, "billing"),
            "POST",
            "/webhooks/stripe",
            body,
            {"Stripe-Signature": signed},
        )
        fine(status, answer)
        assert status in (0, 400)
        status, answer = ask(
            port_of(system, "notifier"), "POST", "/webhooks/sendgrid", body,
            {"X-Twilio-Email-Event-Webhook-Signature": signed, "X-Twilio-Email-Event-Webhook-Timestamp": stamp},
        )  # fmt: skip
        fine(status, answer)
        assert status in (0, 400)

    check()
    assert counted(system) == before


def test_signed_webhooks_of_any_shape_are_answered_below_500(system: System) -> None:
    """A key that leaked, or a shape that Stripe will send next year: stored or refused, never an error of ours."""

    @MANY
    @given(
        json_values,
        st.sampled_from(["invoice.payment_failed", "customer.updated", "invoice.paid", "x.y"]),
    )
    def check(thing: Any, kind: str) -> None:
        event = {
            "id": f"evt_{uuid.uuid4().hex}", "object": "event", "type": kind, "livemode": False,
            "created": int(time.time()), "api_version": "2026-10-28.endive", "data": {"object": thing},
        }  # fmt: skip
        for document in (event, thing):
            body = json.dumps(document).encode()
            header = {"Stripe-Signature": signature(body, system.stack.webhook_secret)}
            fine(*ask(port_of(system, "billing"), "POST", "/webhooks/stripe", body, header))

    check()


def test_any_path_token_and_method_is_a_calm_page(system: System) -> None:
    """Tokens, paths, methods and headers that nobody made: an answer below 500 from every service."""
    before = counted(system)
    paths = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80)

    @MANY
    @given(
        paths,
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]),
        header_text,
        st.binary(max_size=60),
    )
    def check(text: str, method: str, header: str, body: bytes) -> None:
        headers = {
            "Accept-Language": header,
            "Cookie": header,
            "X-Forwarded-For": header,
            "Content-Type": header,
        }
        for service, path in (
            ("portal", f"/me/{text}"),
            ("portal", f"/me/{text}/billing"),
            ("portal", f"/{text}"),
            ("billing", f"/{text}"),
            ("notifier", f"/{text}"),
        ):
            fine(*ask(port_of(system, service), method, path, body, headers), 501)

    check()
    assert counted(system) == before


def test_messages_that_are_no_events_are_dead_letters_with_a_reason(
    system: System, poster: Poster
) -> None:
    """Wrong content type, wrong shape, an unknown version: each in the dead-letter queue with why; the next event is handled."""
    queue = topology.queue_name("notifier")
    wrong = [
        (b"not json", "application/json"),
        (b"\x80\x04\x95", "application/x-python-serialize"),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (json.dumps({"id": "1", "type": "invoice.paid", "version": 99, "occurred_at": "2026-11-23T00:00:00Z", "data": {}}).encode(), "application/json"),
        (json.dumps({"id": "2", "type": "invoice.paid", "version": 1, "occurred_at": "now", "data": 3}).encode(), "application/json"),
        (b"\xff\xfe", "text/plain"),
    ]  # fmt: skip
    before = counted(system)
    with kombu.Connection(system.rabbitmq.uri_of(system.stack.vhost)) as connection:
        producer = kombu.Producer(connection.channel())
        for body, content_type in wrong:
            producer.publish(
                body,
                routing_key=queue,
                content_type=content_type,
                content_encoding="utf-8",
                serializer=None,
            )
        system.wait(lambda: system.waiting().get(f"{queue}.dead") == len(wrong), 30)
        dead = kombu.Queue(f"{queue}.dead")(connection.channel())
        reasons = []
        while (message := dead.get(no_ack=True)) is not None:
            reasons.append(message.headers["x-error"])
    assert len(reasons) == len(wrong)
    assert all(reasons)
    assert counted(system) == before
    event = invoice_event(
        "invoice.payment_failed",
        event_id="evt_after",
        invoice_id="in_after",
        customer_id="cus_faults0",
    )
    poster.post([Delivery(event)])
    poster.drain(60)
    system.wait(
        lambda: bool(
            system.rows("notifier", "SELECT 1 FROM notifications WHERE invoice_id = 'in_after'")
        ),
        20,
    )


def test_nobody_died_of_it(system: System) -> None:
    """After all of the above every process is still the one that was started."""
    assert system.fell == []
    for name, text in system.stack.logs().items():
        assert "a service died" not in text, name
