"""What the page and the mails say of money, where amounts come about in other ways than in docs/situations.md."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.unit.stories.house import House
from tests.unit.stories.steps import renewal, renewal_fails

pytestmark = pytest.mark.whole


@pytest.fixture
def house() -> House:
    house = House()
    house.open_shop()
    return house


def subscribe(house: House, price: dict[str, Any], **params: Any) -> None:
    """Maria subscribes to what has this price."""
    product = house.call("/v1/products", name="Weekly home cleaning")["id"]
    told = {"product": product, "currency": "usd", "recurring": {"interval": "month"}} | price
    made = house.call("/v1/prices", **told)["id"]
    subscribed = house.call(
        "/v1/subscriptions", customer=house.customer_id, items=[{"price": made}], **params
    )
    house.subscription_id = str(subscribed["id"])
    house.settle()


def test_what_is_billed_by_usage_may_come_to_nothing(house: House) -> None:
    """No payment is announced: with nothing used there is none."""
    metered = {"interval": "month", "usage_type": "metered"}
    subscribe(house, {"unit_amount": 500, "recurring": metered})
    text = house.page().text
    assert "Billed by usage" in text
    assert "Next payment" not in text


def test_what_ends_in_some_months_is_charged_until_then(house: House) -> None:
    """Both days are said; in the last period the end alone."""
    subscribe(house, {"unit_amount": 4900})
    end = house.now() + dt.timedelta(days=88)
    house.call(f"/v1/subscriptions/{house.subscription_id}", cancel_at=int(end.timestamp()))
    house.settle()
    text = house.page().text
    assert "Ends on January 29, 2027" in text
    assert "Next payment on December 2" in text
    house.wait(days=62)
    text = house.page().text
    assert "Ends on January 29" in text
    assert "Next payment" not in text


@pytest.mark.parametrize("first", ["payment_intent.processing", "invoice.payment_failed"])
@pytest.mark.parametrize("dollars", [20, 49])
def test_a_debit_of_a_part_is_not_taken_for_all(house: House, dollars: int, first: str) -> None:
    """The rest is still asked for, on the page and by mail, whichever event comes first."""
    house.subscribe()
    house.hold(True)
    renewal_fails()(house)
    (invoice,) = house.failed_invoices()
    bank = house.call(
        "/v1/payment_methods/pm_sepaDebit_success_de/attach", customer=house.customer_id
    )
    house.wait(minutes=1)
    intent = house.call(
        "/v1/payment_intents",
        customer=house.customer_id,
        amount=dollars * 100,
        currency="usd",
        payment_method=bank["id"],
        payment_details={"order_reference": invoice["id"]},
        confirm=True,
    )
    house.call(f"/v1/invoices/{invoice['id']}/attach_payment", payment_intent=intent["id"])
    house.hold(False)
    house.undelivered.sort(key=lambda one: one["type"] != first)
    house.wait(minutes=1)
    text = house.page().text
    part = dollars < 49
    assert ("Your payment didn’t go through\n$49.00 due" in text) is part
    assert ("Your payment is being processed\n$49.00" in text) is not part
    assert len(house.mails) == (1 if part else 0)


def test_what_an_invoice_gives_back_pays_for_the_next(house: House) -> None:
    """No payment is announced that the credit covers, no thanks are given for what nobody paid, and nothing counts as failed."""
    house.subscribe()
    owed = {"customer": house.customer_id, "currency": "usd"}
    house.call("/v1/invoiceitems", amount=-10000, description="Missed visits", **owed)
    renewal(house)
    house.learn_prices()
    assert [one["amount_due"] for one in house.invoices()] == [4900, 0]
    text = house.page().text
    assert "You’re all set" in text
    assert "Next payment" not in text
    house.wait(days=31)
    house.learn_prices()
    assert "Next payment on January 2, 2027: $47.00" in house.page().text
    assert (house.mails, house.stats()["currencies"]) == ([], [])
