"""Renewals, retries, trials and test clocks."""

from __future__ import annotations

import pytest

from sandbox.stripe_api import StripeError
from sandbox.stripe_api.clock import add_interval
from tests.unit.sandbox_stripe.conftest import DAY, START, Stripe


def test_a_renewal_is_charged_an_hour_later(stripe: Stripe) -> None:
    """A draft first, collected when its hour is over."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    end = subscription["items"]["data"][0]["current_period_end"]
    stripe.world.advance(to=end + 60)
    renewed = stripe.get(f"/v1/subscriptions/{subscription['id']}", expand=["latest_invoice"])
    assert renewed["latest_invoice"]["status"] == "draft"
    assert renewed["latest_invoice"]["billing_reason"] == "subscription_cycle"
    stripe.world.advance(3600)
    assert stripe.get(f"/v1/invoices/{renewed['latest_invoice']['id']}")["status"] == "paid"


@pytest.mark.parametrize(
    ("after_last_retry", "status"),
    [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due", "past_due")],
)
def test_four_attempts_and_then_the_setting(
    stripe: Stripe, after_last_retry: str, status: str
) -> None:
    """Attempts at +0, +3, +8 and +15 days; after the last the subscription becomes what the setting says."""
    stripe.post("/sandbox/account", after_last_retry=after_last_retry)
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    bad = stripe.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": bad["id"]})
    stripe.events.clear()
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    for _ in range(3):
        assert stripe.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "past_due"
        stripe.post("/sandbox/clock", to="next_retry")
    failed = [e for e in stripe.events if e["type"] == "invoice.payment_failed"]
    assert [e["data"]["object"]["attempt_count"] for e in failed] == [1, 2, 3, 4]
    assert [(e["created"] - START) // DAY for e in failed] == [0, 3, 8, 15]
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["next_payment_attempt"] is None
    assert stripe.get(f"/v1/subscriptions/{subscription['id']}")["status"] == status
    with pytest.raises(StripeError, match="No retry is planned"):
        stripe.post("/sandbox/clock", to="next_retry")


def test_a_new_card_is_picked_up_by_the_next_retry(stripe: Stripe) -> None:
    """And the subscription is active again."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    assert stripe.get(f"/v1/customers/{customer}")["delinquent"] is True
    stripe.world.advance(to=invoice["next_payment_attempt"] + 1)
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "paid"
    assert stripe.get(f"/v1/subscriptions/{subscription['id']}")["status"] == "active"
    assert stripe.get(f"/v1/customers/{customer}")["delinquent"] is False


@pytest.mark.parametrize("how", ["void", "mark_uncollectible"])
def test_an_invoice_that_the_business_gives_up_leaves_no_overdue_subscription(
    stripe: Stripe, how: str
) -> None:
    """Stripe goes by the newest invoice that is not void; an older one that is still open does not count."""
    customer = stripe.customer("pm_card_visa")
    path = f"/v1/subscriptions/{stripe.subscription(customer)['id']}"
    failed = []
    for _ in range(2):
        stripe.post(f"/sandbox/customers/{customer}/decline_next", decline_code="lost_card")
        failed.append(stripe.post(f"/sandbox/customers/{customer}/charge_now")["id"])
        stripe.world.advance(60)
    stripe.post(f"/v1/invoices/{failed[1]}/{how}")
    assert stripe.get(path)["status"] == ("past_due" if how == "void" else "active")
    stripe.post(f"/v1/invoices/{failed[0]}/{how}")
    assert stripe.get(path)["status"] == "active"


def test_after_a_hard_decline_nothing_is_charged(stripe: Stripe) -> None:
    """The schedule goes on, but only a new payment method is tried."""
    customer = stripe.customer("pm_card_visa")
    stripe.subscription(customer)
    stripe.post(f"/sandbox/customers/{customer}/decline_next", decline_code="stolen_card")
    invoice = stripe.post(f"/sandbox/customers/{customer}/charge_now")
    stripe.events.clear()
    stripe.post("/sandbox/clock", to="next_retry")
    types = stripe.types()
    assert "charge.failed" not in types
    assert "charge.succeeded" not in types
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["attempt_count"] == 2
    new = stripe.post("/v1/payment_methods/pm_card_mastercard/attach", customer=customer)["id"]
    stripe.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": new})
    stripe.post("/sandbox/clock", to="next_retry")
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "paid"


