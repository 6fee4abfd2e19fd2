"""What goes out by itself: nothing while a business observes, and nothing of what happened before it went live
(docs/adr/0032-observe-then-live.md)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason
from shared.mode import counts

ASKED_FOR: Final = frozenset({Kind.FRESH_LINK})
"""The kinds that their reader has asked for just now: they go, whoever observes."""


def happened_at(
    occurred_at: dt.datetime, heard_at: dt.datetime, kind: Kind | None = None
) -> dt.datetime:
    """When what an email or a webhook tells of happened, as far as a line is concerned. What was heard before it is before it, on whatever test clock
    of Stripe's it happened; and so is what happened before it and is heard of late. How collecting ended is first thought of before it has
    ended for certain: of that it counts when it did (`handlers/subscriptions.py`)."""
    if kind is Kind.COLLECTION_ENDED:
        return occurred_at
    return min(occurred_at, heard_at)


def observed_because(
    kind: Kind | None,
    *,
    observes: bool,
    live_since: dt.datetime | None,
    happened: dt.datetime,
    wanted_at: dt.datetime | None,
) -> Reason | None:
    """Why an email that is right otherwise does not go out, or a webhook (without a kind); None: it goes. `wanted_at`: when a person said
    that this one is to go, though it is from before the line. Nobody's wish sends anything for a business that observes, nor one from before its newest line."""
    if kind in ASKED_FOR:
        return None
    if observes:
        return Reason.OBSERVING
    if counts(happened, live_since) or (wanted_at is not None and counts(wanted_at, live_since)):
        return None
    return Reason.BEFORE_THE_LINE
