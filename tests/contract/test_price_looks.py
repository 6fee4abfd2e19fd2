"""What the real adapter reads of Stripe's preview, over HTTP against the sandbox, kind by kind."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.paying import PriceLook
from shared.contracts.accounts import OWN
from shared.contracts.prices import Lasts, Pricing, next_amount, price
from tests.contract.payment_worlds import GOOD, StripeWorld
from tests.contract.test_payment_gateway import KEY, running

MONTHLY = {"recurring[interval]": "month", "product_data[name]": "Clean"}
METERED = {"recurring[usage_type]": "metered", "unit_amount": 5}
TIERED = {
    "billing_scheme": "tiered",
    "tiers_mode": "volume",
    "tiers[0][up_to]": 10,
    "tiers[0][unit_amount]": 100,
    "tiers[1][up_to]": "inf",
    "tiers[1][unit_amount]": 50,
}
PACKAGES = {
    "unit_amount": 700,
    "transform_quantity[divide_by]": 100,
    "transform_quantity[round]": "up",
}
FLAT = {"unit_amount": 8900}


class Shop:
    """A business that sells subscriptions."""

    def __init__(self, world: StripeWorld) -> None:
        self.world = world
        self.customer_id = world.customer()
        world.make_default(self.customer_id, world.card(self.customer_id, GOOD))

    def price(self, **params: Any) -> str:
        if params.get("recurring[usage_type]"):
            meter = self.world.call(
                "/v1/billing/meters",
                display_name="Calls",
                event_name=f"calls_{self.customer_id}",
                **{"default_aggregation[formula]": "sum"},
            )
            params = {**params, "recurring[meter]": meter["id"]}
        found = self.world.call("/v1/prices", currency="usd", **{**MONTHLY, **params})
        return str(found["id"])

    def coupon(self, **params: Any) -> str:
        return str(self.world.call("/v1/coupons", **params)["id"])

    def gives_discount(self, coupon: str) -> None:
        """The business gives the customer a discount on all that they buy."""
        path = f"{self.world.base}/sandbox/customers/{self.customer_id}/discount"
        answer = requests.post(path, json={"coupon": coupon}, timeout=10)
        assert answer.status_code == 200, answer.text

    def sells(self, *prices: dict[str, Any], quantity: int = 1, **params: Any) -> str:
        items: dict[str, Any] = {}
        for number, one in enumerate(prices):
            items[f"items[{number}][price]"] = self.price(**one)
            if "recurring[usage_type]" not in one:
                items[f"items[{number}][quantity]"] = quantity
        made = self.world.call("/v1/subscriptions", customer=self.customer_id, **items, **params)
        return str(made["id"])

    def look(self, subscription_id: str) -> PriceLook:
        found = self.world.gateway.price_look(subscription_id)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def world() -> Iterator[StripeWorld]:
    with running() as base:
        gateways = StripeGateways(KEY, base)
        gateway = gateways.at(OWN)
        yield StripeWorld(gateway, base, KEY)
        gateways.close()


@pytest.fixture
def shop(world: StripeWorld) -> Shop:
    return Shop(world)


def said(look: PriceLook) -> tuple[int | None, int | None]:
    """The price that may be said, and the next payment."""
    terms = dataclasses.replace(look.terms, next_invoice=look.next_invoice)
    found = price(terms)
    return (found.amount if found else None), next_amount(terms)


@pytest.mark.parametrize(
    ("prices", "quantity", "pricing", "amounts"),
    [
        ((FLAT,), 2, Pricing.FIXED, (17800, 17800)),
        ((METERED,), 1, Pricing.USAGE, (None, None)),
        ((FLAT, METERED), 1, Pricing.FIXED_AND_USAGE, (8900, None)),
        ((TIERED,), 12, Pricing.OTHER, (None, 600)),
        ((PACKAGES,), 250, Pricing.OTHER, (None, 2100)),
    ],
)
def test_a_preview_tells_what_the_subscription_can_not(
    shop: Shop,
    prices: tuple[dict[str, Any], ...],
    quantity: int,
    pricing: Pricing,
    amounts: tuple[int | None, int | None],
) -> None:
    """Tiers and packages by Stripe's own arithmetic; of usage nothing is foretold."""
    look = shop.look(shop.sells(*prices, quantity=quantity))
    assert (look.terms.pricing, look.terms.currency) == (pricing, "usd")
    assert said(look) == amounts


