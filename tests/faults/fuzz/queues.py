"""Messages for every queue and exchange: real ones with bodies, properties and headers that nobody should send."""

from __future__ import annotations

import bz2
import datetime as dt
import functools
import gzip
import inspect
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.faults.fuzz import odd
from tests.faults.test_rpc_fuzz import METHODS

GOLDEN: Final = Path(__file__).parents[2] / "contract/golden"
CONTENT_TYPES: Final = (
    "application/x-python-serialize", "text/plain", "application/octet-stream", "application/x-yaml", "", "x", "json", "\x00",
    "application/x-msgpack",
)  # fmt: skip
ENCODINGS: Final = (
    "binary",
    "utf-16",
    "",
    "no-such",
    "bz2",
    "zlib",
    "hex",
    "base64",
    "idna",
    "rot13",
    "\x00",
)
COMPRESSIONS: Final = (
    "application/x-gzip",
    "application/x-bz2",
    "gzip",
    "x",
    "",
    "application/x-lzma",
    7,
)
EXCHANGES: Final = ("nameko-rpc", "amq.topic")
"""On which services call, and hosts."""
X_DEATH: Final = "x-death"
"""RabbitMQ 3.10 ends dead-lettering on the whole node when it has to move a message in which this has another shape than its own."""
HEADERS: Final = (
    X_DEATH, "x-attempt", "x-error", "x-original-routing-key", "x-replays", "x-last-error", "x-first-death-reason", "x-delivery-count",
    "x-acquired-count", "compression", "traceparent", "nameko.call_id_stack", "nameko.correlation_id", "nameko.traceparent", "nameko.x",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    "abc", "", "3", -5, 0, 4, 99, 2**31, 2**62, -(2**62), 1.5, True, None, b"\xff\xfe", Decimal("1.5"), [], [1, "a", None], {},
    {"count": 3, "reason": "expired"}, [{"count": "x"}], dt.datetime(2026, 1, 1), "\x00", "x" * 9000,
)  # fmt: skip


@dataclass(frozen=True)
class Letter:
    """One message and where it goes."""

    kind: str
    exchange: str
    routing_key: str
    body: bytes
    properties: dict[str, Any]


