"""Look-ups of hosts' names: a few at a time, and none that waits for those which take long each time."""

from __future__ import annotations

from collections.abc import Sequence

import eventlet
import pytest
from eventlet.event import Event

from services.notifier.adapters.hosts import time_limit
from services.notifier.adapters.hosts.time_limit import LOOK_UPS, SharedLookUps

pytestmark = pytest.mark.whole

SLOW = 0.05
"""Seconds, after which a look-up here was slow."""


class Resolver:
    """Names that begin with `slow` take long; those that are `held` take until they are let go."""

    def __init__(self) -> None:
        self.held: dict[str, Event] = {}

    def __call__(self, host: str, port: int) -> Sequence[str]:
        if host.startswith("slow"):
            eventlet.sleep(2 * SLOW)
        if host in self.held:
            self.held[host].wait()
        return [host]

    def hold(self, *names: str) -> None:
        self.held = {name: Event() for name in names}

    def let_go(self) -> None:
        for held in self.held.values():
            held.send()


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def look_ups(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> SharedLookUps:
    monkeypatch.setattr(time_limit, "SLOW_SECONDS", SLOW)
    return SharedLookUps(resolver)


def looked_up(look_ups: SharedLookUps, name: str) -> list[str]:
    """What is found of a name, while others are held."""
    with eventlet.Timeout(30):
        return list(look_ups(name, 443))


def test_names_that_take_long_leave_a_place_for_others(
    look_ups: SharedLookUps, resolver: Resolver
) -> None:
    """Whoever has the domain answers late and rightly, of as many names as they like: from the second time on they have one place."""
    names = [f"slow{number}.example.com" for number in range(LOOK_UPS * 2)]
    for one in [eventlet.spawn(look_ups, name, 443) for name in names]:
        one.wait()
    resolver.hold(*names)
    again = [eventlet.spawn(look_ups, name, 443) for name in names]
    eventlet.sleep(0)
    assert looked_up(look_ups, "quick.example.com") == ["quick.example.com"]
    resolver.let_go()
    assert [list(one.wait()) for one in again] == [[name] for name in names]


def test_a_name_that_was_slow_once_is_not_for_ever(
    look_ups: SharedLookUps, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick once, it needs no place of the slow ones."""
    look_ups("slow.example.com", 443)
    look_ups("slow0.example.com", 443)
    monkeypatch.setattr(time_limit, "SLOW_SECONDS", 60)
    look_ups("slow.example.com", 443)
    resolver.hold("slow0.example.com")
    waiting = eventlet.spawn(look_ups, "slow0.example.com", 443)
    eventlet.sleep(0)
    assert looked_up(look_ups, "slow.example.com") == ["slow.example.com"]
    resolver.let_go()
    assert list(waiting.wait()) == ["slow0.example.com"]