@pytest.mark.parametrize(
    ("duration", "amounts"),
    [
        ({"duration": "forever"}, (4450, 4450)),
        ({"duration": "once"}, (8900, 4450)),
        ({"duration": "repeating", "duration_in_months": 3}, (4450, 4450)),
    ],
)
@pytest.mark.parametrize("bearer", ["subscription", "item", "customer"])
def test_a_discount_counts_wherever_it_stands(
    shop: Shop, bearer: str, duration: dict[str, Any], amounts: tuple[int, int]
) -> None:
    """On the subscription, on its item, on the customer; as long as it lasts."""
    coupon = shop.coupon(percent_off=50, **duration)
    subscription_id = shop.sells(FLAT, trial_period_days=5)
    path = f"/v1/subscriptions/{subscription_id}"
    if bearer == "subscription":
        shop.world.call(path, **{"discounts[0][coupon]": coupon})
    elif bearer == "customer":
        shop.gives_discount(coupon)
    else:
        subscription_id = shop.sells(
            FLAT, **{"items[0][discounts][0][coupon]": coupon, "trial_period_days": 5}
        )
    look = shop.look(subscription_id)
    assert said(look) == amounts
    assert look.next_invoice.discount is Lasts(duration["duration"])
    assert (look.next_invoice.until is None) is (duration["duration"] != "repeating")
    assert look.terms.discounted is (bearer != "customer")
    assert look.trial_ends_at is not None


def test_two_discounts_that_end_apart_leave_the_next_payment_alone(shop: Shop) -> None:
    """No sentence about "every month" would be true of them."""
    discounts = {
        "discounts[0][coupon]": shop.coupon(percent_off=50, duration="forever"),
        "discounts[1][coupon]": shop.coupon(amount_off=1000, currency="usd", duration="once"),
    }
    look = shop.look(shop.sells(FLAT, trial_period_days=5, **discounts))
    assert look.next_invoice.discount is Lasts.MIXED
    assert said(look) == (None, 3450)


@pytest.mark.parametrize("in_euros", [8200, 8900])
def test_a_price_in_another_currency_than_the_subscription_is_not_said(
    shop: Shop, in_euros: int
) -> None:
    """It stands there in its own currency, also where the figure is the same: what is charged is told by the preview alone."""
    sold = {**FLAT, "currency_options[eur][unit_amount]": in_euros}
    look = shop.look(shop.sells(sold, currency="eur"))
    assert (look.terms.pricing, look.terms.currency) == (Pricing.OTHER, "eur")
    assert said(look) == (None, in_euros)


def test_what_waits_for_the_next_invoice_is_no_part_of_the_price(shop: Shop) -> None:
    """An extra item is in the next payment; the price stays what it is, if no amount off is shared out."""
    subscription_id = shop.sells(FLAT)
    shop.world.call("/v1/invoiceitems", customer=shop.customer_id, amount=250, currency="usd")
    assert said(shop.look(subscription_id)) == (8900, 9150)
    coupon = shop.coupon(amount_off=1000, currency="usd", duration="forever")
    shop.world.call(f"/v1/subscriptions/{subscription_id}", **{"discounts[0][coupon]": coupon})
    assert said(shop.look(subscription_id)) == (None, 8150)


def test_what_is_sent_as_an_invoice_is_told_from_what_is_collected(shop: Shop) -> None:
    """Its next invoice is no payment that comes by itself."""
    sent = shop.sells(FLAT, collection_method="send_invoice", days_until_due=30)
    assert shop.look(sent).collection_paused is None
    assert shop.look(shop.sells(FLAT)).collection_paused is False


def test_a_pause_is_seen_and_an_end_has_no_next_invoice(shop: Shop) -> None:
    """So that what events of a release before left open is known again."""
    subscription_id = shop.sells(FLAT)
    path = f"/v1/subscriptions/{subscription_id}"
    resumes = int(dt.datetime(2027, 1, 2, tzinfo=dt.UTC).timestamp()) + 20 * 365 * 86400
    shop.world.call(
        path, **{"pause_collection[behavior]": "void", "pause_collection[resumes_at]": resumes}
    )
    look = shop.look(subscription_id)
    assert look.collection_paused is True
    assert look.collection_resumes_at is not None
    shop.world.call(path, cancel_at_period_end="true")
    assert shop.world.gateway.price_look(subscription_id) is None
    assert shop.world.gateway.price_look("sub_unknown") is None
