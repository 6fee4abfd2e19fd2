"""What a subscription costs on `make run`: as its coupon, its pause and its usage are at Stripe, so the page says it."""

from __future__ import annotations

from playwright.sync_api import Page

from local.processes import Embedded
from tests.e2e.test_bank_accounts import Customer
from tests.e2e.test_dunning import Sandbox
from tests.fixtures.story import eventually


class Subscriber(Customer):
    """Ada, who looks at her page again and again."""

    def __init__(self, sandbox: Sandbox, page: Page, link: str) -> None:
        super().__init__(sandbox)
        self.page, self.link = page, link

    def reads(self, words: str) -> str:
        """What the page says under "Your subscription", once these words are there: Stripe is asked in the background."""
        section = self.page.locator("section[aria-labelledby=subs]")

        def there() -> bool:
            self.page.goto(self.link)
            return words in section.inner_text()

        eventually(there, within=20, what=f"{words!r} on the page")
        return section.inner_text()

    def is_given(self, **params: object) -> None:
        """A coupon, on the subscription."""
        coupon = self.sandbox.post("/v1/coupons", **params)["id"]
        self.sandbox.post(self.subscription, **{"discounts[0][coupon]": coupon})


def test_the_price_on_the_page_is_the_one_at_stripe(
    embedded: Embedded, demo_links: dict[str, str], page: Page
) -> None:
    """A plain price; half of it once, for months, and for good; no date of payment while collection is paused; and packages,
    of which only the next payment can be told."""
    page.set_viewport_size({"width": 390, "height": 844})
    sandbox = Sandbox(embedded)
    ada = Subscriber(sandbox, page, demo_links["Ada Lindqvist"])
    plain = ada.reads("$149.00 every month")
    assert "Next payment on" in plain
    assert "discount" not in plain

    ada.is_given(percent_off=50, duration="once")
    assert "$149.00 every month" in ada.reads(": $74.50.")
    ada.is_given(percent_off=50, duration="repeating", duration_in_months=3)
    assert "$74.50 every month until" in ada.reads("(discount included), then $149.00")
    ada.is_given(percent_off=50, duration="forever")
    ada.reads("$74.50 every month, discount included")

    sandbox.post(ada.subscription, **{"pause_collection[behavior]": "void"})
    assert "Next payment" not in ada.reads("Payments paused")
    sandbox.post(ada.subscription, pause_collection="", discounts="")
    ada.reads("$149.00 every month\n\nNext payment on")

    packages = {
        "items[0][id]": sandbox.get(ada.subscription)["items"]["data"][0]["id"],
        "items[0][price]": sandbox.post(
            "/v1/prices",
            currency="usd",
            unit_amount=700,
            product=sandbox.get(ada.subscription)["items"]["data"][0]["price"]["product"],
            **{
                "recurring[interval]": "month",
                "transform_quantity[divide_by]": 100,
                "transform_quantity[round]": "up",
            },
        )["id"],
        "items[0][quantity]": 250,
    }
    sandbox.post(ada.subscription, **packages)
    assert "every month" not in ada.reads(": $21.00.")
