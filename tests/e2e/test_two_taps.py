"""From the opened email to money: two taps and the typing of a card, and the loop closes by itself."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.fixtures.story import Customer, Story, eventually, link_in, next_second

pytestmark = pytest.mark.punctual

BUTTON = "Manage payment + subscriptions"


def tap_in_mail(story: Story, page: Page, mail: dict[str, Any], name: str) -> None:
    """Open a mail on its own, as a mail program shows it, and press its button."""
    page.goto(f"{story.sandbox_url}/inbox/{mail['id']}/html")
    page.get_by_role("link", name=name).click()


def type_card(page: Page, number: str = "4242424242424242") -> None:
    """The typing of a card on Stripe's page."""
    page.get_by_label("Card number").fill(number)
    page.get_by_label("Expiration date").fill("12 / 34")
    page.get_by_label("CVC").fill("123")


def subscription(story: Story, customer: Customer) -> dict[str, Any]:
    """The customer's subscription as Stripe has it now."""
    found: dict[str, Any] = story.get(
        "/v1/subscriptions", customer=str(customer.stripe_id), status="all"
    )["data"][0]
    return found


def card_of_its_own(story: Story, customer: Customer, token: str) -> str:
    """Give the customer's subscription a default card of its own, before anything that Stripe charges it for."""
    card = story.post(f"/v1/payment_methods/{token}/attach", customer=str(customer.stripe_id))["id"]
    story.post(
        f"/v1/subscriptions/{subscription(story, customer)['id']}", default_payment_method=card
    )
    next_second()
    return str(card)


def subjects(story: Story, customer: Customer) -> list[str]:
    return [mail["subject"] for mail in story.mails(customer.email)]


def test_two_taps_from_the_email_to_the_card_form(story: Story, page: Page) -> None:
    """One tap in the email, one on the page, and the card can be typed."""
    customer = story.customer("autopay")
    story.charge_fails(customer)
    mail = story.mail_to(customer)
    taps = 0
    tap_in_mail(story, page, mail, "Update your payment method")
    taps += 1
    page.get_by_role("button", name=BUTTON).click()
    taps += 1
    expect(page.get_by_label("Card number")).to_be_visible()
    assert taps == 2
    assert page.url.startswith(story.sandbox_url)


def test_a_subscriptions_own_old_card_is_replaced_for_good(story: Story, page: Page) -> None:
    """Paid within five seconds of the new card, the subscription points at it, one mail each of bad and good news,
    and the next cycle charges the new card."""
    customer = story.customer("autopay")
    old = card_of_its_own(story, customer, "pm_card_chargeCustomerFail")
    story.control(f"customers/{customer.stripe_id}/charge_now")
    invoice = story.get("/v1/invoices", customer=str(customer.stripe_id), status="open")["data"][0]
    mail = story.mail_to(customer)
    eventually(
        lambda: page.goto(link_in(mail)) and page.get_by_text("Visa •••• 0341").is_visible(),
        what="the card that failed on the page",
    )
    tap_in_mail(story, page, mail, "Update your payment method")
    page.get_by_role("button", name=BUTTON).click()
    type_card(page)
    page.get_by_role("button", name="Save card").click()
    saved = time.monotonic()
    eventually(
        lambda: story.invoice(invoice["id"])["status"] == "paid", within=5, what="the payment"
    )
    took = time.monotonic() - saved
    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(timeout=20_000)
    new = subscription(story, customer)["default_payment_method"]
    assert new not in (None, old)
    story.mail_to(customer, 2)
    story.control(f"customers/{customer.stripe_id}/charge_now")
    newest = story.get("/v1/invoices", customer=str(customer.stripe_id))["data"][0]
    assert newest["id"] != invoice["id"]
    assert newest["status"] == "paid"
    told = subjects(story, customer)
    assert len(told) == 2, told
    assert "didn’t go through" in told[0]
    assert "didn’t go through" not in told[1]
    assert took < 5


