"""What falls due, and when: renewals, retries, settlements, expiry, each on the time line of its customer."""

from __future__ import annotations

import calendar
import datetime as dt
import heapq
import itertools
from collections.abc import Callable

from sandbox.stripe_api.store import Object

LIVE = "live"
"""The time line of everybody who is on no test clock."""

Due = tuple[str, str]
"""(namespace of a place, id of an object there)."""

DUE: dict[str, Callable[[Object], int | None]] = {}
"""By `object`: when something has to happen to it next, in seconds since the epoch."""


def timeline(obj: Object) -> str:
    """The test clock that an object lives on, or LIVE."""
    return obj.get("test_clock") or obj.get("_clock") or LIVE


def line_of(namespace: str, obj: Object) -> str:
    """The time line of an object of a place: test clocks of two accounts may have the same id."""
    line = timeline(obj)
    return line if line == LIVE else f"{namespace} {line}"


class Schedule:
    """The next due time of each object of each place, soonest first."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[int, int, Due]]] = {}
        self._due: dict[Due, int] = {}
        self._number = itertools.count()

    def note(self, namespace: str, obj: Object) -> None:
        """An object of a place is new or has changed."""
        when = DUE.get(obj["object"])
        if when is None:
            return
        due = when(obj)
        key = (namespace, obj["id"])
        if due is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heap = self._heaps.setdefault(line_of(namespace, obj), [])
            heapq.heappush(heap, (due, next(self._number), key))

    def forget(self, namespace: str, id: str) -> None:
        """An object is gone."""
        self._due.pop((namespace, id), None)

    def peek(self, line: str) -> tuple[int, Due] | None:
        """(due time, which object) of what comes next on a time line."""
        heap = self._heaps.get(line, [])
        while heap:
            due, _, key = heap[0]
            if self._due.get(key) == due:
                return due, key
            heapq.heappop(heap)
        return None

    def take(self, line: str) -> None:
        """What `peek` named is being done; it counts again when it is noted again."""
        _, _, key = heapq.heappop(self._heaps[line])
        self._due.pop(key, None)


def add_interval(start: int, interval: str, count: int, anchor: int | None = None) -> int:
    """The end of a billing period that begins at `start`: `count` times `day`, `week`, `month` or `year` later.

    Months end on the anchor's day, or on the last day of a shorter month, as Stripe's billing cycles do.
    """
    moment = dt.datetime.fromtimestamp(start, dt.UTC)
    if interval in ("day", "week"):
        days = count * (7 if interval == "week" else 1)
        return start + days * 86_400
    months = count * (12 if interval == "year" else 1)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = dt.datetime.fromtimestamp(anchor or start, dt.UTC).day
    last = calendar.monthrange(year, month + 1)[1]
    return int(moment.replace(year=year, month=month + 1, day=min(day, last)).timestamp())
