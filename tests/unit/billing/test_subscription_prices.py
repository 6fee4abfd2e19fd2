"""What a subscription tells of its price, by golden payloads of each kind, and what Stripe's preview adds within the budget."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from services.billing.domain.budget import Budget
from services.billing.domain.paying import PriceLook
from services.billing.stripe_events.payloads import parse_event
from services.billing.stripe_events.translation import translate
from services.billing.workflows import pricing as handlers
from shared import events
from shared.contracts.prices import Lasts, NextInvoice, Pricing, Terms, price
from shared.contracts.rpc.errors import StripeRefused
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import Edit, payload, with_fields
from tests.unit.billing.fakes import FakePaymentGateway
from tests.unit.billing.test_looking import Seconds, one_by_one
from tests.unit.wire import on_the_wire

subscription_prices = on_the_wire(handlers.subscription_prices)

START = dt.datetime.fromtimestamp(1_790_000_000, dt.UTC)
OLD, ACACIA, BASIL = "2020-08-27", "2024-12-18.acacia", "2025-04-30.basil"


def told(case: str, edit: Edit | None = None) -> Any:
    """The subscription event that a golden payload becomes."""
    found = translate(parse_event(payload(f"subscriptions/{case}", edit)), directory=OWN_ALONE)
    (data,) = [
        one.event.data
        for one in found.outgoing
        if isinstance(one.event.data, events.SubscriptionData)
    ]
    return data


@pytest.mark.parametrize(
    ("case", "pricing", "amount", "discounted"),
    [
        ("fixed", Pricing.FIXED, 8900, False),
        ("metered", Pricing.USAGE, None, False),
        (f"metered.{OLD}", Pricing.USAGE, None, False),
        (f"metered.{ACACIA}", Pricing.USAGE, None, False),
        ("base_and_metered", Pricing.FIXED_AND_USAGE, 2000, False),
        ("tiers", Pricing.OTHER, None, False),
        ("packages_of_100", Pricing.OTHER, None, False),
        (f"packages_of_100.{OLD}", Pricing.OTHER, None, False),
        (f"packages_of_100.{ACACIA}", Pricing.OTHER, None, False),
        ("half_forever", Pricing.FIXED, 8900, True),
        (f"half_forever.{OLD}", Pricing.FIXED, 8900, True),
        (f"half_forever.{ACACIA}", Pricing.FIXED, 8900, True),
        (f"half_forever.{BASIL}", Pricing.FIXED, 8900, True),
        ("half_item", Pricing.FIXED, 8900, True),
        ("pause_collection", Pricing.FIXED, 8900, False),
        ("trial", Pricing.FIXED, 8900, False),
        ("cancel_at", Pricing.FIXED, 8900, False),
    ],
)
def test_an_event_says_how_the_amount_comes_about(
    case: str, pricing: Pricing, amount: int | None, discounted: bool
) -> None:
    """Nothing is multiplied or added up that Stripe would not; each shape of API says the same."""
    found = told(case)
    assert (found.pricing, found.amount, found.discounted) == (pricing, amount, discounted)
    assert found.interval == (None if amount is None else "month")


def test_what_a_schedule_has_for_the_next_period_is_not_known() -> None:
    """The price of this period is no price of every month: Stripe's preview tells, and till then none is said."""
    found = told("fixed", with_fields(schedule="sub_sched_1"))
    assert (found.amount, found.discounted) == (8900, None)
    assert (
        price(Terms(pricing=Pricing.FIXED, amount=8900, currency="usd", interval="month")) is None
    )


@pytest.mark.parametrize(
    "case", [f"metered.{OLD}", f"packages_of_100.{OLD}", f"half_forever.{OLD}"]
)
def test_a_plan_says_what_its_price_would(case: str) -> None:
    """Before 2020 an item had a plan and no price."""

    def older(event: dict[str, Any]) -> None:
        for item in event["data"]["object"]["items"]["data"]:
            del item["price"]

    assert told(case, older) == told(case)


@pytest.mark.parametrize(
    ("where", "value", "pricing"),
    [
        ("default_tax_rates", [{"id": "txr_1", "inclusive": False}], Pricing.OTHER),
        ("default_tax_rates", [{"id": "txr_1", "inclusive": True}], Pricing.FIXED),
        ("automatic_tax", {"enabled": True}, Pricing.OTHER),
        ("tax_percent", 19.0, Pricing.OTHER),
        ("default_tax_rates", None, Pricing.FIXED),
        ("discounts", None, Pricing.FIXED),
    ],
)
def test_tax_on_top_is_for_stripe_to_work_out(where: str, value: Any, pricing: Pricing) -> None:
    """An amount without its tax is not what the customer pays."""
    assert told("fixed", with_fields(**{where: value})).pricing is pricing


def test_automatic_tax_within_the_price_leaves_it_plain() -> None:
    """`tax_behavior` inclusive: the amount is the whole."""

    def taxed(event: dict[str, Any]) -> None:
        subscription = event["data"]["object"]
        subscription["automatic_tax"] = {"enabled": True}
        subscription["items"]["data"][0]["price"]["tax_behavior"] = "inclusive"

    assert told("fixed", taxed).pricing is Pricing.FIXED


