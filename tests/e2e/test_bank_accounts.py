"""A bank account on `make run`: what fails is called what it is, in mail and page, and what takes days is given days."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page, expect

from local.processes import Embedded
from tests.e2e.test_dunning import ADA, Sandbox
from tests.fixtures.story import eventually

NEVER_ASKED = "We never ask for card or bank details by email or phone."
"""Whatever the customer pays with, an email and a page say this."""


class Customer:
    """Ada, whose bank does as she is told."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        (customer,) = sandbox.get("/v1/customers", email=ADA)["data"]
        self.id = customer["id"]
        (subscription,) = sandbox.get("/v1/subscriptions", customer=self.id)["data"]
        self.subscription = f"/v1/subscriptions/{subscription['id']}"

    def _saves(self, token: str) -> str:
        """One of Stripe's test payment methods."""
        answer = self.sandbox.post(f"/v1/payment_methods/{token}/attach", customer=self.id)
        return str(answer["id"])

    def subscribes_with(self, token: str) -> None:
        """It is what her subscription is charged to from now on."""
        self.sandbox.post(self.subscription, default_payment_method=self._saves(token))

    def changes_to(self, token: str) -> None:
        """It becomes her default, as Stripe's page makes it."""
        time.sleep(2)  # Stripe tells time in seconds: nobody fails and changes within the same one
        settings = {"invoice_settings[default_payment_method]": self._saves(token)}
        self.sandbox.post(f"/v1/customers/{self.id}", **settings)

    def is_charged(self) -> str:
        """The id of the invoice."""
        return str(self.sandbox.control(f"customers/{self.id}/charge_now")["id"])

    def hears_from_the_bank(self) -> None:
        """The clock runs on until the bank has answered, days later."""
        at = eventually(
            lambda: self.sandbox.get(f"/sandbox/customers/{self.id}/settlement")["at"],
            what="a debit under way",
        )
        time.sleep(2)  # what belongs to the first day is done before days pass in a moment
        self.sandbox.control("clock", to=at)

    def mail(self, number: int) -> dict[str, Any]:
        """Her mail of that number, once it is there."""

        def mails() -> list[dict[str, Any]]:
            found = self.sandbox.get("/inbox.json", to=ADA)
            return sorted(found, key=lambda mail: mail["received_at"])

        eventually(lambda: len(mails()) >= number, within=20, what=f"mail {number}")
        found: dict[str, Any] = mails()[number - 1]
        return found


def test_a_bank_account_is_told_as_one_from_the_first_debit_to_the_last(
    embedded: Embedded, demo_links: dict[str, str], page: Page
) -> None:
    """A card fails and a bank account follows: days, not seconds. Its next debit comes back: the account is named. In the
    end there is nothing to charge, and nothing is said to have failed."""
    page.set_viewport_size({"width": 390, "height": 844})
    sandbox = Sandbox(embedded)
    ada = Customer(sandbox)
    ada.subscribes_with("pm_card_chargeCustomerFail")
    first = ada.is_charged()
    assert "The payment from your Visa ending in 0341 was declined" in ada.mail(1)["text"]

    ada.changes_to("pm_usBankAccount_success")
    days = page.get_by_text("this takes a few days")
    eventually(
        lambda: page.goto(demo_links["Ada Lindqvist"]) and days.is_visible(),
        within=20,
        what="the payment under way on the page",
    )
    expect(page.get_by_text("Your payment is being processed")).to_be_visible()
    ada.hears_from_the_bank()
    assert ada.mail(2)["categories"][0] == "payment_recovered"
    assert sandbox.get(f"/v1/invoices/{first}")["status"] == "paid"

    ada.subscribes_with("pm_usBankAccount_insufficientFunds")
    ada.is_charged()
    ada.hears_from_the_bank()
    told = ada.mail(3)["text"]
    assert "wasn’t enough money in your bank account at STRIPE TEST BANK ending in 2227" in told
    assert "card" not in told.replace(NEVER_ASKED, "")
    account = page.get_by_text("STRIPE TEST BANK •••• 2227")
    eventually(
        lambda: page.goto(demo_links["Ada Lindqvist"]) and account.is_visible(),
        within=15,
        what="the account on the page",
    )
    seen = page.locator("main").inner_text()
    assert "Payments from a bank account take a few days to arrive." in seen
    assert "card" not in seen.replace(NEVER_ASKED, "").lower()
    ada.changes_to("pm_usBankAccount_success")
    ada.hears_from_the_bank()
    assert ada.mail(4)["categories"][0] == "payment_recovered"

    for saved in sandbox.get("/v1/payment_methods", customer=ada.id)["data"]:
        sandbox.post(f"/v1/payment_methods/{saved['id']}/detach")
    ada.is_charged()
    told = ada.mail(5)
    assert told["subject"].startswith("No payment method for $")
    assert "There was no payment method on file" in told["text"]
    missing = page.get_by_role("heading", name="A payment method is missing")
    eventually(
        lambda: page.goto(demo_links["Ada Lindqvist"]) and missing.is_visible(),
        within=15,
        what="the missing payment method on the page",
    )
