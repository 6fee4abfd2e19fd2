"""What all accounts share: the clock, units of work, what falls due, the delivery of events, the file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from sandbox.config import SandboxConfig
from sandbox.stripe_api import params as parameters
from sandbox.stripe_api.clock import LIVE, Schedule
from sandbox.stripe_api.database import Database
from sandbox.stripe_api.delivery import Delivery
from sandbox.stripe_api.directory import NAMESPACE, Directory
from sandbox.stripe_api.endpoints import envelope
from sandbox.stripe_api.places import OWN, Place
from sandbox.stripe_api.rate_limits import RateLimits
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.request_counts import RequestCounts
from sandbox.stripe_api.store import Object, Store

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at what has fallen due in real time."""
AT_ONE_TIME = 20
"""How often one object may have something to do at one moment: a pause that ends with the period ends first, then the renewal."""

RUN: dict[str, Callable[[Any, Object], None]] = {}
"""By `object`: what happens when it falls due (`clock.DUE`), of its world and itself. It must leave the object due later, or not at all."""


class Placed(Protocol):
    """What the engine needs of a world."""

    place: Place
    store: Store


W = TypeVar("W", bound=Placed)


class Engine(Generic[W]):
    """Safe to use from several threads or green threads. Nothing is delivered, and real time makes nothing fall due, until
    `start` has been called.

    `make` makes the world of a place the first time that somebody looks there: an account that nobody uses costs a line
    in the directory.
    """

    def __init__(self, config: SandboxConfig, make: Callable[[Engine[W], Place], W]) -> None:
        self.config = config
        self.database = Database(config.state_path)
        self.directory = Directory(config, self.database.store(NAMESPACE))
        self.lock = threading.RLock()
        self.schedule = Schedule()
        self.limits = RateLimits()
        self.counts = RequestCounts()
        self.delivery = Delivery(config, self.lock, self.work, self._envelope)
        self.api_version: str = parameters.table()["api_version"]
        self.request: dict[str, str | None] = {"id": None, "idempotency_key": None}
        self.application: str | None = None
        """The platform's application while it acts on an account that is not its own."""
        self._make = make
        self._worlds: dict[str, W] = {}
        self._settings = self.database.store(OWN.namespace)
        self._depth = 0
        self._pending: list[tuple[Store, Object]] = []
        self._callbacks: list[Callable[[Object], None]] = []
        self._at: int | None = None
        self._stopped = threading.Event()
        self._ticker: threading.Thread | None = None
        for namespace, store in self.database.stores.items():
            for kind in RUN:
                for obj in store.oldest(kind):
                    self.schedule.note(namespace, obj)

    def world(self, place: Place) -> W:
        """The world of a place."""
        namespace = place.namespace
        found = self._worlds.get(namespace)
        if found is None:
            found = self._worlds[namespace] = self._make(self, place)
        return found

    def adopt(self, world: W) -> None:
        """This is the world of its place."""
        self._worlds[world.place.namespace] = world

    def strange(self, store: Store, id: str) -> bool:
        """Whether an object with this id is in other places only, and not in a store's."""
        return id not in store and any(id in other for other in self.database.stores.values())

    def _envelope(self, store: Store, endpoint: str, event: Object) -> tuple[Object, Object] | None:
        return envelope(self.database, Place.parse(store.namespace), endpoint, event)

    def start(self) -> None:
        """Begin to deliver webhooks and to let real time do its work, each in a (green) thread of its own."""
        if self._ticker is None:
            self._stopped.clear()
            self.delivery.start(list(self.database.stores.values()))
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
            self.database.close()

    # --- time -----------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Everybody's time in seconds since the epoch: real time plus what it has been run forward."""
        if self._at is not None:
            return self._at
        return int(self.config.clock() + self._settings.setting("offset", 0))

    def advance(self, seconds: int | None = None, *, to: int | None = None) -> int:
        """Run everybody's clock forward, doing everything that falls due on the way, in order.

        Give `seconds`, or the time `to`. Returns the new time. A time that has passed changes nothing.
        """
        with self.work():
            start = self.now()
            target = to if to is not None else start + (seconds or 0)
            if target <= start:
                return start
            self.run_due(LIVE, target)
            self._settings.set("offset", self._settings.setting("offset", 0) + target - start)
            return target

    def run_due(self, line: str, until: int, clock: Object | None = None) -> None:
        """Do what falls due on a time line up to `until`, each at its own time; `clock` is the test clock whose line it is."""
        last: tuple[int, tuple[str, str]] | None = None
        again = 0
        try:
            while (following := self.schedule.peek(line)) is not None and following[0] <= until:
                due, (namespace, id) = following
                self.schedule.take(line)
                world = self.world(Place.parse(namespace))
                obj = world.store.get(id)
                again = again + 1 if following == last else 0
                if obj is None or again > AT_ONE_TIME:
                    continue
                last = following
                if clock is None:
                    self._at = max(due, self.now())
                else:
                    clock["frozen_time"] = max(due, clock["frozen_time"])
                RUN[obj["object"]](world, obj)
                self.schedule.note(namespace, obj)
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

    # --- whose request it is ----------------------------------------------------------------------------------

    @contextmanager
    def acting_as(self, application: str | None) -> Iterator[None]:
        """What is done meanwhile is done by an application, or by the account itself (None)."""
        before, self.application = self.application, application
        try:
            yield
        finally:
            self.application = before

    # --- units of work ------------------------------------------------------------------------------------------

    @contextmanager
    def work(self) -> Iterator[None]:
        """One unit of work: alone in the world; at its end everything is written and the events go out."""
        published: list[tuple[Store, Object]] = []
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.database.commit()
                    published, self._pending = self._pending, []
        if published:
            self.delivery.enqueue(published)
            for _, event in published:
                for callback in self._callbacks:
                    callback(public(event))

    def publish(self, store: Store, event: Object) -> None:
        """An event of a store goes out when the unit of work is done."""
        self._pending.append((store, event))

    def on_event(self, callback: Callable[[Object], None]) -> None:
        """Have every event handed to `callback` as soon as it is written (in the thread that caused it)."""
        self._callbacks.append(callback)
