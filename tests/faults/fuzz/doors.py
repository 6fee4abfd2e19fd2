"""Requests over HTTP to every door: what the doors are for, then more and more of it wrong."""

from __future__ import annotations

import base64
import copy
import random
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.faults.fuzz import odd
from tests.faults.payloads import golden, signature
from tests.fixtures.stripe_events import NAMES

METHODS: Final = (
    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW", "get",
)  # fmt: skip
HEADERS: Final = (
    "Accept-Language", "Cookie", "Content-Type", "Content-Encoding", "Expect", "X-Forwarded-For", "X-Forwarded-Proto", "Range",
    "Host", "Upgrade", "Connection", "Transfer-Encoding", "Content-Length", "traceparent", "If-None-Match", "Stripe-Signature",
)  # fmt: skip
PATHS: Final = (
    "/", "/healthz", "/readyz", "/metrics", "/webhooks/stripe", "/webhooks/sendgrid", "/me", "/me/", "/requests/", "/nothing",
    "//me//x", "/me/%00", "/me/..%2f..%2fetc", "/%ff%fe", "*", "/?", "http://evil.example/healthz", "/" + "a" * 9000,
)  # fmt: skip


@dataclass
class Sender:
    """SendGrid, as far as signing goes."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def public_key(self) -> str:
        """As SendGrid's settings page shows it."""
        der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def headers(self, body: bytes, at: int) -> dict[str, str]:
        """What a batch is signed with."""
        signed = self.key.sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signed).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": str(at),
        }


@dataclass(frozen=True)
class Target:
    """What of the system there is to aim at."""

    webhook_secret: str
    sender: Sender
    tokens: tuple[str, ...]
    """Of customers' links that are good."""
    stripe_customers: tuple[str, ...]


@dataclass(frozen=True)
class Shot:
    """One connection's worth of bytes."""

    kind: str
    service: str
    data: bytes
    leaves: bool = False
    """Whether the client is gone before the answer."""


