"""What the business has been told about the end of a subscription, and what of it is news: a plan goes back and forth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason
from shared.contracts.accounts import StripeId, in_account, outside_account

_MOMENT: Final = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNotice:
    """One thing that Stripe has said about the end of a subscription."""

    at: dt.datetime
    """When it was so, by Stripe's clock."""
    ends_on: str | None
    """The day, as keys write it; None: it goes on."""
    ended: bool = False
    """It is over, which nothing can change any more."""
    known: bool = False
    """The business has been told of it, or has decided it here."""


def plan_news(notice: PlanNotice, others: Iterable[PlanNotice]) -> Reason | None:
    """Why the business need not be told of this; None: it is news. The same whatever the order of arrival.

    News is what differs from the last thing that the business knows of. Something newer that says otherwise makes this old: that is told
    instead. Stripe's moments are whole seconds; within one the order of arrival counts.
    """
    others = tuple(others)
    if is_overtaken(notice, others):
        return Reason.PLAN_CHANGED_AGAIN
    last = max((one for one in others if one.known), key=lambda one: one.at, default=None)
    if notice.ends_on == (last.ends_on if last else None):
        return Reason.END_IS_KNOWN if notice.ends_on else Reason.NO_END_WAS_TOLD
    return None


def is_overtaken(notice: PlanNotice, others: Iterable[PlanNotice]) -> bool:
    """Whether Stripe has said otherwise since, so that this isn't true any more."""
    last = max(
        (one for one in others if one.ended or one.at > notice.at),
        key=lambda one: (one.ended, one.at),
        default=notice,
    )
    return not notice.ended and (last.ended or last.ends_on != notice.ends_on)


def day_of(ends_at: dt.datetime | None) -> str:
    """The day of an end as keys write it; `now` where it isn't known."""
    return f"{ends_at.astimezone(dt.UTC):%Y%m%d}" if ends_at else "now"


def subscription_end_key(
    subscription: StripeId, ends_at: dt.datetime | None, at: dt.datetime | None = None
) -> str:
    """One end of a subscription is told once, planned or past; planned for another day it is news again. So it is when it
    was withdrawn between: with `at` it is what Stripe said at that moment."""
    again = f"/{at.astimezone(dt.UTC):{_MOMENT}}" if at else ""
    key = f"{Kind.SUBSCRIPTION_ENDING}/{subscription.id}/{day_of(ends_at)}{again}"
    return in_account(subscription.account, key)


def withdrawn_key(subscription: StripeId, at: dt.datetime) -> str:
    """A planned end that was withdrawn at this moment."""
    key = f"{Kind.CANCELLATION_WITHDRAWN}/{subscription.id}/{at.astimezone(dt.UTC):{_MOMENT}}"
    return in_account(subscription.account, key)


def read_plan_key(account: str, key: str) -> tuple[str, str | None] | None:
    """The subscription of such a key of an account, and the day on which it ends; None for another kind of key."""
    kind, _, rest = outside_account(account, key).partition("/")
    subscription_id, _, rest = rest.partition("/")
    if kind == Kind.CANCELLATION_WITHDRAWN:
        return subscription_id, None
    return (subscription_id, rest.partition("/")[0]) if kind == Kind.SUBSCRIPTION_ENDING else None
