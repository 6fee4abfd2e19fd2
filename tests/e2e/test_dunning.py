"""Three weeks of failed retries on `make run`'s clock: exactly the emails of the reminder policy, in seconds."""

from __future__ import annotations

import time
from typing import Any

import requests

from local.processes import Embedded
from sandbox.keys import own_secrets
from tests.fixtures.story import eventually, next_second

ADA = "ada@example.com"
BUSINESS = "hello@sunrise-cleaning.example"


class Sandbox:
    """Stripe and the mailbox of a run, over HTTP."""

    def __init__(self, run: Embedded) -> None:
        self.url = run.sandbox_url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.auth = (own_secrets(run.folder / "var")["STRIPE_API_KEY"], "")

    def get(self, path: str, **query: str) -> Any:
        answer = self.http.get(f"{self.url}{path}", params=query, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, **form: str) -> Any:
        answer = self.http.post(f"{self.url}{path}", data=form, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def control(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"{self.url}/sandbox/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def kinds(self, to: str) -> list[str]:
        """The kinds of the emails to an address, oldest first."""
        found = sorted(self.get("/inbox.json", to=to), key=lambda mail: mail["received_at"])
        return [mail["categories"][0] for mail in found]


def test_the_business_hears_of_a_cancellation_and_of_its_withdrawal(embedded: Embedded) -> None:
    """Both ways, once each, in order, however often somebody changes their mind on Stripe's page."""
    sandbox = Sandbox(embedded)
    (ada,) = sandbox.get("/v1/customers", email=ADA)["data"]
    (subscription,) = sandbox.get("/v1/subscriptions", customer=ada["id"])["data"]
    expected = ["subscription_ending", "cancellation_withdrawn"] * 2
    for number, ends in enumerate(("true", "false", "true", "false"), 1):
        sandbox.post(f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=ends)
        eventually(
            lambda number=number: len(sandbox.kinds(BUSINESS)) == number,
            what=f"email number {number} to the business",
        )
        next_second()
    assert sandbox.kinds(BUSINESS) == expected


def _link_in(mail: dict[str, Any]) -> str:
    """Where the mail's button leads."""
    return next(line for line in mail["text"].splitlines() if line.startswith("http"))


def test_three_weeks_of_dunning_take_seconds_and_send_the_policys_emails(
    embedded: Embedded,
) -> None:
    """Attempts on days 0, 3, 8 and 15: failed, two reminders, the last; then Stripe ends it, and the business hears how."""
    sandbox = Sandbox(embedded)
    (ada,) = sandbox.get("/v1/customers", email=ADA)["data"]
    (subscription,) = sandbox.get("/v1/subscriptions", customer=ada["id"])["data"]
    card = sandbox.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=ada["id"])
    sandbox.post(f"/v1/subscriptions/{subscription['id']}", default_payment_method=card["id"])
    seen = len(sandbox.kinds(BUSINESS))
    began = time.monotonic()
    day_zero = sandbox.get("/sandbox/clock")["now"]
    invoice = sandbox.control(f"customers/{ada['id']}/charge_now")
    expected = [
        "payment_failed",
        "payment_reminder",
        "payment_reminder",
        "payment_last_attempt",
    ]
    for number in range(1, len(expected) + 1):
        eventually(
            lambda number=number: len(sandbox.kinds(ADA)) >= number,
            within=20,
            what=f"email number {number}",
        )
        if number < len(expected):
            sandbox.control("clock", to="next_retry")
    days = (sandbox.get("/sandbox/clock")["now"] - day_zero) / 86_400
    sandbox.control("clock", advance_seconds=int((21.5 - days) * 86_400))
    took = time.monotonic() - began
    eventually(
        lambda: "collection_ended" in sandbox.kinds(BUSINESS), what="the email to the business"
    )
    time.sleep(2)  # long enough for an email too many, were there one
    assert sandbox.kinds(ADA) == expected
    assert sandbox.kinds(BUSINESS)[seen:] == ["collection_ended"]
    mail = max(sandbox.get("/inbox.json", to=BUSINESS), key=lambda one: one["received_at"])
    assert "has ended because we didn’t receive what was due" in mail["text"]
    assert "We’ve tried 4 times." in mail["text"]
    assert "emailed the customer 4 times" in mail["text"]
    page = sandbox.http.get(_link_in(mail), timeout=10, allow_redirects=False)
    assert page.headers["Location"] == f"/#{ada['id']}"
    assert sandbox.get(f"/v1/invoices/{invoice['id']}")["attempt_count"] == 4
    assert sandbox.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "canceled"
    assert took < 30
