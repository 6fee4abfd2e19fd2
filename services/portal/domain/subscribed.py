"""What the page says of a subscription besides its price, and when its price is worth asking Stripe about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from services.portal.domain.snapshot import OwnedInvoice, Snapshot, Subscription
from shared.contracts.accounts import StripeId
from shared.contracts.prices import asks_stripe

PREVIEW_EVERY: Final = dt.timedelta(minutes=10)
"""How soon what Stripe told of the next invoice is asked again, if the page is looked at."""
MOST_SHOWN: Final = 1000
"""Subscriptions that wait to be asked about; what is shown beyond that is asked about when it is shown again."""
ASKED_FOR: Final = dt.timedelta(minutes=5)
"""How long it is tried to ask about one that was shown."""


class Standing(StrEnum):
    """How a subscription stands, as the page says it; the first that is true counts."""

    ENDED = "ended"
    ENDS = "ends"
    PAUSED = "paused"
    """The subscription itself."""
    COLLECTION_PAUSED = "collection_paused"
    """It goes on, and no payment is collected."""
    OVERDUE = "overdue"
    """Stripe says so, and the customer is asked for a payment of it."""
    TRIAL = "trial"
    OTHER = "other"
    """It goes on, or nothing can be said for sure."""


def standing(
    subscription: Subscription, invoices: Iterable[OwnedInvoice], now: dt.datetime
) -> Standing:
    """How it stands."""
    if subscription.over:
        return Standing.ENDED
    if subscription.ends_at is not None:
        return Standing.ENDS
    if subscription.status == "paused":
        return Standing.PAUSED
    if subscription.collection_paused:
        return Standing.COLLECTION_PAUSED
    if subscription.behind:
        return Standing.OVERDUE if _owes(subscription, invoices) else Standing.OTHER
    until = _period_end(subscription)
    trial = subscription.status == "trialing" and until is not None and until > now
    return Standing.TRIAL if trial else Standing.OTHER


def renews(subscription: Subscription) -> bool:
    """Whether it goes on after its period or trial, as far as its own end is concerned: that may be planned for a later one."""
    if subscription.over:
        return False
    ends_at, until = subscription.ends_at, _period_end(subscription)
    return ends_at is None or (until is not None and until < ends_at)


def next_charge(subscription: Subscription, now: dt.datetime) -> dt.datetime | None:
    """When the next invoice is made and charged; None unless it is known that nothing is in its way."""
    at = _period_end(subscription)
    served = subscription.status in ("active", "trialing")
    free = served and subscription.collection_paused is False and renews(subscription)
    return at if free and at is not None and at > now else None


def _period_end(subscription: Subscription) -> dt.datetime | None:
    if subscription.status == "trialing":
        return subscription.trial_ends_at or subscription.current_period_end
    return subscription.current_period_end


def _owes(subscription: Subscription, invoices: Iterable[OwnedInvoice]) -> bool:
    """Whether an invoice of it is owed. What was paid, forgiven or is not collected any more is not, while Stripe still calls
    the subscription past due."""
    return any(
        one.owed and one.invoice.subscription_id == subscription.subscription_id for one in invoices
    )


def to_ask_about(snapshot: Snapshot, now: dt.datetime) -> list[Subscription]:
    """Whose price, of all that a page shows, Stripe should be asked about."""
    return [
        each
        for each in snapshot.shown_subscriptions
        if not each.over
        and (asks_stripe(each.terms) or each.collection_paused is None)
        and (each.previewed_at is None or now - each.previewed_at > PREVIEW_EVERY)
    ]


class ShownSubscriptions:
    """Subscriptions that pages of this process have shown and that wait to be asked about. A crash loses nothing that
    anybody is owed: the next look at the page brings them back."""

    def __init__(self, limit: int = MOST_SHOWN) -> None:
        self._limit = limit
        self._waiting: dict[StripeId, tuple[Subscription, dt.datetime]] = {}

    def add(self, shown: Iterable[Subscription], now: dt.datetime) -> bool:
        """Note what a page has shown. True: somebody should go and ask."""
        added = False
        for each in shown:
            known = each.name in self._waiting
            if known or len(self._waiting) < self._limit:
                since = self._waiting[each.name][1] if known else now
                self._waiting[each.name] = (each, since)
                added = added or not known
        return added

    def first(self, most: int, now: dt.datetime) -> list[Subscription]:
        """Those that wait longest; forgets whom nobody could ask about in time."""
        late = [id for id, (_, since) in self._waiting.items() if now - since > ASKED_FOR]
        for id in late:
            del self._waiting[id]
        return [each for each, _ in list(self._waiting.values())[:most]]

    def answered(self, asked: Iterable[Subscription]) -> None:
        """These need not be asked about any more."""
        for each in asked:
            self._waiting.pop(each.name, None)
