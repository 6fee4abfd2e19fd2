"""A failed charge, from Stripe's webhook to the paid invoice, on the distributed system."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from local.processes import Stack
from tests.fixtures.story import Story, link_in


def test_a_failed_charge_becomes_one_mail_with_the_customers_link(story: Story) -> None:
    """The mail comes from the platform, names the amount, and its button is the customer's own page."""
    customer = story.customer("autopay")
    invoice = story.charge_fails(customer)
    assert invoice["status"] == "open"
    mail = story.mail_to(customer)
    assert link_in(mail).startswith(customer.link)
    assert "149.00" in mail["text"]
    assert len(story.mails(customer.email)) == 1


def test_mails_wait_for_a_notifier_that_is_away(story: Story, stack: Stack) -> None:
    """Failures while no notifier runs, each webhook sent three times, end in one mail each once it is back."""
    customers = [story.customer("autopay") for _ in range(10)]
    stack.kill("notifier")
    story.control("webhooks", duplicate=3)
    try:
        for customer in customers:
            story.charge_fails(customer)
    finally:
        story.control("webhooks", duplicate=1)
        stack.resume("notifier")
    for customer in customers:
        story.mail_to(customer, within=20)
    assert [len(story.mails(customer.email)) for customer in customers] == [1] * 10


def test_a_new_card_pays_the_open_invoice(story: Story, page: Page) -> None:
    """From the mail's link to Stripe's page, a new card, and back: the invoice is paid and the page says so."""
    customer = story.customer("autopay")
    invoice = story.charge_fails(customer)
    page.goto(link_in(story.mail_to(customer)))
    page.get_by_role("button", name="Manage payment + subscriptions").click()
    page.wait_for_url("**/p/session/**")
    page.get_by_label("Card number").fill("4242424242424242")
    page.get_by_label("Expiration date").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save card").click()
    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(
        timeout=20_000  # the page looks again by itself every few seconds
    )
    assert story.invoice(invoice["id"])["status"] == "paid"


def test_make_run_shows_a_customer_of_each_kind(demo_links: dict[str, str], page: Page) -> None:
    """Who is on autopay or has a saved card sees the button; who never paid does not."""
    buttons = {}
    for name, link in demo_links.items():
        page.goto(link)
        buttons[name] = page.get_by_role("button", name="Manage payment + subscriptions").count()
    assert buttons == {"Ada Lindqvist": 1, "Bruno Costa": 1, "Chloé Martin": 0}
