"""What customers do on the page, counted, until it is written down.

A page view must not cost a database write of its own: looks are gathered in memory and written in one statement
every few seconds. Losing the last of them in a crash loses nothing that anybody is owed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

MOST_WAITING: Final = 10_000
"""Customers and hours that are held between two writes; looks beyond that are not noted."""


@dataclass(frozen=True, slots=True)
class PageActivity:
    """Something a customer did, `count` times between two moments of one bucket."""

    customer_id: str
    what: str
    bucket: dt.datetime
    first_at: dt.datetime
    last_at: dt.datetime
    count: int


def hour_of(moment: dt.datetime) -> dt.datetime:
    """The hour's beginning."""
    return moment.replace(minute=0, second=0, microsecond=0)


def click(customer_id: str, what: str, now: dt.datetime) -> PageActivity:
    """Something other than a look: its second is its bucket."""
    return PageActivity(customer_id, what, now.replace(microsecond=0), now, now, 1)


class ActivityBuffer:
    """Looks that are not written yet."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, dt.datetime], PageActivity] = {}

    def add(self, customer_id: str, now: dt.datetime, *, from_mail: bool) -> None:
        """Note one look at the page."""
        what = "page_from_mail" if from_mail else "page"
        key = (customer_id, what, hour_of(now))
        known = self._waiting.get(key)
        if known is None:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[key] = PageActivity(customer_id, what, key[2], now, now, 1)
        else:
            self._waiting[key] = PageActivity(
                customer_id, what, key[2], known.first_at, now, known.count + 1
            )

    def add_click(self, look: PageActivity) -> None:
        """Note one click that has no transaction of its own."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting[(look.customer_id, look.what, look.bucket)] = look

    def take(self) -> list[PageActivity]:
        """All that wait, in one order, so that two processes that write the same rows don't deadlock."""
        taken, self._waiting = self._waiting, {}
        return [taken[key] for key in sorted(taken)]
