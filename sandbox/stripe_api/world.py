"""The sandbox's Stripe: every object, the clock they live by, and the events that tell of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.config import SandboxConfig
from sandbox.stripe_api import params as parameters
from sandbox.stripe_api.clock import LIVE, Schedule, timeline
from sandbox.stripe_api.delivery import Delivery, hears
from sandbox.stripe_api.errors import missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.rendering import diff, public
from sandbox.stripe_api.store import Object, Store, copy

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at what has fallen due in real time."""
AT_ONE_TIME = 20
"""How often one object may have something to do at one moment: a pause that ends with the period ends first, then the renewal."""

RUN: dict[str, Callable[[World, Object], None]] = {}
"""By `object`: what happens when it falls due (`clock.DUE`). It must leave the object due later, or not at all."""
BESIDE: dict[str, tuple[str, Callable[[World, Object], Any]]] = {}
"""By `object`: a field of its events, and what stands there: what belonged to the object then, for older API versions."""


class World:
    """All of Stripe that the sandbox plays. Safe to use from several threads or green threads.

    Handlers get the world and use `get`, `save`, `edit`, `emit`, `now`. Nothing is delivered, and real time makes nothing
    fall due, until `start` has been called.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.store = Store(config.state_path)
        self.lock = threading.RLock()
        self.schedule = Schedule()
        self.delivery = Delivery(config, self.store, self.lock, self.work)
        self.api_version: str = parameters.table()["api_version"]
        self._depth = 0
        self._pending: list[Object] = []
        self._callbacks: list[Callable[[Object], None]] = []
        self._request: dict[str, str | None] = {"id": None, "idempotency_key": None}
        self._at: int | None = None
        self._stopped = threading.Event()
        self._ticker: threading.Thread | None = None
        for kind in RUN:
            for obj in self.store.oldest(kind):
                self.schedule.note(obj)

    def start(self) -> None:
        """Begin to deliver webhooks and to let real time do its work, each in a (green) thread of its own."""
        if self._ticker is None:
            self._stopped.clear()
            self.delivery.start()
            self._ticker = threading.Thread(target=self._tick, name="sandbox-clock", daemon=True)
            self._ticker.start()

    def stop(self) -> None:
        """Stop the threads and close the file."""
        self._stopped.set()
        self.delivery.stop()
        if self._ticker is not None:
            self._ticker.join(timeout=5)
            self._ticker = None
        with self.lock:
            self.store.close()

    # --- time -----------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The world's time in seconds since the epoch: real time plus what it has been run forward."""
        if self._at is not None:
            return self._at
        return int(self.config.clock() + self.store.setting("offset", 0))

    def now_for(self, obj: Object | None) -> int:
        """The time where an object lives: its test clock's, or the world's."""
        line = timeline(obj) if obj is not None else LIVE
        if line == LIVE:
            return self.now()
        clock = self.store.get(line)
        return int(clock["frozen_time"]) if clock is not None else self.now()

    def advance(self, seconds: int | None = None, *, to: int | None = None) -> int:
        """Run the whole world's clock forward, doing everything that falls due on the way, in order.

        Give `seconds`, or the time `to`. Returns the new time. A time that has passed changes nothing.
        """
        with self.work():
            start = self.now()
            target = to if to is not None else start + (seconds or 0)
            if target <= start:
                return start
            self.run_due(LIVE, target)
            self.store.set("offset", self.store.setting("offset", 0) + target - start)
            return target

    def run_due(self, line: str, until: int) -> None:
        """Do what falls due on a time line up to `until`, each at its own time."""
        clock = self.store.get(line)
        last: tuple[int, str] | None = None
        again = 0
        try:
            while (following := self.schedule.peek(line)) is not None and following[0] <= until:
                due, id = following
                self.schedule.take(line)
                obj = self.store.get(id)
                again = again + 1 if following == last else 0
                if obj is None or again > AT_ONE_TIME:
                    continue
                last = following
                if clock is None:
                    self._at = max(due, self.now())
                else:
                    clock["frozen_time"] = max(due, clock["frozen_time"])
                RUN[obj["object"]](self, obj)
                self.schedule.note(obj)
        finally:
            if clock is None:
                self._at = None

    def _tick(self) -> None:
        while not self._stopped.wait(TICK):
            with self.lock:
                following = self.schedule.peek(LIVE)
                if following is None or following[0] > self.now():
                    continue
            try:
                with self.work():
                    self.run_due(LIVE, self.now())
            except Exception:
                # One object that can't do what it is due for must not stop the clock of all others.
                log.exception("what was due could not be done")

    # --- units of work ------------------------------------------------------------------------------------------

    @contextmanager
    def work(self) -> Iterator[None]:
        """One unit of work: alone in the world; at its end everything is written and the events go out."""
        published: list[Object] = []
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.store.commit()
                    published, self._pending = self._pending, []
        if published:
            self.delivery.enqueue(published)
            for event in published:
                for callback in self._callbacks:
                    callback(public(event))

    def on_event(self, callback: Callable[[Object], None]) -> None:
        """Have every event handed to `callback` as soon as it is written (in the thread that caused it)."""
        self._callbacks.append(callback)

    # --- for handlers ---------------------------------------------------------------------------------------

    def get(self, kind: str, id: str, param: str | None = None) -> Object:
        """The stored object; raises Stripe's error if there is none (`param` names the parameter that named it)."""
        obj = self.store.get(id)
        if obj is None or obj["object"] != kind:
            raise missing(kind, id, param)
        return obj

    def save(self, obj: Object) -> None:
        """Keep an object that is new or has changed."""
        self.store.save(obj)
        self.schedule.note(obj)

    def remove(self, obj: Object) -> None:
        """Forget an object."""
        self.store.remove(obj["id"])
        self.schedule.forget(obj["id"])

    @contextmanager
    def edit(self, obj: Object, event: str | None = None) -> Iterator[Object]:
        """Change an object; afterwards it is saved, and `event` tells of it if anything did change."""
        before = copy(public(obj))
        yield obj
        self.save(obj)
        if event is not None:
            previous = diff(before, public(obj))
            if previous:
                self.emit(event, obj, previous)

    def emit(
        self, type: str, obj: Object, previous: Object | None = None, **envelope: Any
    ) -> Object:
        """Record an event about an object as it stands now; it is delivered when the unit of work is done.

        `envelope` are further fields of the event itself, such as the `account` of a connected one.
        """
        data: Object = {"object": copy(public(obj))}
        if previous is not None:
            data["previous_attributes"] = copy(previous)
        event: Object = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": self.api_version,
            "created": self.now_for(obj),
            "data": data,
            "livemode": False,
            "request": dict(self._request),
            "type": type,
            **envelope,
        }
        if obj["object"] in BESIDE:
            field, value = BESIDE[obj["object"]]
            event[field] = value(self, obj)
        self.publish(event, type)
        while self.store.count("event") > self.config.max_events:
            oldest = self.store.eldest("event")
            if oldest is None:
                break
            self.store.remove(oldest["id"])
        return event

    def publish(self, event: Object, type: str) -> None:
        """Keep a new event and have it delivered to the endpoints that hear of its type."""
        listening = [e["id"] for e in self.store.oldest("webhook_endpoint") if hears(e, type)]
        if event["object"] == "event":
            event["pending_webhooks"] = len(listening)
        event["_deliveries"] = dict.fromkeys(listening, "pending")
        self.store.save(event)
        self._pending.append(event)
