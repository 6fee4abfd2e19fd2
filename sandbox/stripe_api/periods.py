"""The period that a subscription is in, and the next one."""

from __future__ import annotations

from sandbox.stripe_api.clock import add_interval
from sandbox.stripe_api.store import Object


def period_end(subscription: Object) -> int:
    """When the current period ends."""
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


def next_period(subscription: Object, start: int) -> None:
    """Let the next period begin (not saved here)."""
    for item in subscription["items"]["data"]:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = start
        item["current_period_end"] = add_interval(
            start,
            recurring["interval"],
            recurring["interval_count"],
            subscription["billing_cycle_anchor"],
        )
