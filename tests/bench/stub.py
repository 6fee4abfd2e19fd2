"""Stripe, SendGrid and a host that gets webhooks, as far as the bench needs them, and fast: answers at once, counts, remembers when mails came."""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import ssl  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from typing import Any  # noqa: E402

ID = re.compile(rb'"notification_id": ?"([^"]+)"')
TAKES = re.compile(rb"^GET /stripe-takes/([\d.]+)")
OF_ACCOUNT = re.compile(rb"^GET /stripe-of/(acct_\w+)/([\d.]+)/(\d+)")
STRIPE_ACCOUNT = re.compile(rb"\r\nstripe-account: (acct_\w+)", re.IGNORECASE)
HOSTS_TAKE = re.compile(rb"^GET /hosts-take/([\d.]+)")
AFTER = re.compile(rb"^GET /after/(\d+)")
PATIENCE_SECONDS = 8.0
"""How long `GET /after/N` waits for the next mail."""
INVOICE_ID = re.compile(rb"^GET /v1/invoices/(in_\w+)")
LOOK = """{"id": "ID", "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd",
 "amount_due": 14900, "amount_remaining": 14900, "amount_paid": 0, "attempted": true, "attempt_count": 1,
 "collection_method": "charge_automatically", "billing_reason": "subscription_cycle", "number": "SUN-1",
 "next_payment_attempt": 4102444800,
 "parent": {"type": "subscription_details", "subscription_details": {"metadata": {}, "subscription":
 {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "past_due"}}},
 "payments": {"object": "list", "has_more": false, "url": "/v1/invoice_payments", "data": [{"id": "inpay_1",
 "object": "invoice_payment", "is_default": true, "created": 1, "payment": {"type": "payment_intent",
 "payment_intent": {"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method",
 "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds", "payment_method":
 {"id": "pm_1", "object": "payment_method", "card": {"brand": "visa", "last4": "0341", "exp_month": 12, "exp_year": 2030}}
 }}}}]}}"""
UNKNOWN = (
    '{"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "unknown"}}'
)

mails: dict[str, float] = {}
"""When each notification came, by its id."""
copies = 0


def answer(status: str, body: str, extra: str = "") -> bytes:
    """One whole HTTP response."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


ACCEPTED = answer("202 Accepted", "", "X-Message-Id: stub\r\n")
MISSING = answer("404 Not Found", UNKNOWN)
BUSY = answer(
    "429 Too Many Requests",
    '{"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "slow down"}}',
)
stripe: Counter[int] = Counter()
"""Requests to Stripe in each second."""
stripe_takes = 0.0
"""Seconds until Stripe answers: none, or as `GET /stripe-takes/SECONDS` has said, which counts anew."""

hosts_take = 0.0
"""Seconds until a host answers a webhook, as `GET /hosts-take/SECONDS` has said."""

of_account: dict[bytes, tuple[float, bool]] = {}
"""Accounts whose Stripe differs, as `GET /stripe-of/ACCOUNT/SECONDS/STATUS` has said: seconds until it answers, and whether that
is a 429."""


def handle(request: bytes, body: bytes) -> bytes:
    """What a request gets."""
    global copies, hosts_take, stripe_takes
    if request.startswith(b"POST /v3/mail/send"):
        found = ID.search(body)
        key = found[1].decode() if found else f"plain-{len(mails)}"
        copies += key in mails
        mails.setdefault(key, time.time())
        return ACCEPTED
    if request.startswith(b"POST /hook/"):
        eventlet.sleep(hosts_take)
        return answer("200 OK", "")
    if (takes := HOSTS_TAKE.match(request)) is not None:
        hosts_take = float(takes[1])
        return answer("200 OK", "{}")
    if request.startswith(b"GET /ready"):
        return answer("200 OK", "{}")
    if request.startswith(b"GET /count"):
        return counted()
    if request.startswith(b"GET /mails"):
        return answer("200 OK", json.dumps(mails))
    if (after := AFTER.match(request)) is not None:
        end = time.monotonic() + PATIENCE_SECONDS
        while len(mails) <= int(after[1]) and time.monotonic() < end:
            eventlet.sleep(0.005)
        return counted() if len(mails) > int(after[1]) else answer("504 Gateway Timeout", "{}")
    if (takes := TAKES.match(request)) is not None:
        stripe_takes = float(takes[1])
        stripe.clear()
        return answer("200 OK", "{}")
    if (differs := OF_ACCOUNT.match(request)) is not None:
        of_account[differs[1]] = float(differs[2]), differs[3] == b"429"
        return answer("200 OK", "{}")
    stripe[int(time.time())] += 1
    account = STRIPE_ACCOUNT.search(request)
    takes, busy = of_account.get(account[1] if account else b"", (stripe_takes, False))
    eventlet.sleep(takes)
    return BUSY if busy else stripe_answer(request)


def counted() -> bytes:
    """What came so far, and when the latest mail did."""
    told = {
        "mails": len(mails),
        "copies": copies,
        "last": max(mails.values(), default=0),
        "stripe": stripe.total(),
        "stripe_most": max(stripe.values(), default=0),
    }
    return answer("200 OK", json.dumps(told))


def stripe_answer(request: bytes) -> bytes:
    """Any invoice is open and was declined once; all are of one subscription. What is asked for stands in it."""
    if (invoice := INVOICE_ID.match(request)) is not None:
        return answer("200 OK", LOOK.replace("ID", invoice[1].decode()))
    return MISSING


def serve(sock: Any, address: Any) -> None:
    """One keep-alive connection."""
    buffer = b""
    try:
        while True:
            while b"\r\n\r\n" not in buffer:
                piece = sock.recv(65536)
                if not piece:
                    return
                buffer += piece
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            while len(buffer) < length:
                piece = sock.recv(65536)
                if not piece:
                    return
                buffer += piece
            body, buffer = buffer[:length], buffer[length:]
            sock.sendall(handle(head, body))
    except (OSError, ssl.SSLError):
        return
    finally:
        sock.close()


def main() -> None:
    """Listen on PORT over TLS with CERTIFICATE (a PEM file with its key), and on PLAIN_PORT without."""
    listener = eventlet.listen(("127.0.0.1", int(os.environ["PORT"])), backlog=512)
    plain = eventlet.listen(("127.0.0.1", int(os.environ["PLAIN_PORT"])))
    eventlet.spawn_n(eventlet.serve, plain, serve, 1000)
    listener = eventlet.wrap_ssl(listener, certfile=os.environ["CERTIFICATE"], server_side=True)
    eventlet.serve(listener, serve, 1000)


if __name__ == "__main__":
    main()
