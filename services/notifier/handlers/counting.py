"""What became of failed charges: counts, money, and how long it took."""

from __future__ import annotations

import datetime as dt
import statistics
from typing import Any, Final

from sqlalchemy.orm import Session

from services.notifier.queries import looking_back

COUNTS: Final = (
    *("failed", "mailed", "delivered", "recovered", "lost", "open"),
    *("failed_amount", "recovered_amount", "lost_amount", "open_amount"),
)
LOST: Final = ("void", "uncollectible")
DAYS: Final = (1 / 24, 1, 3, 7, 14, 30)
"""Bounds, in days, of the histogram of times to recover."""
BOUNDS: Final = (
    "under an hour",
    "under a day",
    "1 to 3 days",
    "3 to 7 days",
    "7 to 14 days",
    "14 to 30 days",
    "longer",
)


def stats(session: Session, since: dt.datetime, now: dt.datetime) -> dict[str, Any]:
    """Failed autopay invoices since a moment, by what became of them: in all, by currency, by day.

    Each invoice counts once, however often it failed. `lost` is void or uncollectible; `open` is still owed.
    """
    currencies: dict[str, dict[str, int]] = {}
    for currency, status, mailed, delivered, count, due, paid in looking_back.counts_by_currency(
        session, since
    ):
        sums = currencies.setdefault(
            currency,
            dict.fromkeys(COUNTS, 0),
        )
        end = "recovered" if status == "paid" else "lost" if status in LOST else "open"
        sums["failed"] += count
        sums["mailed"] += count if mailed else 0
        sums["delivered"] += count if delivered else 0
        sums[end] += count
        sums["failed_amount"] += int(due or 0)
        sums[f"{end}_amount"] += int((paid if end == "recovered" else due) or 0)
    seconds = looking_back.recovery_seconds(session, since)
    totals = {name: sum(sums[name] for sums in currencies.values()) for name in COUNTS[:6]}
    return {
        "since": since.isoformat(),
        "until": now.isoformat(),
        **totals,
        "currencies": [{"currency": name, **sums} for name, sums in sorted(currencies.items())],
        "median_seconds_to_recover": statistics.median(seconds) if seconds else None,
        "times_to_recover": _histogram(seconds),
        "days": _days(session, since, now),
        "mails": _mails(session, since),
    }


def _histogram(seconds: list[float]) -> list[dict[str, Any]]:
    counts = [0] * len(BOUNDS)
    for each in seconds:
        place = next(
            (number for number, bound in enumerate(DAYS) if each < bound * 86_400), len(DAYS)
        )
        counts[place] += 1
    return [{"within": name, "count": count} for name, count in zip(BOUNDS, counts, strict=True)]


def _days(session: Session, since: dt.datetime, now: dt.datetime) -> list[dict[str, Any]]:
    """Every day of the time, also those without a failure."""
    blank = {"failed": 0, "recovered": 0, "lost": 0, "open": 0}
    days = {
        (since.date() + dt.timedelta(days=number)).isoformat(): dict(blank)
        for number in range((now.date() - since.date()).days + 1)
    }
    for day, status, count in looking_back.by_day(session, since):
        sums = days.setdefault(str(day), dict(blank))
        end = "recovered" if status == "paid" else "lost" if status in LOST else "open"
        sums["failed"] += count
        sums[end] += count
    return [{"day": day, **sums} for day, sums in sorted(days.items())]


def _mails(session: Session, since: dt.datetime) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "status": status, "reason": reason, "count": count}
        for kind, status, reason, count in sorted(
            looking_back.mails_by_status(session, since), key=lambda row: (-row[3], row[0], row[1])
        )
    ][:200]