def test_a_payment_to_confirm_leads_to_its_own_invoice(story: Story, page: Page) -> None:
    """SCA: two taps from the email to Stripe's page of that invoice; confirmed there, the page says paid."""
    customer = story.customer("autopay")
    card_of_its_own(story, customer, "pm_card_authenticationRequired")
    story.control(f"customers/{customer.stripe_id}/charge_now")
    invoice = story.get("/v1/invoices", customer=str(customer.stripe_id), status="open")["data"][0]
    page.goto(link_in(story.mail_to(customer)))
    expect(page.get_by_text("Please confirm your payment")).to_be_visible()
    assert "from=" in page.url
    page.get_by_role("button", name="Confirm your payment").click()
    page.wait_for_url("**/i/**")
    assert invoice["id"] in urlsplit(page.url).path
    story.post(f"/sandbox/invoices/{invoice['id']}/authenticate")
    page.goto(customer.link)
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(timeout=20_000)
    assert len(subjects(story, customer)) <= 2


def test_a_bank_debit_waits_calmly(story: Story, page: Page) -> None:
    """A new bank debit settles later: the page says that it is on its way, and nobody is mailed again meanwhile."""
    customer = story.customer("autopay")
    story.charge_fails(customer)
    story.mail_to(customer)
    debit = story.post(
        "/v1/payment_methods/pm_usBankAccount/attach", customer=str(customer.stripe_id)
    )["id"]
    story.post(
        f"/v1/customers/{customer.stripe_id}",
        **{"invoice_settings[default_payment_method]": debit},
    )
    eventually(
        lambda: (
            page.goto(customer.link)
            and page.get_by_text("we’re waiting to hear from your bank").count() == 1
        ),
        what="the debit that is under way on the page",
    )
    expect(page.get_by_text("Your new payment method is saved")).to_be_visible()
    expect(page.get_by_text("There’s nothing you need to do right now.")).to_be_visible()
    assert len(subjects(story, customer)) == 1


def test_cancelling_with_approval(story: Story, page: Page) -> None:
    """Asked on the page, approved from the business's mail, ended with the period; the link used twice does nothing."""
    customer = story.customer("autopay")

    def offered() -> bool:
        page.goto(customer.link)
        return page.get_by_text("Want to cancel?").count() == 1

    eventually(offered, within=30, what="the way to ask")
    before = len(story.mails("hello@green-gardens.example"))
    page.get_by_text("Want to cancel?").click()
    page.get_by_role("button", name="Ask to cancel").click()
    expect(page.get_by_role("heading", name="Your request is with us")).to_be_visible()
    eventually(
        lambda: len(story.mails("hello@green-gardens.example")) > before, what="the business's mail"
    )
    asked = story.mails("hello@green-gardens.example")[-1]
    assert customer.name in asked["subject"]
    page.goto(f"{story.sandbox_url}/inbox/{asked['id']}/html")
    page.get_by_role("link", name="Approve cancellation").click()
    address = page.url
    assert subscription(story, customer)["cancel_at_period_end"] is False
    expect(page.get_by_role("button", name="Keep the subscription")).to_be_visible()
    page.get_by_role("button", name="Approve cancellation").click()
    expect(page.get_by_role("heading", name="Approved, thank you")).to_be_visible()
    eventually(
        lambda: subscription(story, customer)["cancel_at_period_end"], what="the planned end"
    )
    story.mail_to(customer)
    page.goto(address)
    expect(page.get_by_text("This request was approved")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    planned = subscription(story, customer)
    eventually(
        lambda: page.goto(customer.link) and page.get_by_text("Ends on").count() == 1,
        what="the end on the page",
    )
    assert subscription(story, customer) == planned
    assert len(story.mails(customer.email)) == 1
    story.control("clock", advance_seconds=32 * 86_400)
    eventually(lambda: subscription(story, customer)["status"] == "canceled", what="the end")
    eventually(
        lambda: page.goto(customer.link) and page.get_by_text("Ended on").count() == 1,
        what="the end on the page",
    )
