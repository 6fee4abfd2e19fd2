"""One account in one mode, as those who handle requests see it: its objects, and the events that tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sandbox.config import SandboxConfig
from sandbox.stripe_api.clock import LIVE, Schedule, timeline
from sandbox.stripe_api.delivery import Delivery
from sandbox.stripe_api.endpoints import listeners
from sandbox.stripe_api.engine import RUN, Engine
from sandbox.stripe_api.errors import missing
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.metadata import merged
from sandbox.stripe_api.places import Place
from sandbox.stripe_api.rendering import diff, public
from sandbox.stripe_api.store import Object, copy

__all__ = ["BESIDE", "RUN", "World"]

BESIDE: dict[str, tuple[str, Callable[[World, Object], Any]]] = {}
"""By `object`: a field of its events, and what stands there: what belonged to the object then, for older API versions."""


class World:
    """One place. Handlers get it and use `get`, `save`, `edit`, `emit`, `now`; they can't reach any other."""

    __slots__ = ("engine", "place", "store")

    def __init__(self, engine: Engine[World], place: Place) -> None:
        self.engine = engine
        self.place = place
        self.store = engine.database.store(place.namespace)

    # --- what all places share ------------------------------------------------------------------------------

    @property
    def config(self) -> SandboxConfig:
        """What the sandbox was told at start."""
        return self.engine.config

    @property
    def api_version(self) -> str:
        """The version of Stripe's API that is spoken here."""
        return self.engine.api_version

    @property
    def schedule(self) -> Schedule:
        """What falls due, and when."""
        return self.engine.schedule

    @property
    def delivery(self) -> Delivery:
        """The webhooks that are under way."""
        return self.engine.delivery

    def work(self) -> AbstractContextManager[None]:
        """One unit of work (`Engine.work`)."""
        return self.engine.work()

    def now(self) -> int:
        """The time in seconds since the epoch."""
        return self.engine.now()

    def advance(self, seconds: int | None = None, *, to: int | None = None) -> int:
        """Run everybody's clock forward (`Engine.advance`)."""
        return self.engine.advance(seconds, to=to)

    # --- the account ----------------------------------------------------------------------------------------

    @property
    def livemode(self) -> bool:
        """Whether what happens here is in live mode. The money is invented in either."""
        return self.place.livemode

    @property
    def application(self) -> str | None:
        """The platform's application (`ca_…`) while it acts on this account; None while the account acts itself."""
        return self.engine.application

    @property
    def business_name(self) -> str:
        """The account's public name."""
        return self.engine.directory.name(self.place.account)

    @property
    def prefix(self) -> str:
        """What the paths of this place's pages begin with."""
        return self.place.prefix

    @property
    def public_url(self) -> str:
        """Where this place's pages are reached."""
        return self.engine.config.public_url + self.place.prefix

    # --- time -----------------------------------------------------------------------------------------------

    def now_for(self, obj: Object | None) -> int:
        """The time where an object lives: its test clock's, or everybody's."""
        line = timeline(obj) if obj is not None else LIVE
        if line == LIVE:
            return self.now()
        clock = self.store.get(line)
        return int(clock["frozen_time"]) if clock is not None else self.now()

    # --- for handlers ---------------------------------------------------------------------------------------

    def head(
        self, kind: str, id: str, created: int, params: Mapping[str, Any] | None = None
    ) -> Object:
        """What objects begin with, with the metadata of a request."""
        return {
            "id": id,
            "object": kind,
            "created": created,
            "livemode": self.livemode,
            "metadata": merged({}, (params or {}).get("metadata")),
        }

    def get(self, kind: str, id: str, param: str | None = None) -> Object:
        """The stored object; raises Stripe's error if there is none (`param` names the parameter that named it)."""
        obj = self.store.get(id)
        if obj is None or obj["object"] != kind:
            raise missing(kind, id, param, twin=self._twin(kind, id))
        return obj

    def _twin(self, kind: str, id: str) -> str | None:
        """The other mode, when this account has the object there."""
        other = Place(self.place.account, not self.place.livemode)
        store = self.engine.database.stores.get(other.namespace)
        found = store.get(id) if store is not None else None
        return other.mode if found is not None and found["object"] == kind else None

    def save(self, obj: Object, event: str | None = None) -> None:
        """Keep an object that is new or has changed; `event` tells of it."""
        self.store.save(obj)
        self.schedule.note(self.place.namespace, obj)
        if event is not None:
            self.emit(event, obj)

    def remove(self, obj: Object) -> None:
        """Forget an object."""
        self.store.remove(obj["id"])
        self.schedule.forget(self.place.namespace, obj["id"])

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
            "livemode": self.livemode,
            "request": dict(self.engine.request),
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
        engine = self.engine
        heard_by = listeners(engine.database, engine.directory, self.place, self.store, type)
        listening = [endpoint["id"] for endpoint in heard_by]
        if event["object"] == "event":
            event["pending_webhooks"] = len(listening)
        event["_deliveries"] = dict.fromkeys(listening, "pending")
        self.store.save(event)
        engine.publish(self.store, event)
