"""The page of `portico stats --html` in a real browser, on a phone."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from playwright.sync_api import Browser

from portico.charts import page as stats_page
from shared.contracts.rpc import notifier
from tests.fixtures.browser import violations

FIRST = dt.date(2026, 10, 31)


def _day(number: int) -> dict[str, Any]:
    counts = {"recovered": 3 + number % 4, "forgiven": number % 2, "open": number // 10, "lost": 1}
    day = (FIRST + dt.timedelta(days=number)).isoformat()
    return {"day": day, "failed": sum(counts.values()), **counts}


def _sums(currency: str, amount: int) -> dict[str, Any]:
    shares = {"failed": 10, "recovered": 6, "forgiven": 1, "open": 2, "lost": 1}
    return {
        "currency": currency,
        **shares,
        "mailed": 10,
        "delivered": 9,
        **{f"{name}_amount": amount * share for name, share in shares.items()},
    }


FOUND: dict[str, Any] = {
    "since": "2026-10-31T00:00:00Z",
    "until": "2026-11-29T12:00:00Z",
    "failed": 212,
    "mailed": 209,
    "delivered": 201,
    "recovered": 134,
    "forgiven": 15,
    "open": 33,
    "lost": 30,
    "median_seconds_to_recover": 93_600,
    "times_to_recover": [
        {"within": "under an hour", "count": 41},
        {"within": "under a day", "count": 35},
        {"within": "1 to 3 days", "count": 28},
        {"within": "3 to 7 days", "count": 20},
        {"within": "1 to 2 weeks", "count": 8},
        {"within": "later", "count": 2},
    ],
    "currencies": [_sums("eur", 1_234_500), _sums("idr", 149_000_000_00), _sums("usd", 298_000)],
    "days": [_day(number) for number in range(30)],
    "mails": [],
}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_newest_day_and_whole_tables_are_on_the_screen(browser: Browser, width: int) -> None:
    """Without scrolling sideways: what came in is the first number, the newest day's column stands in the chart, and no
    table is cut; axe finds nothing."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="dark")
    page = context.new_page()
    page.set_content(stats_page(notifier.STATS.read(FOUND)))
    assert page.locator(".figure").first.inner_text().split("\n")[0] == "€74,070.00"
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    inside = """(each) => {
        const { left, right } = each.getBoundingClientRect();
        const card = each.closest("section").getBoundingClientRect();
        return card.left < left && right < card.right;
    }"""
    cut = [
        each.text_content()
        for each in (
            page.locator(".scroll g").last,
            page.locator(".scroll text", has_text="11-29"),
            *page.locator("table").all(),
            *page.locator("dd").all(),
        )
        if not each.evaluate(inside)
    ]
    assert cut == []
    found = violations(page)
    context.close()
    assert found == []
