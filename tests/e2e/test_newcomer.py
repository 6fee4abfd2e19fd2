"""What a newcomer does after `make run`: the README's two minutes, in a browser, on a phone's width."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from local.processes import Embedded, fetch
from local.servers import StartError
from tests.fixtures.story import eventually

pytestmark = pytest.mark.punctual

BUTTON = "Manage payment + subscriptions"


def subjects(embedded: Embedded) -> list[str]:
    """The subjects of all mails to the autopay customer, newest first."""
    mails = json.loads(fetch(f"{embedded.sandbox_url}/inbox.json?to=ada@example.com"))
    return [mail["subject"] for mail in mails]


def test_the_whole_loop(embedded: Embedded, demo_links: dict[str, str], page: Page) -> None:
    """Decline a charge in the console, read the mail, press its button, save a new card, and all is well."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(demo_links["Ada Lindqvist"])
    button = page.get_by_role("button", name=BUTTON)
    expect(button).to_be_visible()
    appointments = page.get_by_role("heading", name="Upcoming appointments")
    above, below = button.bounding_box(), appointments.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] < below["y"]
    expect(page.get_by_text("didn’t go through")).to_have_count(0)

    sessions = set()
    for _ in range(2):
        page.goto(demo_links["Ada Lindqvist"])
        page.get_by_role("button", name=BUTTON).click()
        page.wait_for_url("**/p/session/**")
        sessions.add(page.url)
    assert len(sessions) == 2
    expect(page.get_by_role("link", name=re.compile("Return to Sunrise"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Cancel subscription"))).to_have_count(0)

    page.goto(embedded.sandbox_url)
    ada = page.get_by_role("article").filter(has_text="Ada Lindqvist")
    ada.get_by_role("button", name="Decline the next charge").click()
    page.get_by_role("link", name="Open the inbox").click()
    subject = "$149.00 didn’t go through"
    eventually(lambda: subject in subjects(embedded), what="the mail", within=5)
    page.reload()
    page.get_by_role("link", name=re.compile("didn’t go through")).first.click()
    mail = page.frame_locator("iframe[title='Email content']")
    mail.get_by_role("link", name="Update your payment method").click()

    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Your payment didn’t go through")).to_be_visible()
    expect(page.get_by_text("$149.00 due", exact=True)).to_be_visible()
    expect(page.get_by_text("For: Weekly home cleaning")).to_be_visible()
    page.get_by_role("button", name=BUTTON).click()
    page.wait_for_url("**/p/session/**")
    page.get_by_label("Card number").fill("5555 5555 5555 4444")
    page.get_by_label("Expiration date").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save card").click()
    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(timeout=20_000)

    eventually(lambda: len(subjects(embedded)) == 2, what="the mail that all is well")
    assert subjects(embedded).count(subject) == 1


def test_a_second_run_on_the_same_folder_is_refused(embedded: Embedded) -> None:
    """On other ports, too: both would write into the same databases and sign with the same keys."""
    second = Embedded(embedded.folder)
    with pytest.raises(StartError):
        second.start()
    assert "give this one a folder of its own: PORTICO_VAR=" in second.terminal()
    assert json.loads(fetch(f"{embedded.sandbox_url}/sandbox/demo-customers"))


def test_the_demo_is_there_again_after_a_restart(
    embedded: Embedded, demo_links: dict[str, str], page: Page
) -> None:
    """Stopped and started, the same links open the same pages: data and keys were kept, nobody was doubled."""
    assert embedded.stop() == 0
    embedded.start()
    again = {
        person["name"]: person["link"]
        for person in json.loads(fetch(f"{embedded.sandbox_url}/sandbox/demo-customers"))
    }
    assert again == demo_links
    page.goto(demo_links["Ada Lindqvist"])
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
