"""A business that observes and goes live, and a person who accepts what was observed."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.models import Notification
from services.notifier.rpc.observed import Observed
from services.notifier.workflows import observing as workflow
from tests.unit.notifier.conftest import House

DANA = "dana@example.com"
SUNRISE = "sunrise"
QUIET = ReminderPolicy(quiet_hours=QuietHours(dt.time(5), dt.time(10)))
"""It is seven in the morning in New York, where Dana lives."""


def business(house: House, **changes: Any) -> None:
    """The business of everybody whom the portal knows changes."""
    portal = house.portal
    for key, person in portal.people.items():
        known = {"business_id": SUNRISE, **changes}
        portal.people[key] = replace(person, business=replace(person.business, **known))


def observe(house: House) -> None:
    business(house, observed=True)


def go_live(house: House) -> None:
    """As the portal tells it when somebody says so: with the line, a moment after all that was heard until then."""
    house.clock.forward(seconds=1)
    business(house, observed=False, live_since=house.clock())


def until_quiet(house: House) -> list[str]:
    """Send until nothing is due; what came of each."""
    outcomes: list[str] = []
    for _ in range(200):
        some = house.work()
        if not some:
            return outcomes
        outcomes += some
    raise AssertionError("the senders never come to rest")


def all_that_waits(house: House) -> None:
    """Let all time pass that anything waits for, but for customers whom nobody knows."""
    for _ in range(20):
        until_quiet(house)
        house.clock.forward(hours=7)
    until_quiet(house)


def accept(house: House, *rows: Notification) -> list[bool]:
    wanted = [row.notification_id for row in rows]
    house.portal.people.setdefault(SUNRISE, house.portal.people["cus_1"])
    done = workflow.accept(house.db, house.portal, wanted, house.clock(), observes=house.observes)
    return [one.accepted for one in done]


def states(house: House) -> set[tuple[str, str | None]]:
    return {(row.status, row.reason) for row in house.rows()}


def page(house: House, business_id: str | None = SUNRISE, **given: Any) -> Any:
    notifier: Any = SimpleNamespace(db=house.db, observes=False)
    return Observed.observed(notifier, business_id, **given)
