"""Time limits around a call of an endpoint that its sockets' own don't have: a look-up that hangs, a handshake that drips."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Final

import eventlet
from eventlet.event import Event
from eventlet.semaphore import Semaphore

from services.notifier.adapters.hosts.caller import SECONDS, HostCaller, LookUp
from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hooks import Answered

LOOK_UPS: Final = 2
"""Of the process's four threads for look-ups, so many are for hosts' names: one that never ends keeps its thread, and emails need
some. Of one name there is one look-up at a time, which all who ask for it share."""
SLOW_SECONDS: Final = 1.0
"""A name whose look-up took longer shares one place with all others of which that is so, until it is quicker: whoever answers for its
domain could else hold all of them, with a few names, and still be found each time."""
MOST_REMEMBERED: Final = 10_000


class SharedLookUps:
    """A `LookUp` that many may call at once, without taking more than their share of threads."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._places = Semaphore(LOOK_UPS)
        self._place_for_slow = Semaphore(1)
        self._slow: set[tuple[str, int]] = set()
        self._under_way: dict[tuple[str, int], Event] = {}

    def __call__(self, host: str, port: int) -> Sequence[str]:
        name = (host, port)
        found = self._under_way.get(name)
        if found is None:
            found = self._under_way[name] = Event()
            eventlet.spawn_n(self._run, name, found)
        addresses: Sequence[str] = found.wait()
        return addresses

    def _run(self, name: tuple[str, int], found: Event) -> None:
        try:
            with self._place_for_slow if name in self._slow else nullcontext(), self._places:
                # A place is given back when the thread is, however long ago its caller has gone.
                addresses = self._timed(name)
        except Exception as error:
            self._under_way.pop(name)
            found.send_exception(error)
        else:
            self._under_way.pop(name)
            found.send(addresses)

    def _timed(self, name: tuple[str, int]) -> Sequence[str]:
        began = time.monotonic()
        try:
            return self._look_up(*name)
        finally:
            self._slow.discard(name)
            if time.monotonic() - began > SLOW_SECONDS:
                if len(self._slow) >= MOST_REMEMBERED:
                    self._slow.clear()
                self._slow.add(name)


class TimeLimitedHosts:
    """`Hosts` with an end: whatever happens, one attempt takes no longer than `seconds`."""

    def __init__(self, hosts: HostCaller, seconds: float = SECONDS + 1) -> None:
        self._hosts = hosts
        self._seconds = seconds

    def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answered:
        """See `Hosts.post`."""
        began = time.monotonic()
        with eventlet.Timeout(self._seconds, False):
            return self._hosts.post(target, body, headers)
        return Answered(None, "timeout", int((time.monotonic() - began) * 1000))
