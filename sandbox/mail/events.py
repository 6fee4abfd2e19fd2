"""SendGrid's Event Webhook: what it reports, how it signs, and that it does not give up.

Source: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event and
``…/getting-started-event-webhook-security-features``. Payloads end in CRLF as the real ones do: a
receiver that verifies anything but the raw bytes fails here too.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BATCH_SIZE = 250
KEPT_RECORDS = 2000

Post = Callable[[str, bytes, Mapping[str, str]], int]
"""Sends a body to a URL; returns the HTTP status, or raises ``OSError`` when nobody answered."""


class SigningKey:
    """The account's ECDSA P-256 key pair for signed event webhooks."""

    def __init__(self, pem: bytes | None = None) -> None:
        if pem is None:
            self._key = ec.generate_private_key(ec.SECP256R1())
            return
        loaded = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("the stored event webhook key is not an elliptic-curve key")
        self._key = loaded

    @property
    def public(self) -> str:
        """The public key as SendGrid's settings page shows it: base64 of the DER form."""
        der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def pem(self) -> bytes:
        """The private key, for the state file."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def headers(self, body: bytes, timestamp: int) -> dict[str, str]:
        """Signature headers over ``timestamp`` (epoch seconds, as text) followed by ``body``."""
        signature = self._key.sign(str(timestamp).encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            SIGNATURE_HEADER: base64.b64encode(signature).decode(),
            TIMESTAMP_HEADER: str(timestamp),
        }


def encode(events: Iterable[Mapping[str, Any]]) -> bytes:
    """A webhook body, laid out as SendGrid does: one event a line, CRLF at the end."""
    lines = ",\r\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    return f"[{lines}]\r\n".encode()


def post_over_http() -> Post:
    """The real transport: pooled connections, ten seconds of patience."""
    session = requests.Session()
    session.trust_env = False

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        answer = session.post(
            url, data=body, headers=dict(headers), timeout=10, allow_redirects=False
        )
        return answer.status_code

    return post


@dataclass
class Record:
    """One event and how its delivery goes.

    ``state`` is ``waiting``, ``delivered``, ``failing`` (will be tried again), ``given up`` or
    ``not sent`` (no webhook is configured).
    """

    event: Mapping[str, Any]
    mail_id: str
    state: str = "waiting"
    attempts: int = 0
    last_status: int | None = None


@dataclass(order=True)
class _Parcel:
    due: float
    number: int
    record: Record = field(compare=False)


class EventSender:
    """Delivers events in the background: in batches, signed, and again until a 2xx."""

    def __init__(self, key: SigningKey, url: str | None, post: Post | None = None) -> None:
        self.key = key
        self.url = url
        self.records: deque[Record] = deque(maxlen=KEPT_RECORDS)
        self.delivered = 0
        self.failed = 0
        self._post = post or post_over_http()
        self._heap: list[_Parcel] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = 0

    def put(self, mail_id: str, event: Mapping[str, Any], delay: float = 0.0) -> Record:
        """Record ``event`` and send it ``delay`` seconds from now."""
        record = Record(event, mail_id)
        with self._changed:
            self.records.append(record)
            if self.url is None:
                record.state = "not sent"
                return record
            self._push(record, delay)
        return record

    def again(self, records: Iterable[Record], copies: int) -> int:
        """Send already reported events ``copies`` more times; same ``sg_event_id`` each time."""
        count = 0
        with self._changed:
            if self.url is None:
                return 0
            for record in list(records):
                for _ in range(copies):
                    self._push(Record(record.event, record.mail_id), 0.0)
                    count += 1
        return count

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is due or on its way; False when ``timeout`` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._heap and not self._busy, timeout)

    def _push(self, record: Record, delay: float) -> None:
        heapq.heappush(self._heap, _Parcel(time.monotonic() + delay, next(self._numbers), record))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sendgrid-events", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._heap)
                self._changed.wait(max(0.0, self._heap[0].due - time.monotonic()))
                batch = self._take()
                self._busy = len(batch)
            if batch:
                self._deliver(batch)
            with self._changed:
                self._busy = 0
                self._changed.notify_all()

    def _take(self) -> list[Record]:
        now = time.monotonic()
        batch: list[Record] = []
        while self._heap and self._heap[0].due <= now and len(batch) < BATCH_SIZE:
            batch.append(heapq.heappop(self._heap).record)
        return batch

    def _deliver(self, batch: list[Record]) -> None:
        status: int | None
        body = encode(record.event for record in batch)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "SendGrid Event API",
            **self.key.headers(body, int(time.time())),
        }
        try:
            status = self._post(self.url or "", body, headers)
        except OSError:
            status = None
        with self._changed:
            for record in batch:
                self._settle(record, status)

    def _settle(self, record: Record, status: int | None) -> None:
        record.attempts += 1
        record.last_status = status
        if status is not None and 200 <= status < 300:
            record.state = "delivered"
            self.delivered += 1
        elif record.attempts > len(RETRY_DELAYS):
            record.state = "given up"
            self.failed += 1
        else:
            record.state = "failing"
            self._push(record, RETRY_DELAYS[record.attempts - 1])
