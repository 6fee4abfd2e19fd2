"""How fast a business's customers are welcomed, and when none is (docs/adr/0036-the-first-hello.md).

The rate is one of mails that leave the queue. What was missed, in an outage or in quiet hours, is not made up for: nobody's mail server
gets a night's worth in one minute.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.notifier.domain.reminders import QuietHours, quiet_for

LOWEST_RATE: Final = 1
HIGHEST_RATE: Final = 100_000
"""Mails an hour."""
MOST_AT_ONCE: Final = 1000
"""Customers of one call."""
MADE_UP_FOR: Final = dt.timedelta(seconds=10)
"""So much lateness is made up for: the loop comes by every few seconds, and the rate is to hold all the same."""
LOOKED_AT_EVERY: Final = dt.timedelta(minutes=5)
"""How long a business that can't be welcomed for now is left alone at most: its quiet hours may change."""
OBSERVED_EVERY: Final = dt.timedelta(minutes=1)
ASKED_AGAIN_AFTER: Final = dt.timedelta(seconds=15)
"""After the portal did not answer."""
SENDING_PAUSE: Final = dt.timedelta(seconds=5)
TRIED_EVERY: Final = dt.timedelta(minutes=1)
"""So often one is released as a try, while SendGrid takes none, or once in the time from one mail to the next, where that is longer."""
MOST_TRIES: Final = 15
"""So many tries may be under way: then their own repetitions, a quarter of an hour apart at most, are tries enough."""
AFTER_ASKING: Final = dt.timedelta(days=1)
"""So long after an email that asked a customer for money no other one says hello."""
_LOOKED_BACK: Final = dt.timedelta(hours=1)
_UNDER_WAY_FOR: Final = dt.timedelta(seconds=30)
_HOUR: Final = dt.timedelta(hours=1)


class Held(StrEnum):
    """Why nothing is released for now."""

    OBSERVING = "observing"
    QUIET_HOURS = "quiet_hours"
    PORTAL_UNAVAILABLE = "portal_unavailable"
    NO_SUCH_BUSINESS = "no_such_business"
    SENDING = "sending"
    """What was released before has not been tried yet: other emails go first."""
    REFUSED = "refused"
    """SendGrid refused what was released last: one a minute is tried until it takes one."""
    PROVIDER = "provider"
    """SendGrid is away, or does not say: the same."""
    BEFORE_THE_LINE = "before_the_line"
    """The business observed since it was asked for: what waited was taken off, and has to be asked for again."""


TRYING: Final = (Held.REFUSED, Held.PROVIDER)


@dataclass(frozen=True)
class Lately:
    """What has come of the emails of a business that were released lately."""

    taken: bool = False
    """SendGrid took one."""
    without_success: int = 0
    """Of those released since: under way, unconfirmed, put off, failed."""
    newest: dt.datetime | None = None
    """When the newest of all was released; None: none was."""
    why: Held | None = None
    """What stands against the newest that was tried since; None: none was."""
    said: str | None = None
    """In its own words."""


@dataclass(frozen=True)
class UnderWay:
    """How many emails of a business are released and not sent; those that wait for their customer's morning, or for the portal to know
    their customer, are not counted."""

    untried: int
    tried: int


@dataclass(frozen=True)
class Pause:
    """Nothing is released before `until`."""

    until: dt.datetime
    why: Held


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the portal says of a business, as far as welcoming is concerned."""

    observes: bool = False
    live_since: dt.datetime | None = None
    quiet_hours: QuietHours | None = None
    zone: dt.tzinfo = dt.UTC

    def pause(self, now: dt.datetime) -> Pause | None:
        """Why, and until when, nothing is released; None: it may be."""
        if self.observes:
            return Pause(now + OBSERVED_EVERY, Held.OBSERVING)
        if self.live_since is not None and self.live_since > now:  # by the portal's clock
            return Pause(self.live_since, Held.OBSERVING)
        return self.sleeps(self.zone, now)

    def sleeps(self, zone: dt.tzinfo, now: dt.datetime) -> Pause | None:
        """Until when the quiet hours there last, or until when that is worth another look; None: it is day."""
        if self.quiet_hours is None:
            return None
        rest = quiet_for(self.quiet_hours, now, zone)
        if rest <= dt.timedelta(0):
            return None
        return Pause(now + min(rest, LOOKED_AT_EVERY), Held.QUIET_HOURS)


@dataclass(frozen=True)
class Pace:
    """A rate in mails an hour."""

    per_hour: int

    @property
    def apart(self) -> dt.timedelta:
        """The time from one mail to the next."""
        return _HOUR / self.per_hour

    @property
    def most_under_way(self) -> int:
        """So many may be released and not yet tried, and so many without success since SendGrid took one: when sending stands still, so does
        releasing, what is let go afterwards is few, and a key that was withdrawn costs no more."""
        return max(3, _UNDER_WAY_FOR // self.apart)

    @property
    def tried_every(self) -> dt.timedelta:
        """The time between two tries, while SendGrid takes none."""
        return max(TRIED_EVERY, self.apart)

    @property
    def looked_back(self) -> dt.timedelta:
        """How far back it is looked whether SendGrid takes what is released."""
        return max(_LOOKED_BACK, 2 * self.most_under_way * self.apart)

    def owed(self, due_at: dt.datetime, now: dt.datetime) -> tuple[int, dt.datetime]:
        """How many may go now, and the moment that the first of them counts for. Zero before `due_at`."""
        start = max(due_at, now - MADE_UP_FOR)
        return (0 if start > now else (now - start) // self.apart + 1), start

    def time_for(self, mails: int) -> dt.timedelta:
        """How long so many take."""
        return self.apart * mails
