"""What became of failed charges: counts, money, and how long it took."""

from __future__ import annotations

import datetime as dt
import statistics
from typing import Final

from sqlalchemy.orm import Session

from services.notifier.queries import stats as queries
from shared.contracts.accounts import Merchant
from shared.contracts.rpc.notifier import (
    CurrencyStats,
    DayStats,
    EmailStats,
    RecoveryTime,
    Stats,
)

ENDS: Final = ("recovered", "forgiven", "lost", "open")
COUNTS: Final = ("failed", "mailed", "delivered", *ENDS)
AMOUNTS: Final = ("failed_amount", *(f"{end}_amount" for end in ENDS))
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


def stats(
    session: Session, since: dt.datetime, now: dt.datetime, merchant: Merchant | None = None
) -> Stats:
    """Failed autopay invoices since a moment, by what became of them: in all, by currency, by day. `merchant`: of one alone.

    Each invoice counts once, however often it failed. `recovered` is money that came in, `forgiven` what a credit note let
    go, `lost` void or uncollectible, `open` none of these: still owed, or open and collected by nobody any more. The four
    amounts add up to what failed. Money that was refunded afterwards is not recovered and should not count; it does, since
    Stripe's events of a refund name no invoice: what was given back stands in Stripe's own reports.
    """
    currencies: dict[str, dict[str, int]] = {}
    for row in queries.counts_by_currency(session, since, merchant):
        currency, status, waived, mailed, delivered, count, due, paid, credited = row
        sums = currencies.setdefault(currency, dict.fromkeys(COUNTS + AMOUNTS, 0))
        sums["failed"] += count
        sums["mailed"] += count if mailed else 0
        sums["delivered"] += count if delivered else 0
        sums[_end(status, waived)] += count
        due, paid, credited = int(due or 0), int(paid or 0), int(credited or 0)
        sums["failed_amount"] += due + credited
        sums["recovered_amount"] += paid
        sums["forgiven_amount"] += credited
        if status != "paid":
            sums["lost_amount" if status in LOST else "open_amount"] += due - paid
    seconds = queries.recovery_seconds(session, since, merchant)
    totals = {name: sum(sums[name] for sums in currencies.values()) for name in COUNTS}
    return Stats(
        since=since,
        until=now,
        **totals,
        currencies=[
            CurrencyStats(currency=name, **sums) for name, sums in sorted(currencies.items())
        ],
        median_seconds_to_recover=statistics.median(seconds) if seconds else None,
        times_to_recover=_histogram(seconds),
        days=_days(session, since, now, merchant),
        mails=_mails(session, since, merchant),
    )


def _end(status: str, waived: bool) -> str:
    if status == "paid":
        return "forgiven" if waived else "recovered"
    return "lost" if status in LOST else "open"


def _histogram(seconds: list[float]) -> list[RecoveryTime]:
    counts = [0] * len(BOUNDS)
    for each in seconds:
        place = next(
            (number for number, bound in enumerate(DAYS) if each < bound * 86_400), len(DAYS)
        )
        counts[place] += 1
    return [
        RecoveryTime(within=name, count=count) for name, count in zip(BOUNDS, counts, strict=True)
    ]


def _days(
    session: Session, since: dt.datetime, now: dt.datetime, merchant: Merchant | None
) -> list[DayStats]:
    """Every day of the time, also those without a failure."""
    blank = dict.fromkeys(("failed", *ENDS), 0)
    days = {
        (since.date() + dt.timedelta(days=number)).isoformat(): dict(blank)
        for number in range((now.date() - since.date()).days + 1)
    }
    for day, status, waived, count in queries.by_day(session, since, merchant):
        sums = days.setdefault(str(day), dict(blank))
        sums["failed"] += count
        sums[_end(status, waived)] += count
    return [DayStats(day=day, **sums) for day, sums in sorted(days.items())]


def _mails(session: Session, since: dt.datetime, merchant: Merchant | None) -> list[EmailStats]:
    return [
        EmailStats(kind=kind, status=status, reason=reason, count=count)
        for kind, status, reason, count in sorted(
            queries.mails_by_status(session, since, merchant),
            key=lambda row: (-row[3], row[0], row[1]),
        )
    ][:200]
