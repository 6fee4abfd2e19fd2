"""The page of `portico preview --html` in a real browser, on a phone, at a desk and on paper."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

from portico.observing.page import Page
from portico.observing.reading import Charge, Mail
from portico.observing.totals import Totals
from shared.contracts.rpc.billing import ObservedCharge
from shared.contracts.rpc.notifier import ObservedNotification
from shared.contracts.rpc.recipients import Recipient
from tests.fixtures.browser import violations
from tests.unit.cli.observed import charge, mail, paid

UNTIL = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)
NAMES = ("Maria Lopez", "Ann-Katrin Lindqvist-Oppenheimer von und zu Hohenstein", "W" * 60)
ENDS: tuple[dict[str, Any], ...] = ({}, paid(), paid(0), {"status": "void"})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of many rows, with names that are too long for a phone, and two currencies."""
    path = tmp_path_factory.mktemp("preview") / "preview.html"
    totals = Totals()
    with Page("Sunrise: what would have gone out", UNTIL - dt.timedelta(days=7), UNTIL) as page:
        for number in range(24):
            whom = Recipient(
                customer_id="C" * 22,
                business_id="sunrise",
                external_id=str(number),
                name=NAMES[number % 3],
                email="m•••@e•••.com",
            )
            money = {"currency": "eur", "amount_due": 123_456_700} if number % 5 == 0 else {}
            row = {"attempt": 1, **mail(number, invoice={**ENDS[number % 4], **money})}
            for one in (
                Mail(msgspec.convert(row, ObservedNotification), whom),
                Charge(msgspec.convert(charge(number), ObservedCharge), whom),
            ):
                totals.add(one)
                page.add(one)
        page.write(path, totals)
    return path


@pytest.mark.parametrize(
    ("width", "scheme"), [(320, "dark"), (390, "light"), (1000, "light"), (1000, "dark")]
)
def test_every_row_is_whole_on_the_screen(
    browser: Browser, file: Path, width: int, scheme: Any
) -> None:
    """Without scrolling sideways; nothing sticks out of its card; axe finds nothing."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.set_content(file.read_text())
    assert page.locator(".figure b").first.inner_text() == "24"
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll("td, dt, dd, .figure b")].filter((each) => {
            const { left, right, width } = each.getBoundingClientRect();
            const card = each.closest("section").getBoundingClientRect();
            return width && (left < card.left || card.right < right || each.scrollWidth > each.clientWidth + 1);
        }).map((each) => each.textContent)"""
    )
    assert cut == []
    found = violations(page)
    context.close()
    assert found == []


def test_it_is_printed_in_black_on_white(browser: Browser, file: Path) -> None:
    """Whatever the reader's screen is like; no row is torn over two sheets."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.set_content(file.read_text())
    page.emulate_media(media="print")
    colours = page.evaluate(
        "(({ color, backgroundColor }) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    torn = page.evaluate("getComputedStyle(document.querySelector('.rows tr')).breakInside")
    context.close()
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert torn == "avoid"
