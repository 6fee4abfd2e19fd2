"""Welcoming customers: what the portal knows of their business is asked first, outside of any transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.welcomes import (
    ASKED_AGAIN_AFTER,
    LOOKED_AT_EVERY,
    Held,
    Pause,
    Standing,
)
from services.notifier.handlers import welcomes as handlers
from services.notifier.ports import Business, Businesses, PortalUnavailable, UnknownCustomer
from services.notifier.queries import welcomes as queries
from shared.contracts.rpc.errors import NotFound, StillObserved, TemporarilyUnavailable
from shared.contracts.rpc.welcomes import WelcomeRecipient
from shared.database import Transactions
from shared.l10n.dates import zone

RUNS_AT_ONCE: Final = 50
"""Businesses of one round."""


@dataclass(frozen=True, kw_only=True)
class WelcomeContext:
    """What welcoming needs."""

    db: Transactions
    businesses: Businesses
    hasher: AddressHasher
    now: Callable[[], dt.datetime]
    observes: bool = False
    """Whether the whole installation does."""


@dataclass(frozen=True)
class Released:
    """What came of a round."""

    mails: int = 0
    more: bool = False
    """There may be businesses that are due besides."""


def release_round(desk: WelcomeContext) -> Released:
    """Release what the rates of all businesses allow by now."""
    with desk.db.reading() as session:
        due = queries.due_runs(session, desk.now(), RUNS_AT_ONCE)
    mails = 0
    for business_id in due:
        standing = _standing(desk, business_id)
        with desk.db.transaction() as session:
            mails += handlers.release(session, business_id, standing, desk.now())
        if isinstance(standing, Pause) and standing.why is Held.PORTAL_UNAVAILABLE:
            return Released(mails)  # the others would find the same, each after its patience
    return Released(mails, len(due) == RUNS_AT_ONCE)


def _standing(desk: WelcomeContext, business_id: str) -> Standing | Pause:
    if desk.observes:
        return Standing(observes=True)
    try:
        business = desk.businesses.business(business_id).business
    except UnknownCustomer:
        return Pause(desk.now() + LOOKED_AT_EVERY, Held.NO_SUCH_BUSINESS)
    except PortalUnavailable:
        return Pause(desk.now() + ASKED_AGAIN_AFTER, Held.PORTAL_UNAVAILABLE)
    return Standing(
        observes=business.observed,
        live_since=business.live_since,
        quiet_hours=business.reminders.quiet_hours,
        zone=zone(business.timezone),
    )


def queue(
    desk: WelcomeContext, business_id: str, recipients: Sequence[WelcomeRecipient], per_hour: int
) -> list[str]:
    """Put customers of a business that is live into its queue; what came of each. Raises NotFound, StillObserved,
    TemporarilyUnavailable."""
    business = _business(desk, business_id)
    if desk.observes or business.observed:
        whose = "this installation" if desk.observes else f"the business {business_id}"
        raise StillObserved(f"{whose} still observes: let it go live first. Nobody was asked for")
    # Its line may be of a clock that is ahead of ours.
    now = max(desk.now(), business.live_since or desk.now())
    with desk.db.transaction() as session:
        return handlers.queue(
            session, business_id, recipients, per_hour, now, desk.hasher, business.live_since
        )


def _business(desk: WelcomeContext, business_id: str) -> Business:
    try:
        return desk.businesses.business(business_id).business
    except UnknownCustomer:
        raise NotFound("business_id: no such business") from None
    except PortalUnavailable as error:
        raise TemporarilyUnavailable(f"nobody was asked for: {error}") from None
