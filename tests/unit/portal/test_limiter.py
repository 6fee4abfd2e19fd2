"""The limit on making Stripe pages."""

from __future__ import annotations

from services.portal.web import limiter
from services.portal.web.limiter import PER_SECONDS, SESSIONS, Limiter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_person_is_never_stopped_and_a_script_is() -> None:
    """Ten in a minute are made, the eleventh is told how long to wait, and one is free when the first is a minute old."""
    clock = Clock()
    limit = Limiter(clock)
    waits = []
    for _ in range(SESSIONS + 1):
        waits.append(limit.take("one"))
        clock.now += 1
    assert waits == [0] * SESSIONS + [51]
    clock.now = 100.0 + PER_SECONDS
    assert limit.take("one") == 0
    assert limit.take("one") > 0


def test_customers_do_not_share_a_limit() -> None:
    """One customer's script costs no other customer a click."""
    limit = Limiter(Clock())
    for _ in range(SESSIONS + 1):
        limit.take("one")
    assert limit.take("other") == 0


def test_memory_is_bounded(monkeypatch: object) -> None:
    """The longest idle customer is forgotten."""
    limit = Limiter(Clock())
    for number in range(limiter.MOST_CUSTOMERS + 5):
        limit.take(f"c{number}")
    assert len(limit._taken) == limiter.MOST_CUSTOMERS
