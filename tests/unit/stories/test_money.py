"""What the page and the mails say of money, where amounts come about in other ways than in docs/situations.md."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.unit.stories.house import House

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
