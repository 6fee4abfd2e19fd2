"""When Stripe collects an invoice by itself, and when it stops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox_stripe.conftest import DAY, START, Stripe


def overdue(stripe: Stripe, **decline: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(customer, subscription, invoice) of a renewal that was declined."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next", **decline)
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    stripe.events.clear()
    return customer, subscription, invoice


def updates(stripe: Stripe) -> list[dict[str, Any]]:
    """The data of what `invoice.updated` told."""
    return [e["data"] for e in stripe.events if e["type"] == "invoice.updated"]


def test_a_renewal_advances_by_itself_and_an_invoice_by_api_does_not(stripe: Stripe) -> None:
    """Nor does one that is paid."""
    _, _, invoice = overdue(stripe)
    assert invoice["auto_advance"] is True
    other = stripe.invoice(stripe.customer("pm_card_visa"))
    assert other["auto_advance"] is False
    assert stripe.post(f"/v1/invoices/{invoice['id']}/pay")["auto_advance"] is False


def test_cancelling_stops_collecting(stripe: Stripe) -> None:
    """The date of the next try is withdrawn, and no try follows."""
    _, subscription, invoice = overdue(stripe)
    ended = stripe.delete(f"/v1/subscriptions/{subscription['id']}")
    assert ended["cancellation_details"]["reason"] == "cancellation_requested"
    (told,) = updates(stripe)
    assert told["previous_attributes"] == {
        "auto_advance": True,
        "next_payment_attempt": START + 3 * DAY,
    }
    stripe.world.advance(40 * DAY)
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["status"], seen["attempt_count"]) == ("open", 1)


def test_collecting_is_turned_off_and_on_by_hand(stripe: Stripe) -> None:
    """`auto_advance` false withdraws the date; true sets one again."""
    _, _, invoice = overdue(stripe)
    path = f"/v1/invoices/{invoice['id']}"
    assert stripe.post(path, auto_advance=False)["next_payment_attempt"] is None
    stripe.world.advance(10 * DAY)
    assert stripe.get(path)["attempt_count"] == 1
    assert stripe.post(path, auto_advance=True)["next_payment_attempt"] is not None
    stripe.world.advance(10 * DAY)
    assert stripe.get(path)["status"] == "paid"


def test_a_date_is_moved_and_withdrawn(stripe: Stripe) -> None:
    """Stripe chooses its dates anew; each is told with what it was."""
    _, _, invoice = overdue(stripe)
    for date in (START + DAY, None):
        stripe.post(f"/sandbox/invoices/{invoice['id']}/reschedule", next_payment_attempt=date)
    assert [data["previous_attributes"] for data in updates(stripe)] == [
        {"next_payment_attempt": START + 3 * DAY},
        {"next_payment_attempt": START + DAY},
    ]
    stripe.world.advance(20 * DAY)
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["attempt_count"] == 1


def test_an_automation_names_the_date_later(stripe: Stripe) -> None:
    """`invoice.payment_failed` does not know it; an `invoice.updated` brings it."""
    stripe.post("/sandbox/account", automations=True)
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    stripe.events.clear()
    stripe.post(f"/sandbox/customers/{customer}/charge_now")
    told = [
        (e["type"], e["data"]["object"]["next_payment_attempt"])
        for e in stripe.events
        if e["type"] in ("invoice.payment_failed", "invoice.updated")
    ]
    assert [date for type, date in told if type == "invoice.payment_failed"] == [None]
    assert told[-1] == ("invoice.updated", START + 3 * DAY)
    assert [date for _, date in told[:-1]] == [None] * (len(told) - 1)


@pytest.mark.parametrize(
    "code",
    [
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "highest_risk_level",
        "authentication_required",
        "transaction_not_allowed",
    ],
)
def test_after_a_hard_decline_only_the_schedule_goes_on(stripe: Stripe, code: str) -> None:
    """Count and date move, no charge is made, until there is a new payment method."""
    customer, _, invoice = overdue(stripe, decline_code=code)
    stripe.post("/sandbox/clock", to="next_retry")
    types = stripe.types()
    assert "charge.failed" not in types
    assert "invoice.payment_failed" not in types
    assert "invoice.updated" in types
    seen = stripe.get(f"/v1/invoices/{invoice['id']}")
    assert (seen["attempt_count"], seen["status"]) == (2, "open")
    new = stripe.post("/v1/payment_methods/pm_card_mastercard/attach", customer=customer)["id"]
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": new})
    stripe.post("/sandbox/clock", to="next_retry")
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "paid"


def test_other_declines_are_tried_again(stripe: Stripe) -> None:
    """An expired card may have been renewed by its bank; Stripe asks."""
    for code in ("expired_card", "do_not_honor"):
        _, _, invoice = overdue(stripe, decline_code=code)
        stripe.post("/sandbox/clock", to="next_retry")
        assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "paid"


def test_a_sent_invoice_that_is_not_paid_by_its_day_is_overdue(stripe: Stripe) -> None:
    """Once; nobody is charged, and the subscription is past due until it is paid."""
    customer = stripe.customer("pm_card_visa")
    made = stripe.subscription(customer, collection_method="send_invoice", days_until_due=7)
    stripe.events.clear()
    stripe.post("/sandbox/clock", advance_seconds=6 * 86_400)
    assert "invoice.overdue" not in stripe.types()
    stripe.post("/sandbox/clock", advance_seconds=2 * 86_400)
    stripe.post("/sandbox/clock", advance_seconds=2 * 86_400)
    assert stripe.types().count("invoice.overdue") == 1
    assert "charge.failed" not in stripe.types()
    subscription = stripe.get(f"/v1/subscriptions/{made['id']}")
    assert subscription["status"] == "past_due"
    stripe.post(f"/v1/invoices/{subscription['latest_invoice']}/pay", paid_out_of_band=True)
    assert stripe.get(f"/v1/subscriptions/{made['id']}")["status"] == "active"


def test_without_any_payment_method_no_charge_is_made(stripe: Stripe) -> None:
    """The failure has no charge and no error to it."""
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    method = stripe.get(f"/v1/customers/{customer}/payment_methods")["data"][0]["id"]
    stripe.post(f"/v1/payment_methods/{method}/detach")
    stripe.events.clear()
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert "invoice.payment_failed" in stripe.types()
    payment = stripe.get(
        "/v1/invoice_payments", invoice=invoice["id"], expand=["data.payment.payment_intent"]
    )["data"][0]["payment"]["payment_intent"]
    assert (payment["status"], payment["latest_charge"], payment["last_payment_error"]) == (
        "requires_payment_method",
        None,
        None,
    )


def test_a_bad_debt_can_still_be_paid_or_voided(stripe: Stripe) -> None:
    """Uncollectible is no end; a try that fails leaves it as it is, without a date."""
    customer, _, invoice = overdue(stripe)
    path = f"/v1/invoices/{invoice['id']}"
    given_up = stripe.post(f"{path}/mark_uncollectible")
    assert (given_up["auto_advance"], given_up["next_payment_attempt"]) == (False, None)
    account = stripe.post(
        "/v1/payment_methods/pm_usBankAccount_noAccount/attach", customer=customer
    )["id"]
    stripe.post(f"{path}/pay", payment_method=account)
    stripe.world.advance(4 * DAY)
    seen = stripe.get(path)
    assert (seen["status"], seen["next_payment_attempt"]) == ("uncollectible", None)
    stripe.events.clear()
    assert stripe.post(f"{path}/pay")["status"] == "paid"
    assert "invoice.paid" in stripe.types()


def test_money_that_came_another_way(stripe: Stripe) -> None:
    """`paid_out_of_band` is money, though no charge brought it."""
    _, _, invoice = overdue(stripe)
    paid = stripe.post(f"/v1/invoices/{invoice['id']}/pay", paid_out_of_band=True)
    assert (paid["amount_paid"], paid["amount_paid_off_stripe"]) == (4900, 4900)
    assert "invoice.paid" in stripe.types()


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        ("cancel", "canceled", "payment_failed"),
        ("unpaid", "unpaid", None),
        ("past_due", "past_due", None),
    ],
)
def test_the_end_of_the_tries_is_the_businesss_choice(
    stripe: Stripe, ending: str, status: str, reason: str | None
) -> None:
    """It can be chosen while the story runs, for the invoice too."""
    customer, subscription, invoice = overdue(stripe)
    stripe.post(
        "/sandbox/account", after_last_retry=ending, after_last_retry_invoice="uncollectible"
    )
    bad = stripe.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": bad["id"]})
    for _ in range(3):
        stripe.post("/sandbox/clock", to="next_retry")
    seen = stripe.get(f"/v1/subscriptions/{subscription['id']}")
    assert (seen["status"], seen["cancellation_details"]["reason"]) == (status, reason)
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "uncollectible"


def test_later_invoices_of_an_unpaid_subscription_are_made_but_not_tried(stripe: Stripe) -> None:
    """Stripe has given up; the drafts wait for a person."""
    stripe.post("/sandbox/account", after_last_retry="unpaid")
    customer, subscription, _ = overdue(stripe)
    bad = stripe.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": bad["id"]})
    for _ in range(3):
        stripe.post("/sandbox/clock", to="next_retry")
    stripe.world.advance(40 * DAY)
    newest = stripe.get("/v1/invoices", subscription=subscription["id"])["data"][0]
    assert (newest["status"], newest["auto_advance"]) == ("draft", False)
