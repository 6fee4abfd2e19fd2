"""When a customer may ask the business to end a subscription, and what becomes of the request."""

from __future__ import annotations

import datetime as dt
from enum import Enum, StrEnum, auto
from typing import Final

from services.portal.domain.snapshot import Business, Subscription

ASK_AGAIN_AFTER: Final = dt.timedelta(days=1)
"""How long after a no the customer may ask again."""
ENDED_SHOWN_FOR: Final = dt.timedelta(days=30)
"""How long the page tells of a subscription that has ended."""
LIVING: Final = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""Stripe's words for a subscription that goes on."""
REMIND_AFTER: Final = dt.timedelta(days=3)
"""How long the business has to cancel at Stripe what it has approved, before it is reminded."""
FIRST_PAUSE: Final = dt.timedelta(seconds=5)
LONGEST_PAUSE: Final = dt.timedelta(hours=1)


class Decision(StrEnum):
    """What the business says to a request."""

    APPROVE = "approve"
    DECLINE = "decline"


class Step(StrEnum):
    """What has to be done for a request, in this order; each until it succeeds."""

    TELL_BUSINESS = "tell_business"
    CANCEL = "cancel"
    ASK_BUSINESS = "ask_business"
    """To cancel it at Stripe: we may not."""
    REMIND_BUSINESS = "remind_business"
    """Of that, once, if nothing has come of it."""
    TELL_CUSTOMER = "tell_customer"


def may_ask(subscription: Subscription, business: Business, now: dt.datetime) -> bool:
    """Whether the page offers to ask.

    Only where Stripe's page does not let customers cancel by themselves, the subscription goes on without an end
    in sight, somebody at the business can be written to, and no request is open or was answered just now. Not where the business observes:
    we would not carry out its yes.
    """
    if business.observed or business.may_cancel is not False or not business.email:
        return False
    if subscription.status not in LIVING or subscription.ends_at is not None:
        return False
    asked = subscription.asked
    if asked is None or asked.status == "overtaken":
        return True
    if asked.status != "declined" or asked.decided_at is None:
        return False
    return now - asked.decided_at >= ASK_AGAIN_AFTER


class ByHand(Enum):
    """How far it is with an end that only the business can plan."""

    NO = auto()
    """We can, as far as is known."""
    TO_ASK = auto()
    ASKED = auto()
    REMINDED = auto()


_BY_HAND: Final = {
    ByHand.NO: Step.CANCEL,
    ByHand.TO_ASK: Step.ASK_BUSINESS,
    ByHand.ASKED: Step.REMIND_BUSINESS,
    ByHand.REMINDED: None,  # Stripe's word is waited for, however long that takes
}


def next_step(
    *,
    status: str,
    business_told: bool,
    carried_out: bool,
    customer_told: bool,
    by_hand: ByHand = ByHand.NO,
) -> Step | None:
    """What is to be done next for a request; None when nothing is left, or it is others' turn."""
    if status == "open":
        return None if business_told else Step.TELL_BUSINESS
    if status == "approved" and not carried_out:
        return _BY_HAND[by_hand]
    if status in ("approved", "declined") and not customer_told:
        return Step.TELL_CUSTOMER
    return None


def pause_after(tries: int) -> dt.timedelta:
    """How long to wait after the `tries`-th failure in a row: 5 s, doubling, at most an hour."""
    return min(FIRST_PAUSE * (1 << min(max(tries - 1, 0), 12)), LONGEST_PAUSE)
