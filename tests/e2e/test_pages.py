"""Every page state and every case of an email in a real browser: accessible, small, locked down, and readable without frills."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from scripts.gallery import PLACE, serve
from scripts.gallery_pages import NASTY, Drawn, emails, pages
from services.notifier.domain.kinds import Kind
from shared.l10n.locales import SOURCE, languages
from tests.fixtures.browser import violations

PAGES = functools.cache(pages)
"""Drawn at the first call: every process that collects tests reads this module."""
KINDS = {f"email-{kind.value.replace('_', '-')}" for kind in Kind}
OTHER_LANGUAGES = {f"declined-{language}" for language in languages() - {SOURCE}}


def special_emails() -> dict[str, Drawn]:
    """What a kind of email looks like in another case; each kind is looked at in test_mails_in_a_browser.py."""
    return {name: drawn for name, drawn in emails().items() if name not in KINDS}


def look_at(page: Page, name: str) -> None:
    """Open a page, and what is folded on it."""
    page.goto(PLACE + name)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
@pytest.mark.parametrize("draw", [PAGES, special_emails], ids=["pages", "emails"])
def test_axe_finds_nothing(
    browser: Browser,
    scheme: Literal["light", "dark"],
    width: int,
    draw: Callable[[], dict[str, Drawn]],
) -> None:
    """No violation of WCAG 2.2 AA on any page state or email, narrow and light, wide and dark: there without the page in other languages,
    whose colours are the same."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    drawn = draw()
    serve(page, drawn)
    found = {}
    for name in drawn:
        if scheme == "dark" and name in OTHER_LANGUAGES:
            continue
        look_at(page, name)
        if bad := violations(page):
            found[name] = bad
    context.close()
    assert found == {}


def test_every_page_is_small_and_allows_nothing_inline() -> None:
    """Under 20 KB with the longest names, no script, no `unsafe-inline`."""
    for name, drawn in PAGES().items():
        assert len(drawn.html.encode()) < 20_000, name
        assert "<script" not in drawn.html
        assert "unsafe" not in drawn.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["declined", "confirm", "well"])
def test_a_page_works_without_scripts_images_and_styles(browser: Browser, name: str) -> None:
    """What is owed and the button are there, in the right order, when all but HTML is switched off."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    bare = PAGES()[name].html.replace("<style>", "<template>").replace("</style>", "</template>")
    serve(page, {name: type(PAGES()[name])(bare, PAGES()[name].headers)})
    page.goto(PLACE + name)
    words = page.inner_text("body")
    assert words.index("Manage payment + subscriptions") < words.index("Upcoming appointments")
    assert page.get_by_role("button").first.is_enabled()
    page.get_by_text("Want to cancel?").click()
    assert page.get_by_role("button", name="Ask to cancel").is_visible()
    context.close()


FAULTS = r"""() => {
  const found = [], over = document.documentElement.scrollWidth - window.innerWidth;
  if (over > 0) found.push(`${over} px wider than the screen`);
  for (const each of document.querySelectorAll("a, button, summary")) {
    const { width, height } = each.getBoundingClientRect();
    if (width < 44 || height < 44) found.push(`${each.textContent.trim()}: ${width} x ${height} px`);
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, at = text.parentElement;
    if (!at.checkVisibility() || at.closest(".sr, [href^='mailto:'], [href^='http']")) continue;
    for (const part of text.data.matchAll(/\S*\d\S*|[^\s\-\/]+/g)) {
      const range = document.createRange();
      range.setStart(text, part.index);
      range.setEnd(text, part.index + part[0].length);
      const lines = new Set([...range.getClientRects()].filter(({ width }) => width).map(({ top }) => Math.round(top)));
      if (lines.size > 1) found.push(`broken: ${part[0]}`);
    }
  }
  return found;
}"""
"""What is wrong with a page as it is laid out: sideways scroll, targets smaller than a finger, and numbers, amounts and
words on two lines (addresses excepted)."""


@pytest.mark.parametrize(
    ("text", "widths"), [(16, (195, 320, 390, 1280)), (32, (320,))], ids=["usual", "large"]
)
def test_a_small_screen_and_large_text_break_nothing(
    browser: Browser, text: int, widths: tuple[int, ...]
) -> None:
    """No sideways scroll, every target 44 px, no number, amount or word in two, in every state and language: down to
    320 px, there at text of 200 % too, and at 195 px (a phone of 390 px, zoomed in to 200 %). Nor does a page break its own
    Content-Security-Policy: the browser reports no violation."""
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    sizes = {"standard": text, "fixed": text}
    context.new_cdp_session(page).send("Page.setFontSizes", {"fontSizes": sizes})
    serve(page, PAGES())
    found = {}
    for name in PAGES():
        look_at(page, name)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            faults = page.evaluate(FAULTS)
            if name == "nasty":  # its words are longer than any screen
                faults = [fault for fault in faults if not fault.startswith("broken")]
            if faults:
                found[name, width] = faults
    context.close()
    assert found == {}
    assert said == []


def test_a_hosts_name_is_whole_where_a_line_has_room_for_it(browser: Browser) -> None:
    """Where the button leads is read as one name: it begins a new line before it is broken at a dot."""
    context = browser.new_context(viewport={"width": 320, "height": 800})
    page = context.new_page()
    serve(page, PAGES())
    page.goto(PLACE + "declined")
    lines = page.locator(".where bdi").evaluate(
        "e => Math.round(e.offsetHeight / parseFloat(getComputedStyle(e).lineHeight))"
    )
    context.close()
    assert lines == 1


def test_nasty_names_are_only_text(browser: Browser) -> None:
    """HTML, quotes, templates, right-to-left text and 200 characters are read as they are written; nothing runs, nothing turns around."""
    context = browser.new_context()
    page = context.new_page()
    serve(page, PAGES())
    ran: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    page.goto(PLACE + "nasty")
    heading = page.get_by_role("heading", level=1).inner_text()
    shown = NASTY.replace("\u202e", "")
    assert " ".join(shown.split()) in " ".join(heading.split())
    assert page.locator("h1 bdi").count() == 1
    assert ran == []
    context.close()
