"""Look-ups of hosts' names: a few at a time, and none that waits for those which take long each time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import eventlet
import pytest

from services.notifier.adapters.hosts import time_limit
from services.notifier.adapters.hosts.time_limit import LOOK_UPS, SharedLookUps

SLOW = 0.3


def look_up(host: str, port: int) -> Sequence[str]:
    if host.startswith("slow"):
        eventlet.sleep(SLOW)
    return [host]


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> SharedLookUps:
    monkeypatch.setattr(time_limit, "SLOW_SECONDS", SLOW / 3)
    return SharedLookUps(look_up)


def test_names_that_take_long_leave_a_place_for_others(look_ups: SharedLookUps) -> None:
    """Whoever has the domain answers late and rightly, of as many names as they like: from the second time on they have one place."""
    names = [f"slow{number}.example.com" for number in range(LOOK_UPS * 2)]
    for one in [eventlet.spawn(look_ups, name, 443) for name in names]:
        one.wait()
    again = [eventlet.spawn(look_ups, name, 443) for name in names]
    eventlet.sleep(0)
    began = time.monotonic()
    assert list(look_ups("quick.example.com", 443)) == ["quick.example.com"]
    assert time.monotonic() - began < SLOW / 2
    assert [list(one.wait()) for one in again] == [[name] for name in names]


def test_a_name_that_was_slow_once_is_not_for_ever(
    look_ups: SharedLookUps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick once, it needs no place of the slow ones."""
    look_ups("slow.example.com", 443)
    monkeypatch.setattr(time_limit, "SLOW_SECONDS", SLOW * 10)
    look_ups("slow.example.com", 443)
    monkeypatch.setattr(time_limit, "SLOW_SECONDS", SLOW / 3)
    others = [eventlet.spawn(look_ups, f"slow{number}.example.com", 443) for number in range(2)]
    for one in others:
        one.wait()
    waiting = eventlet.spawn(look_ups, "slow0.example.com", 443)
    eventlet.sleep(0)
    began = time.monotonic()
    look_ups("slow.example.com", 443)
    assert time.monotonic() - began < SLOW * 1.5
    waiting.wait()