def test_cancel_at_period_end(stripe: Stripe) -> None:
    """It runs to its end and is over then."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    path = f"/v1/subscriptions/{subscription['id']}"
    assert stripe.post(path, cancel_at_period_end=True)["status"] == "active"
    stripe.world.advance(32 * DAY)
    assert stripe.get(path)["status"] == "canceled"
    assert "customer.subscription.deleted" in stripe.types()


def test_paused_collection_keeps_drafts(stripe: Stripe) -> None:
    """Nothing is charged while collection is paused."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    path = f"/v1/subscriptions/{subscription['id']}"
    stripe.post(path, pause_collection={"behavior": "keep_as_draft"})
    stripe.events.clear()
    stripe.world.advance(32 * DAY)
    assert "charge.succeeded" not in stripe.types()
    assert stripe.get(path, expand=["latest_invoice"])["latest_invoice"]["status"] == "draft"


def test_a_pause_that_ends_with_the_period_is_followed_by_the_renewal(stripe: Stripe) -> None:
    """Two things fall due at one moment, and both are done."""
    subscription = stripe.subscription(stripe.customer("pm_card_visa"))
    path = f"/v1/subscriptions/{subscription['id']}"
    end = subscription["items"]["data"][0]["current_period_end"]
    stripe.post(path, pause_collection={"behavior": "void", "resumes_at": end})
    stripe.world.advance(to=end + 3700)
    renewed = stripe.get(path, expand=["latest_invoice"])
    assert renewed["pause_collection"] is None
    assert renewed["latest_invoice"]["billing_reason"] == "subscription_cycle"
    assert renewed["latest_invoice"]["status"] == "paid"


def test_a_trial_is_billed(stripe: Stripe) -> None:
    """An hour after its end it is charged."""
    trial = stripe.subscription(stripe.customer("pm_card_visa"), trial_period_days=7)
    stripe.world.advance(7 * DAY + 3700)
    billed = stripe.get(f"/v1/subscriptions/{trial['id']}", expand=["latest_invoice"])
    assert billed["status"] == "active"
    assert billed["latest_invoice"]["amount_paid"] > 0


def test_a_trial_that_is_to_end_in_a_pause_is_refused(stripe: Stripe) -> None:
    """The sandbox plays none, and says so."""
    ending = {"end_behavior": {"missing_payment_method": "pause"}}
    with pytest.raises(StripeError, match="pauses no subscription"):
        stripe.subscription(stripe.customer(), trial_period_days=7, trial_settings=ending)


def test_a_first_payment_that_fails_leaves_it_incomplete(stripe: Stripe) -> None:
    """The customer is still at checkout: nothing is retried, and it expires within the day."""
    subscription = stripe.subscription(stripe.customer("pm_card_chargeCustomerFail"))
    assert subscription["status"] == "incomplete"
    invoice = stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")
    assert (invoice["billing_reason"], invoice["next_payment_attempt"]) == (
        "subscription_create",
        None,
    )
    stripe.world.advance(DAY)
    seen = stripe.get(f"/v1/subscriptions/{subscription['id']}")
    assert seen["status"] == "incomplete_expired"
    assert stripe.get(f"/v1/invoices/{invoice['id']}")["status"] == "void"


def test_without_a_card_there_is_no_subscription(stripe: Stripe) -> None:
    """Unless it begins with a trial."""
    customer = stripe.customer()
    with pytest.raises(StripeError, match="no attached payment source"):
        stripe.subscription(customer)
    trial = stripe.subscription(customer, trial_period_days=7)
    assert trial["status"] == "trialing"
    assert stripe.get(f"/v1/invoices/{trial['latest_invoice']}")["total"] == 0


def test_a_test_clock_moves_only_its_own(stripe: Stripe) -> None:
    """Its customers renew, everybody else stays where they are."""
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=START)["id"]
    mine = stripe.subscription(stripe.customer("pm_card_visa", test_clock=clock))
    other = stripe.subscription(stripe.customer("pm_card_visa"))
    path = f"/v1/test_helpers/test_clocks/{clock}"
    assert stripe.post(f"{path}/advance", frozen_time=START + 33 * DAY)["status"] == "advancing"
    assert stripe.get(path)["status"] == "ready"

    def invoices(subscription: str) -> list[str]:
        found = stripe.get("/v1/invoices", subscription=subscription)["data"]
        return [invoice["status"] for invoice in found]

    assert invoices(mine["id"]) == ["paid", "paid"]
    assert invoices(other["id"]) == ["paid"]
    with pytest.raises(StripeError):
        stripe.post(f"{path}/advance", frozen_time=START)


def test_months_end_on_their_last_day() -> None:
    """31 January is followed by 28 February, and then by 31 March again."""
    january = 1_769_860_800
    february = add_interval(january, "month", 1, january)
    assert (february - january) // DAY == 28
    assert (add_interval(february, "month", 1, january) - february) // DAY == 31


def test_the_clock_never_runs_backwards(stripe: Stripe) -> None:
    """A time that has passed changes nothing."""
    now = stripe.world.now()
    assert stripe.world.advance(to=now - 100) == now
    assert stripe.world.now() == now
