"""Stripe and SendGrid, as far as the bench needs them, and fast: answers at once, counts mails, remembers when they came."""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import ssl  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

ID = re.compile(rb'"notification_id": ?"([^"]+)"')
INVOICE = json.dumps(
    {
        "error": {
            "type": "invalid_request_error",
            "code": "resource_missing",
            "message": "No such invoice",
        }
    }
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
MISSING = answer("404 Not Found", INVOICE)


def handle(request: bytes, body: bytes) -> bytes:
    """What a request gets."""
    global copies
    if request.startswith(b"POST /v3/mail/send"):
        found = ID.search(body)
        key = found[1].decode() if found else f"plain-{len(mails)}"
        copies += key in mails
        mails.setdefault(key, time.time())
        return ACCEPTED
    if request.startswith(b"GET /ready"):
        return answer("200 OK", "{}")
    if request.startswith(b"GET /count"):
        last = max(mails.values(), default=0)
        return answer("200 OK", json.dumps({"mails": len(mails), "copies": copies, "last": last}))
    if request.startswith(b"POST /forget"):
        mails.clear()
        return answer("200 OK", "{}")
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
    """Listen on PORT; with CERTIFICATE (a PEM file with its key) over TLS."""
    listener = eventlet.listen(("127.0.0.1", int(os.environ["PORT"])), backlog=512)
    if certificate := os.environ.get("CERTIFICATE"):
        plain = eventlet.listen(("127.0.0.1", int(os.environ["PLAIN_PORT"])))
        eventlet.spawn_n(eventlet.serve, plain, serve, 1000)
        listener = eventlet.wrap_ssl(listener, certfile=certificate, server_side=True)
    eventlet.serve(listener, serve, 1000)


if __name__ == "__main__":
    main()
