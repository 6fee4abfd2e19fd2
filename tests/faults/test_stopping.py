"""SIGTERM: an idle service ends at once, one with work ends it first, and the second signal is final."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.processes import SERVICES
from tests.faults.books import accepted_mails
from tests.faults.payloads import invoice_event, signature
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.regulars import Regulars
from tests.faults.system import System

COLD = True
IDLE_STOP_SECONDS = 2.0
SLOW_SECONDS = 15
"""Until SendGrid has taken the mail and tells so, when the notifier runs again: the sandbox tells it once."""


def http_request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request, as a kept-alive client sends it."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n" + "".join(
        lines
    )
    return head.encode() + b"\r\n" + body


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    while piece := connection.recv(1 << 20):
        data += piece
    return data


def a_request(system: System, service: str) -> bytes:
    """One that costs the service something."""
    if service == "portal":
        return http_request("GET", "/me/nobody.knows")
    if service == "notifier":
        return http_request("POST", "/webhooks/sendgrid", b"[]")
    event = invoice_event(
        "invoice.paid", event_id="evt_regular", invoice_id="in_regular", customer_id="cus_faults0"
    )
    body = json.dumps(event).encode()
    signed = signature(body, system.stack.webhook_secret)
    return http_request("POST", "/webhooks/stripe", body, Stripe_Signature=signed)


@pytest.mark.parametrize("service", SERVICES)
def test_an_idle_service_ends_at_once(system: System, service: str) -> None:
    """Nothing to finish: exit 0 within two seconds, the better of two tries."""
    process = system.stack.processes(service)[0]
    took = []
    for _ in range(2):
        began = time.monotonic()
        assert system.end(process) == 0
        took.append(time.monotonic() - began)
        system.resume(process)
        time.sleep(1)  # ready for pages, not yet for calls
    print(f"\n{service}: {', '.join(f'{one:.2f}' for one in took)} s")
    assert min(took) < IDLE_STOP_SECONDS


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_starts_can_be_ended(system: System, service: str) -> None:
    """SIGTERM at any moment of a start, and while it waits for its broker: it ends soon, and never by the grace period."""
    process = system.stack.processes(service)[0]
    system.end(process)
    for moment in (0.3, 0.8, 1.3):
        process.launch()
        time.sleep(moment)
        assert system.end(process) in (0, -signal.SIGTERM)
    system.stack.amqp.refuse()
    try:
        process.start()
        began = time.monotonic()
        assert system.end(process) == 0
        assert time.monotonic() - began < 10
    finally:
        system.stack.amqp.open()
    system.resume(process)


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_that_was_accepted_is_answered_in_full(system: System, service: str) -> None:
    """SIGTERM while clients ask on kept-alive connections: each gets whole answers, then a closed connection; nothing is cut
    and nothing fails."""
    process = system.stack.processes(service)[0]
    with Regulars(process.port, a_request(system, service)) as regulars:
        time.sleep(1)
        assert system.end(process) == 0
    system.resume(process)
    print(f"\n{service}: {dict(regulars.outcomes)}")
    assert process.log_text().count("a service died") == 0
    assert regulars.bad() == {}
    assert sum(regulars.outcomes.values()) > 100


def test_what_was_asked_together_is_answered_before_the_end(system: System) -> None:
    """SIGTERM in the middle of two thousand requests that came at once, most of them not read yet: each has its answer, and the
    last one says that the connection ends."""
    process = system.stack.processes("billing")[0]
    asked = http_request("GET", "/nothing") * 2000
    with (
        socket.create_connection(("127.0.0.1", process.port), timeout=30) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        connection.sendall(asked)
        begun = connection.recv(100)
        reading = pool.submit(read_all, connection)
        assert system.end(process) == 0
        said = begun + reading.result()
    system.resume(process)
    assert said.count(b"HTTP/1.1 404 ") == 2000
    assert said.count(b"\r\nConnection: close\r\n") == 1


def test_the_second_sigterm_is_final_and_doubles_nothing(system: System, poster: Poster) -> None:
    """A mail is on its way: the first SIGTERM waits for it, the second doesn't; started again, the customer has one mail."""
    notifier = system.stack.processes("notifier")[0]
    system.sandbox(
        "POST", "/sandbox/faults", {"match": "POST /v3/mail/send", "delay_seconds": SLOW_SECONDS, "times": 1}
    )  # fmt: skip
    event = invoice_event(
        "invoice.payment_failed", event_id="evt_second", invoice_id="in_second", customer_id="cus_faults0"
    )  # fmt: skip
    poster.post([Delivery(event)])
    status = "SELECT status FROM notifications WHERE invoice_id = 'in_second'"
    system.wait(lambda: system.rows("notifier", status) == [("sending",)], 20)
    time.sleep(0.5)  # until the request is at SendGrid
    with system.expecting(notifier):
        notifier.signal(signal.SIGTERM)
        time.sleep(1.5)
        assert notifier.running
        began = time.monotonic()
        notifier.signal(signal.SIGTERM)
        system.wait(lambda: not notifier.running, 5)
        assert time.monotonic() - began < 1
        assert notifier.returncode == 1
        notifier.start()
    assert "second signal, leaving now" in notifier.log_text()
    # SendGrid has taken it, and its own webhook says what became of it.
    done = [[("sent",)], [("delivered",)]]
    system.wait(lambda: system.rows("notifier", status) in done, 60)
    [(notification_id,)] = system.rows(
        "notifier", "SELECT notification_id FROM notifications WHERE invoice_id = 'in_second'"
    )
    assert len(accepted_mails(system)[notification_id]) == 1
    assert system.fell == []