@pytest.mark.parametrize(
    ("case", "currency", "pricing"),
    [
        ("fixed", "usd", Pricing.FIXED),
        ("fixed", "eur", Pricing.OTHER),
        (f"half_forever.{OLD}", "eur", Pricing.OTHER),
        ("base_and_metered", "eur", Pricing.OTHER),
        ("metered", "eur", Pricing.USAGE),
    ],
)
def test_a_price_of_another_currency_is_not_said(
    case: str, currency: str, pricing: Pricing
) -> None:
    """Stripe shows a price in its own currency, also where the customer is charged another one of those that it is sold in."""
    found = told(case, with_fields(currency=currency))
    assert found.pricing is pricing
    if pricing is not Pricing.FIXED:
        assert (found.amount, found.currency) == (None, None)


def test_a_pause_a_trial_and_a_planned_end_are_told() -> None:
    """Each with its moment; the end is flexible billing's `cancel_at`, without `cancel_at_period_end`."""
    paused = told("pause_collection")
    assert paused.collection_paused is True
    assert paused.collection_resumes_at == START + dt.timedelta(days=40)
    trial = told("trial")
    assert (trial.status, trial.trial_ends_at) == ("trialing", START + dt.timedelta(days=14))
    assert trial.collection_paused is False
    ends = told("cancel_at")
    assert type(ends) is events.SubscriptionCancellationScheduled
    assert (ends.cancel_at_period_end, ends.ends_at) == (False, START + dt.timedelta(days=75))


def test_of_what_is_sent_as_an_invoice_nothing_is_collected(gateway: FakePaymentGateway) -> None:
    """So no date of a payment is known of it: an event does not say that one is not in the way, and nothing more is asked."""
    before = {"collection_method": "charge_automatically"}
    sent = with_fields(before, collection_method="send_invoice")
    assert told("fixed", sent).collection_paused is None
    assert told("pause_collection", sent).collection_paused is True
    gateway.prices["sub_1"] = dataclasses.replace(HALF, collection_paused=None)
    assert prices(gateway, "sub_1") == {"sub_1": {"upcoming": False}}


@pytest.mark.parametrize("changed", ["pause_collection", "discounts", "discount", "trial_end"])
def test_what_changes_the_price_or_the_next_payment_is_news(changed: str) -> None:
    """Each reaches the page by itself."""
    only = with_fields(before={changed: None})
    assert type(told("pause_collection", only)) is events.SubscriptionUpdated


HALF = PriceLook(
    Terms(pricing=Pricing.FIXED, amount=8900, currency="usd", interval="month", discounted=True),
    NextInvoice(amount=4450, recurring=4450, discount=Lasts.REPEATING, until=START),
)


def prices(gateway: FakePaymentGateway, *ids: str, rate: float = 10) -> dict[str, Any]:
    budget = Budget(rate, Seconds())
    return subscription_prices(gateway, budget, ids, side_by_side=one_by_one)


def test_a_preview_is_told_in_plain_json(gateway: FakePaymentGateway) -> None:
    """Terms and next invoice, moments as ISO 8601; where none will come, just that."""
    gateway.prices["sub_1"] = HALF
    found = prices(gateway, "sub_1", "sub_2", "sub_1", "")
    assert found["sub_2"] == {"upcoming": False}
    assert found["sub_1"] == {
        "upcoming": True,
        "pricing": "fixed",
        "amount": 8900,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "discounted": True,
        "collection_paused": False,
        "collection_resumes_at": None,
        "trial_ends_at": None,
        "next_invoice": {
            "amount": 4450,
            "recurring": 4450,
            "discount": "repeating",
            "until": START.isoformat(),
        },
    }
    assert len(found) == 2


def test_beyond_the_budget_nothing_is_asked_and_emails_keep_their_half(
    gateway: FakePaymentGateway,
) -> None:
    """Each price is asked for by itself, while half of the budget is left for looks before emails; with 0 none is."""
    asked: list[str] = []
    gateway.before = asked.append
    assert prices(gateway, "sub_1", rate=0) == {}
    assert asked == []
    budget = Budget(2, Seconds())
    ids = [f"sub_{number}" for number in range(9)]
    found = subscription_prices(gateway, budget, ids, side_by_side=one_by_one)
    assert sorted(found) == ids[:3]
    assert budget.take(3)
    assert len(prices(gateway, "sub_1", rate=0.4)) == 1


def test_what_stripe_does_not_answer_is_left_out(gateway: FakePaymentGateway) -> None:
    """Away or refusing: it is not known, which is not the same as no next invoice."""
    gateway.down = True
    assert prices(gateway, "sub_1") == {}
    gateway.down = False

    def refuse(operation: str) -> None:
        raise StripeRefused("no")

    gateway.before = refuse
    assert prices(gateway, "sub_1") == {}