class Queues:
    """The messages of a seed, for the queues that there are: the same number is the same message."""

    def __init__(self, seed: int, names: Sequence[str], stripe_customers: Sequence[str]) -> None:
        self._seed, self._customers = seed, tuple(stripe_customers)
        self._event = sorted(name for name in names if name.endswith(("-events", "-evidence")))
        self._side = sorted(name for name in names if ".retry." in name or name.endswith(".dead"))
        self._rpc = sorted(name for name in names if name.startswith("rpc-"))
        self._replies = sorted(name for name in names if name.startswith("rpc.reply-"))

    @property
    def consumed(self) -> list[str]:
        """The queues that somebody listens to."""
        return [*self._event, *self._rpc, *self._replies]

    def letter(self, number: int) -> Letter:
        dice = random.Random(f"{self._seed} message {number}")
        (kind,) = dice.choices(("event", "call", "reply", "side"), (45, 40, 8, 7))
        body = self._call(dice) if kind in ("call", "reply") else self._event_body(dice)
        exchange, key = self._address(dice, kind)
        properties = self._properties(dice, kind)
        if dice.random() < 0.01:
            body, properties = self._bomb(dice, properties)
        return Letter(kind, exchange, _sendable(key), body, properties)

    def _address(self, dice: random.Random, kind: str) -> tuple[str, str]:
        if kind == "event":
            if dice.random() < 0.2:
                document = json.loads(dice.choice(_events()))
                return "billing.events", dice.choice((document["type"], *odd.TEXTS[:8], "#", "*.*"))
            return "", dice.choice(self._event)
        if kind == "call":
            if dice.random() < 0.9:
                return dice.choice(EXCHANGES), dice.choice((*METHODS, "portal.no_such", "billing.", "notifier.__init__"))  # fmt: skip
            return "", dice.choice(self._rpc)
        return "", dice.choice(self._replies if kind == "reply" else self._side)

    def _event_body(self, dice: random.Random) -> bytes:
        document = json.loads(dice.choice(_events()))
        document["id"] = f"fuzz:{dice.getrandbits(64):x}"
        if dice.random() < 0.5 and "stripe_customer_id" in document["data"]:
            document["data"]["stripe_customer_id"] = dice.choice(self._customers)
        if dice.random() < 0.7:
            document = odd.mutated(dice, document)
        return odd.as_json(dice, document)

    def _call(self, dice: random.Random) -> bytes:
        names = list(inspect.signature(METHODS[dice.choice(list(METHODS))]).parameters)[1:]
        plain = ("faults", "c0", self._customers[0], "in_fuzz1", "a@example.com", "en", "UTC", "1h", 1, True, None)  # fmt: skip
        kwargs = {
            name: dice.choice(plain) if dice.random() < 0.6 else odd.value(dice)
            for name in names
            if dice.random() < 0.8
        }
        document: Any = {"args": [], "kwargs": kwargs}
        if dice.random() < 0.3:
            document = odd.mutated(dice, document)
        return odd.as_json(dice, document)

    def _properties(self, dice: random.Random, kind: str) -> dict[str, Any]:
        made: dict[str, Any] = {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
        }
        if kind == "call":
            made["correlation_id"] = f"{dice.getrandbits(64):x}"
            made["reply_to"] = dice.choice(("nobody", *self._replies, *odd.TEXTS[:6]))
        if kind == "reply":
            made["correlation_id"] = dice.choice(("nobody", *odd.TEXTS[:6]))
        if dice.random() < 0.15:
            made["content_type"] = dice.choice(CONTENT_TYPES)
        if dice.random() < 0.15:
            made["content_encoding"] = dice.choice(ENCODINGS)
        for name in ("message_id", "type", "app_id", "correlation_id", "reply_to"):
            if dice.random() < 0.05:
                made[name] = dice.choice(odd.TEXTS)
        if dice.random() < 0.05:
            made["expiration"] = dice.choice(("0", "1", "60000"))
        if dice.random() < 0.05:
            made["priority"] = dice.choice((0, 9, 255))
        if dice.random() < 0.5:
            headers = {
                dice.choice(HEADERS): dice.choice((*VALUES, *COMPRESSIONS)) for _ in range(dice.choice((1, 2, 5)))
            }  # fmt: skip
            if kind == "side" or "expiration" in made:  # moved by the broker itself
                headers.pop(X_DEATH, None)
            made["application_headers"] = headers
        return {name: _sendable(text) for name, text in made.items()}

    def _bomb(
        self, dice: random.Random, properties: dict[str, Any]
    ) -> tuple[bytes, dict[str, Any]]:
        """Little that becomes a lot where somebody unpacks it."""
        packed, compression, encoding = dice.choice(_bombs())
        if dice.random() < 0.5:
            return packed, properties | {"application_headers": {"compression": compression}}
        return packed, properties | {"content_encoding": encoding}


def _sendable(value: Any) -> Any:
    """What fits into AMQP's short strings: 255 bytes of UTF-8."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace")[:255].decode("utf-8", "ignore")


@functools.cache
def _events() -> tuple[str, ...]:
    return tuple(file.read_text() for file in sorted(GOLDEN.glob("*.json")))


@functools.cache
def _bombs() -> tuple[tuple[bytes, str, str], ...]:
    large = b'"' + b"x" * (50 << 20) + b'"'
    return (
        (gzip.compress(large), "application/x-gzip", "utf-8"),
        (bz2.compress(large), "application/x-bz2", "bz2"),
        (zlib.compress(large), "application/x-gzip", "zlib"),
    )