class Doors:
    """The requests of a seed: the same number is the same request, but for times, keys and ids."""

    def __init__(self, seed: int, target: Target) -> None:
        self._seed, self._target = seed, target

    def shot(self, number: int) -> Shot:
        dice = random.Random(f"{self._seed} request {number}")
        kinds: dict[Callable[[random.Random], tuple[str, bytes]], int] = {
            self._stripe: 30,
            self._sendgrid: 15,
            self._link: 30,
            self._request_link: 5,
            self._anywhere: 20,
        }
        (make,) = dice.choices(list(kinds), list(kinds.values()))
        service, data = make(dice)
        pick = dice.random()
        if pick < 0.1:
            data = odd.spoilt(dice, data)
        elif pick < 0.15:
            data *= dice.choice((2, 3, 40))
        elif pick < 0.2:
            data = data[: dice.randrange(len(data) + 1)]
        return Shot(make.__name__.strip("_"), service, data, dice.random() < 0.03)

    def _stripe(self, dice: random.Random) -> tuple[str, bytes]:
        event = odd.mutated(dice, self._stripe_event(dice))
        body = odd.as_json(dice, event)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, self._target.webhook_secret)}  # fmt: skip
        return "billing", self._post(dice, "/webhooks/stripe", body, headers, forge=0.3)

    def _stripe_event(self, dice: random.Random) -> dict[str, Any]:
        event = copy.deepcopy(golden(dice.choice(NAMES)))
        event["id"] = f"evt_fuzz{dice.getrandbits(64):x}"
        thing = event["data"]["object"]
        if dice.random() < 0.5:
            known = dice.choice(self._target.stripe_customers)
            thing["id" if thing.get("object") == "customer" else "customer"] = known
        if dice.random() < 0.5 and thing.get("object") == "invoice":
            thing["id"] = f"in_fuzz{dice.randrange(1000)}"
        return event

    def _sendgrid(self, dice: random.Random) -> tuple[str, bytes]:
        event = {
            "email": "a@example.com", "timestamp": int(time.time()), "event": dice.choice(("delivered", "bounce", "dropped", "spamreport", "x")),
            "sg_event_id": f"fuzz{dice.getrandbits(64):x}", "sg_message_id": "m", "notification_id": f"ntf_{dice.randrange(100)}",
            "reason": "550", "type": dice.choice(("bounce", "blocked")),
        }  # fmt: skip
        body = odd.as_json(dice, odd.mutated(dice, [event] * dice.choice((1, 2, 30))))
        headers = self._target.sender.headers(body, int(time.time()))
        return "notifier", self._post(dice, "/webhooks/sendgrid", body, headers, forge=0.3)

    def _link(self, dice: random.Random) -> tuple[str, bytes]:
        token = self._token(dice, 27)
        below = dice.choice(("", "", "", "/billing", "/fresh-link", "/confirm/in_fuzz1", "/cancellation/1", "/appointments/1.ics", "/x"))  # fmt: skip
        query = "?" + urllib.parse.urlencode({dice.choice(("from", "updates", "x")): dice.choice(("payment_failed", "off", *odd.TEXTS)).encode("utf-8", "replace")})  # fmt: skip
        path = f"/me/{token}{below}{query if dice.random() < 0.4 else ''}"
        return "portal", self._browser(dice, path, "POST" if below else "GET")

    def _request_link(self, dice: random.Random) -> tuple[str, bytes]:
        return "portal", self._browser(dice, f"/requests/{self._token(dice, 23)}", "POST")

    def _anywhere(self, dice: random.Random) -> tuple[str, bytes]:
        service = dice.choice(("portal", "billing", "notifier"))
        path = dice.choice(PATHS)
        if dice.random() < 0.3:
            path = "/" + urllib.parse.quote(dice.choice(odd.TEXTS).encode("utf-8", "replace"))
        return service, self._browser(dice, path, "GET")

    def _token(self, dice: random.Random, first: int) -> str:
        good = dice.choice(self._target.tokens)
        pick = dice.random()
        if pick < 0.5:
            return good
        if pick < 0.7:
            at = dice.randrange(len(good))
            return good[:at] + dice.choice("AZaz09-_.%") + good[at + 1 :]
        if pick < 0.9:
            letters = "".join(dice.choices("ABCDEFGHabcdefgh0123-_", k=first + 43))
            return f"{letters[:first]}.{letters[first:]}"
        return urllib.parse.quote(dice.choice(odd.TEXTS).encode("utf-8", "replace"))

    def _browser(self, dice: random.Random, path: str, method: str) -> bytes:
        if dice.random() < 0.25:
            method = dice.choice(METHODS)
        headers = {}
        for _ in range(dice.choice((0, 0, 1, 3))):
            text = dice.choice(
                (*odd.TEXTS, "de-AT,en;q=0.5", "100-continue", "chunked", "gzip", "5")
            )
            headers[dice.choice(HEADERS)] = text.replace("\n", " ")
        body = b""
        if method not in ("GET", "HEAD") or dice.random() < 0.1:
            form = {dice.choice(("from", "x")): dice.choice(odd.TEXTS).encode("utf-8", "replace")}
            body = dice.choice(
                (
                    b"",
                    urllib.parse.urlencode(form).encode(),
                    b"&" * 16_000,
                    b"x" * 17_000,
                    b"\xff" * 9,
                )
            )
        return framed(dice, method, path, headers, body)

    def _post(
        self, dice: random.Random, path: str, body: bytes, headers: dict[str, str], *, forge: float
    ) -> bytes:
        if dice.random() < forge:
            name = dice.choice(list(headers))
            headers[name] = dice.choice(
                (*odd.TEXTS, headers[name][:-1], "t=1,v1=00", "t=" + "9" * 400 + ",v1=0")
            ).replace("\n", " ")
        return framed(dice, "POST", path, headers, body)


def framed(
    dice: random.Random, method: str, path: str, headers: dict[str, str], body: bytes
) -> bytes:
    """The request's bytes: with its length, in chunks, or with a length that is not true."""
    lines = [f"{method} {path} HTTP/{'1.1' if dice.random() < 0.97 else dice.choice(('1.0', '0.9', '2.0', '9'))}"]  # fmt: skip
    lines += ["Host: x"] if "Host" not in headers else []
    lines += [f"{name}: {text}" for name, text in headers.items()]
    pick = dice.random()
    if pick < 0.75:
        lines.append(f"Content-Length: {len(body)}")
    elif pick < 0.9:
        lines.append("Transfer-Encoding: chunked")
        body = in_chunks(dice, body)
    else:
        lie = dice.choice((len(body) + 1, max(0, len(body) - 1), 2**40, -1, "x", "1_0", "0x1"))
        lines.append(f"Content-Length: {lie}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("utf-8", "replace") + body


def in_chunks(dice: random.Random, body: bytes) -> bytes:
    """The body in chunks, now and then as nobody should write them."""
    size = dice.choice((1, 7, 1000, 100_000))
    body = body[: size * 2000]
    made = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + size]), body[at : at + size])
        for at in range(0, len(body), size)
    )
    return made + dice.choice((b"0\r\n\r\n",) * 8 + (b"", b"0\r\nX: y\r\n\r\n", b"0x0\r\n\r\n", b"-1\r\n", b"fffffffffff\r\n"))  # fmt: skip
