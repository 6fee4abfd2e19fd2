"""A failed charge, from Stripe's webhook to the email, on the distributed system; until it is paid: test_stripe_accounts.py."""

from __future__ import annotations

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
