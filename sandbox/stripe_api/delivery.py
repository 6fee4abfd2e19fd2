"""Webhooks: signed, posted, tried again; duplicated, shuffled, delayed or lost on demand."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
import requests
from msgspec import Meta

from sandbox.config import SandboxConfig
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.store import Object, Store, encode
from sandbox.stripe_api.versions import render_for

WORKERS = 8
ANSWER_SECONDS = 10
"""What an endpoint has to answer."""
SHUFFLE_WINDOW = 0.5
"""Seconds within which shuffled deliveries change places."""


class Weather(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How deliveries behave. `enabled` False holds them back until it is True again; `drop` loses them: the
    events can only be found by listing them."""

    duplicate: Annotated[int, Meta(ge=1)] = 1
    shuffle: bool = False
    delay_seconds: Annotated[float, Meta(ge=0)] = 0.0
    enabled: bool = True
    drop: bool = False


@dataclass(frozen=True)
class Task:
    """One delivery to be made: attempt number `attempt` (from 0) of an event at an endpoint.

    `store` is that of the place where it happened; a Connect endpoint is in its platform's.
    """

    store: Store
    event_id: str
    endpoint_id: str
    attempt: int = 0


def hears(endpoint: Object, type: str | None) -> bool:
    """Whether an endpoint is sent events of a type, or of any (None)."""
    wanted = endpoint["enabled_events"]
    return endpoint["status"] == "enabled" and (type is None or "*" in wanted or type in wanted)


def signature(secret: str, body: bytes, at: int) -> str:
    """The `Stripe-Signature` header. See https://docs.stripe.com/webhooks#verify-manually."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Delivery:
    """The queue of deliveries and the (green) threads that make them.

    Deliveries to one endpoint run side by side, so they arrive in no particular order, as Stripe's do.
    """

    def __init__(
        self,
        config: SandboxConfig,
        lock: threading.RLock,
        work: Callable[[], AbstractContextManager[None]],
        envelope: Callable[[Store, str, Object], tuple[Object, Object] | None],
    ) -> None:
        """`lock` guards the stores while they are read; what is written, is written in a unit of `work`.

        `envelope` finds an endpoint by its id, for an event of a store, with what is added to the event on its way there.
        """
        self._config = config
        self._envelope = envelope
        self._lock = lock
        self._unit_of_work = work
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Task]] = []
        self._number = itertools.count()
        self._in_flight = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._session: requests.Session | None = None
        self._dice = random.Random()  # noqa: S311
        self.weather = Weather()

    def change_weather(self, weather: Weather) -> None:
        """Set how deliveries behave from now on."""
        with self._condition:
            self.weather = weather
            self._condition.notify_all()

    def start(self, stores: list[Store]) -> None:
        """Start the threads, and take up what was not delivered when the sandbox stopped."""
        self._stopping = False
        with self._lock:
            left = [
                (store, event) for store in stores for event in store.oldest("event", "pending")
            ]
        with self._condition:
            queued = {(task.event_id, task.endpoint_id) for _, _, task in self._heap}
            for store, event in left:
                for endpoint, state in event["_deliveries"].items():
                    if state == "pending" and (event["id"], endpoint) not in queued:
                        self._push(Task(store, event["id"], endpoint), 0)
        session = self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_connections=WORKERS, pool_maxsize=WORKERS)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        # The endpoints are this machine's own services: no proxy stands between.
        session.trust_env = False
        self._threads = [
            threading.Thread(
                target=self._work, args=(session,), name=f"sandbox-webhooks-{n}", daemon=True
            )
            for n in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads; what is not delivered stays pending."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        self._threads = []
        if self._session is not None:
            self._session.close()
            self._session = None

    def enqueue(self, events: list[tuple[Store, Object]]) -> None:
        """Queue the deliveries of new events."""
        tasks = [Task(store, e["id"], id) for store, e in events for id in e["_deliveries"]]
        weather = self.weather
        if weather.drop:
            for task in tasks:
                self._settle(task, "failed")
            return
        with self._condition:
            for task in tasks:
                for _ in range(weather.duplicate):
                    self._push(task, weather.delay_seconds)
            self._condition.notify(len(tasks) * weather.duplicate)

    def resend(self, store: Store, event: Object, endpoint_ids: list[str]) -> int:
        """Deliver an event once more, whatever became of it before; returns to how many endpoints."""
        with self._condition:
            for endpoint in endpoint_ids:
                self._push(Task(store, event["id"], endpoint), 0)
            self._condition.notify_all()
        return len(endpoint_ids)

    def idle(self, timeout: float = 10.0) -> bool:
        """Wait until nothing is due or under way (retries that lie in the future don't count)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._condition:
                due = bool(self._heap) and self._heap[0][0] <= time.monotonic()
                if not due and not self._in_flight:
                    return True
            time.sleep(0.01)
        return False

    def _push(self, task: Task, delay: float) -> None:
        if self.weather.shuffle:
            delay += self._dice.uniform(0, SHUFFLE_WINDOW)
        heapq.heappush(self._heap, (time.monotonic() + delay, next(self._number), task))

    def _work(self, session: requests.Session) -> None:
        while (task := self._take()) is not None:
            try:
                self._deliver(session, task)
            finally:
                with self._condition:
                    self._in_flight -= 1

    def _take(self) -> Task | None:
        with self._condition:
            while not self._stopping:
                wait: float | None = None
                if self._heap and self.weather.enabled:
                    wait = self._heap[0][0] - time.monotonic()
                    if wait <= 0:
                        self._in_flight += 1
                        return heapq.heappop(self._heap)[2]
                self._condition.wait(wait)
            return None

    def _deliver(self, session: requests.Session, task: Task) -> None:
        with self._lock:
            event = task.store.get(task.event_id)
            found = event and self._envelope(task.store, task.endpoint_id, event)
            if event is None or not found or found[0]["status"] != "enabled":
                self._settle(task, "failed")
                return
            endpoint, added = found
            shown = {**public(render_for(event, endpoint["api_version"])), **added}
            url, secret = endpoint["url"], endpoint["_secret"]
        body = encode(shown)
        # Real time, whatever the world's clock says: receivers compare it with theirs.
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(secret, body, int(time.time())),
        }
        try:
            answer = session.post(
                url,
                data=body,
                headers=headers,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
            delivered = 200 <= answer.status_code < 300
        except requests.RequestException:
            delivered = False
        delays = self._config.webhook_retry_delays
        if delivered:
            self._settle(task, "succeeded")
        elif task.attempt < len(delays):
            with self._condition:
                self._push(replace(task, attempt=task.attempt + 1), delays[task.attempt])
                self._condition.notify_all()
        else:
            self._settle(task, "failed")

    def _settle(self, task: Task, outcome: str) -> None:
        with self._unit_of_work():
            event = task.store.get(task.event_id)
            if event is None or event["_deliveries"].get(task.endpoint_id) == "succeeded":
                return
            event["_deliveries"][task.endpoint_id] = outcome
            waiting = sum(1 for state in event["_deliveries"].values() if state != "succeeded")
            if "pending_webhooks" in event:
                event["pending_webhooks"] = waiting
            task.store.save(event)
