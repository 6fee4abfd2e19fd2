"""Stripe's side: posts webhooks and repeats what was not accepted, as Stripe does."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.payloads import signature
from tests.faults.plan import Delivery, Forgery

WORKERS = 8
REQUEST_SECONDS = 20.0


@dataclass(frozen=True)
class Door:
    """A webhook endpoint, and the secrets of its signatures that are in force."""

    path: str
    secrets: Sequence[str]


@dataclass
class Ledger:
    """What the endpoint answered."""

    accepted: dict[str, float] = field(default_factory=dict)
    """When (seconds since the epoch) the first 2xx for each event came."""
    copies: Counter[str] = field(default_factory=Counter)
    """How often each event was answered with a 2xx."""
    refused: Counter[str] = field(default_factory=Counter)
    """How often each event was answered otherwise, or not at all."""
    answers: dict[int, int] = field(default_factory=dict)
    """How often each status came; 0 for no answer."""
    seconds: list[float] = field(default_factory=list)
    """How long each 2xx took."""
    forged_accepted: set[str] = field(default_factory=set)


class Poster:
    """Posts deliveries from several threads to several endpoints; non-2xx and silence are repeated after a pause.

    `ports` and `secrets` (all that are in force) may be exchanged for others at any time.
    """

    def __init__(
        self,
        ports: Sequence[int],
        secret: str,
        seed: int = 0,
        doors: Mapping[str, Door] | None = None,
    ) -> None:
        """`doors`: those of several accounts, by their ids."""
        self.ledger = Ledger()
        self._doors = doors or {}
        self.ports, self.secrets = ports, (secret,)
        self._dice = random.Random(seed)
        self._heap: list[tuple[float, int, Delivery]] = []
        self._number = itertools.count()
        self._condition = threading.Condition()
        self._busy = 0
        self._ended = False
        for _ in range(WORKERS):
            threading.Thread(target=self._work, daemon=True, name="poster").start()

    def post(self, deliveries: list[Delivery], over: float = 0.0) -> None:
        """Have them posted, spread evenly over so many seconds from now; returns at once."""
        now = time.monotonic()
        pace = over / max(1, len(deliveries))
        with self._condition:
            for place, delivery in enumerate(deliveries):
                heapq.heappush(self._heap, (now + place * pace, next(self._number), delivery))
            self._condition.notify_all()

    def idle(self) -> bool:
        """everything posted is accepted (or, forged, refused)"""
        with self._condition:
            return not self._heap and not self._busy

    def drain(self, within: float) -> None:
        """Wait until idle. Raises TimeoutError."""
        end = time.monotonic() + within
        while not self.idle():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"webhooks still refused after {within:g} s: {self.ledger.answers}"
                )
            time.sleep(0.05)

    def close(self) -> None:
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _take(self) -> Delivery | None:
        with self._condition:
            while not self._ended:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and wait <= 0:
                    self._busy += 1
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(wait)
        return None

    def _work(self) -> None:
        connections: dict[int, http.client.HTTPConnection] = {}
        while (delivery := self._take()) is not None:
            port = self._dice.choice(self.ports)
            connection = connections.setdefault(
                port, http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
            )
            began = time.monotonic()
            status = self._send(connection, delivery)
            self._settle(delivery, status, time.monotonic() - began)
        for connection in connections.values():
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, delivery: Delivery) -> int:
        path, secrets = self._door(delivery)
        body, headers = signed(delivery, secrets)
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0
        if answer.will_close:
            connection.close()
        return answer.status

    def _door(self, delivery: Delivery) -> tuple[str, Sequence[str]]:
        if not self._doors:
            return "/webhooks/stripe", self.secrets
        door = self._doors[delivery.account]
        if delivery.forgery is Forgery.OTHER_ACCOUNT:
            others = [one.secrets for one in self._doors.values() if one.secrets != door.secrets]
            return door.path, self._dice.choice(others)
        return door.path, door.secrets

    def _settle(self, delivery: Delivery, status: int, seconds: float) -> None:
        ledger, event_id = self.ledger, delivery.event_id
        with self._condition:
            self._busy -= 1
            ledger.answers[status] = ledger.answers.get(status, 0) + 1
            good = 200 <= status < 300
            if good and delivery.forgery:
                ledger.forged_accepted.add(event_id)
            elif good:
                ledger.accepted.setdefault(event_id, time.time())
                ledger.copies[event_id] += 1
                ledger.seconds.append(seconds)
            elif status != 400 or not delivery.forgery:
                ledger.refused[event_id] += 1
                again = time.monotonic() + self._dice.uniform(0.3, 1.5)
                heapq.heappush(self._heap, (again, next(self._number), delivery))
                self._condition.notify()


def signed(delivery: Delivery, secrets: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a delivery, fresh; or as its forgery wants them."""
    body = json.dumps(delivery.event, ensure_ascii=False).encode()
    header = signature(body, *secrets)
    if delivery.forgery is Forgery.OTHER_SECRET:
        header = signature(body, "whsec_of_somebody_else_entirely")
    elif delivery.forgery is Forgery.ALTERED:
        body = body.replace(b'"amount_due": 8900', b'"amount_due": 9900')
    elif delivery.forgery is Forgery.STALE:
        header = signature(body, *secrets, at=int(time.time()) - 3600)
    headers = {"Content-Type": "application/json", "Stripe-Signature": header}
    if delivery.forgery is Forgery.UNSIGNED:
        del headers["Stripe-Signature"]
    return body, headers
