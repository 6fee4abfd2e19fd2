"""What a subscription costs: tiers, packages, usage, coupons, and the invoice that will come next."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe_api import StripeError
from tests.unit.sandbox_stripe.conftest import DAY, START, Stripe

MONTHLY = {"interval": "month"}
TIERS = [
    {"up_to": 10, "unit_amount": 100},
    {"up_to": "inf", "unit_amount": 50, "flat_amount": 200},
]


def price(stripe: Stripe, **params: Any) -> dict[str, Any]:
    """A monthly price in dollars."""
    given = {"currency": "usd", "recurring": MONTHLY, "product_data": {"name": "Clean"}, **params}
    return stripe.post("/v1/prices", **given)


def subscribed(stripe: Stripe, *prices: dict[str, Any], **params: Any) -> tuple[str, str]:
    """(customer, subscription) of these prices."""
    customer = stripe.customer("pm_card_visa")
    items = [{"price": one["id"]} for one in prices]
    made = stripe.post("/v1/subscriptions", customer=customer, items=items, **params)
    return customer, made["id"]


def preview(stripe: Stripe, subscription: str) -> dict[str, Any]:
    """The next invoice."""
    return stripe.post("/v1/invoices/create_preview", subscription=subscription)


def test_a_preview_tells_what_a_balance_leaves_to_pay(stripe: Stripe) -> None:
    """As the invoice will; and the balance stays until there is one."""
    customer, subscription = subscribed(stripe, price(stripe, unit_amount=4900))
    stripe.post(f"/v1/customers/{customer}", balance=-3000)
    seen = preview(stripe, subscription)
    assert (seen["total"], seen["amount_due"], seen["amount_remaining"]) == (4900, 1900, 1900)
    assert (seen["starting_balance"], seen["ending_balance"]) == (-3000, 0)
    assert stripe.get(f"/v1/customers/{customer}")["balance"] == -3000


def test_what_a_customer_owes_besides_is_asked_for_too(stripe: Stripe) -> None:
    """A positive balance, with the next invoice."""
    customer, subscription = subscribed(stripe, price(stripe, unit_amount=4900))
    stripe.post(f"/v1/customers/{customer}", balance=1000)
    assert preview(stripe, subscription)["amount_due"] == 5900


def test_what_an_invoice_gives_back_is_left_as_credit(stripe: Stripe) -> None:
    """Nothing is due of it, and less of the next one."""
    customer, subscription = subscribed(stripe, price(stripe, unit_amount=4900))
    stripe.post("/v1/invoiceitems", customer=customer, amount=-3000, currency="usd")
    made = stripe.post("/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
    given = stripe.post(f"/v1/invoices/{made['id']}/finalize")
    assert (given["status"], given["total"], given["amount_due"]) == ("paid", -3000, 0)
    assert stripe.get(f"/v1/customers/{customer}")["balance"] == -3000
    assert preview(stripe, subscription)["amount_due"] == 1900


def test_nothing_of_a_thing_costs_nothing(stripe: Stripe) -> None:
    """A quantity of 0 is no quantity of 1."""
    _, subscription = subscribed(stripe, price(stripe, unit_amount=4900))
    (item,) = stripe.get(f"/v1/subscriptions/{subscription}")["items"]["data"]
    stripe.post(f"/v1/subscriptions/{subscription}", items=[{"id": item["id"], "quantity": 0}])
    assert preview(stripe, subscription)["amount_due"] == 0


@pytest.mark.parametrize(
    ("params", "quantity", "total"),
    [
        ({"unit_amount": 500}, 3, 1500),
        ({"unit_amount_decimal": "0.5"}, 3, 2),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, 12, 1300),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, 10, 1000),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, 12, 800),
        ({"unit_amount": 700, "transform_quantity": {"divide_by": 100, "round": "up"}}, 250, 2100),
        (
            {"unit_amount": 700, "transform_quantity": {"divide_by": 100, "round": "down"}},
            250,
            1400,
        ),
    ],
)
def test_a_quantity_costs_what_the_price_says(
    stripe: Stripe, params: dict[str, Any], quantity: int, total: int
) -> None:
    """Per unit, by tiers, in packages."""
    made = price(stripe, **params)
    customer = stripe.customer("pm_card_visa")
    items = [{"price": made["id"], "quantity": quantity}]
    subscription = stripe.post("/v1/subscriptions", customer=customer, items=items)
    assert stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")["total"] == total
    assert preview(stripe, subscription["id"])["total"] == total


def test_tiers_show_only_when_asked_for(stripe: Stripe) -> None:
    """As on Stripe they must be expanded, and a fraction of a cent stands in the decimal alone."""
    tiered = price(stripe, billing_scheme="tiered", tiers_mode="volume", tiers=TIERS)
    assert "tiers" not in tiered
    assert tiered["unit_amount"] is None
    shown = stripe.get(f"/v1/prices/{tiered['id']}", expand=["tiers"])["tiers"]
    assert [tier["up_to"] for tier in shown] == [10, None]
    assert price(stripe, unit_amount_decimal="0.5")["unit_amount"] is None


def test_usage_is_billed_when_the_period_is_over(stripe: Stripe) -> None:
    """The first invoice knows none, the preview knows what there is so far."""
    meter = stripe.post(
        "/v1/billing/meters",
        display_name="Calls",
        event_name="calls",
        default_aggregation={"formula": "sum"},
    )["id"]
    base = price(stripe, unit_amount=1000)
    metered = price(
        stripe, unit_amount=5, recurring={**MONTHLY, "usage_type": "metered", "meter": meter}
    )
    customer, id = subscribed(stripe, base, metered)
    shown = stripe.get(f"/v1/subscriptions/{id}")["items"]["data"]
    assert [item.get("quantity") for item in shown] == [1, None]
    for value in ("30", "12"):
        stripe.post(
            "/v1/billing/meter_events",
            event_name="calls",
            payload={"stripe_customer_id": customer, "value": value},
        )
    seen = preview(stripe, id)
    assert (seen["total"], [line["quantity"] for line in seen["lines"]["data"]]) == (1210, [1, 42])
    stripe.world.advance(32 * DAY)
    totals = [i["total"] for i in stripe.get("/v1/invoices", subscription=id)["data"]]
    assert totals == [1210, 1000]
    assert preview(stripe, id)["total"] == 1000


@pytest.mark.parametrize(
    ("coupon", "totals"),
    [
        ({"percent_off": 50, "duration": "forever"}, [500, 500, 500]),
        ({"percent_off": 50, "duration": "once"}, [500, 1000, 1000]),
        ({"amount_off": 300, "currency": "usd"}, [700, 1000, 1000]),
        (
            {"percent_off": 10, "duration": "repeating", "duration_in_months": 2},
            [900, 900, 1000],
        ),
        (
            {"amount_off": 300, "currency": "eur", "duration": "forever"},
            [1000, 1000, 1000],
        ),
    ],
)
def test_a_coupon_lasts_as_long_as_it_says(
    stripe: Stripe, coupon: dict[str, Any], totals: list[int]
) -> None:
    """The preview foretells each invoice."""
    made = stripe.post("/v1/coupons", **coupon)["id"]
    _, id = subscribed(stripe, price(stripe, unit_amount=1000), discounts=[{"coupon": made}])
    foretold = []
    for _ in range(2):
        foretold.append(preview(stripe, id)["total"])
        stripe.world.advance(32 * DAY)
    invoices = stripe.get("/v1/invoices", subscription=id)["data"]
    assert [invoice["total"] for invoice in reversed(invoices)] == totals
    assert foretold == totals[1:]


def test_a_discount_shows_where_it_is_taken_off(stripe: Stripe) -> None:
    """Ids on subscription and invoice, amounts on the invoice and its lines; expanded, the coupon."""
    coupon = stripe.post("/v1/coupons", percent_off=25, duration="forever", name="Friends")["id"]
    prices = (price(stripe, unit_amount=1000), price(stripe, unit_amount=333))
    _, id = subscribed(stripe, *prices, discounts=[{"coupon": coupon}])
    subscription = stripe.get(f"/v1/subscriptions/{id}", expand=["discounts.source.coupon"])
    (discount,) = subscription["discounts"]
    assert discount["source"]["coupon"]["name"] == "Friends"
    invoice = stripe.get(f"/v1/invoices/{subscription['latest_invoice']}")
    assert (invoice["subtotal"], invoice["total"], invoice["amount_paid"]) == (1333, 1000, 1000)
    assert invoice["total_discount_amounts"] == [{"amount": 333, "discount": discount["id"]}]
    shares = [line["discount_amounts"][0]["amount"] for line in invoice["lines"]["data"]]
    assert sum(shares) == 333
    assert "customer.discount.created" in stripe.types()


def test_a_subscriptions_own_discount_goes_before_its_customers(stripe: Stripe) -> None:
    """They are not added up; when the own one is taken away, the customer's holds."""
    whole = stripe.post("/v1/coupons", percent_off=100, duration="forever")["id"]
    half = stripe.post("/v1/coupons", percent_off=50, duration="forever")["id"]
    customer, id = subscribed(stripe, price(stripe, unit_amount=1000))
    stripe.post(f"/sandbox/customers/{customer}/discount", coupon=whole)
    assert preview(stripe, id)["total"] == 0
    stripe.post(f"/v1/subscriptions/{id}", discounts=[{"coupon": half}])
    assert preview(stripe, id)["total"] == 500
    stripe.delete(f"/v1/subscriptions/{id}/discount")
    assert preview(stripe, id)["total"] == 0
    stripe.delete(f"/v1/customers/{customer}/discount")
    assert preview(stripe, id)["total"] == 1000


def test_a_spent_coupon_is_refused(stripe: Stripe) -> None:
    """Once its redemptions are used up."""
    coupon = stripe.post("/v1/coupons", percent_off=50, max_redemptions=1)["id"]
    made = price(stripe, unit_amount=1000)
    subscribed(stripe, made, discounts=[{"coupon": coupon}])
    with pytest.raises(StripeError) as caught:
        subscribed(stripe, made, discounts=[{"coupon": coupon}])
    assert caught.value.code == "coupon_expired"


def test_a_preview_changes_nothing(stripe: Stripe) -> None:
    """It has an id of its own, is in no list, and spends no coupon and no waiting item."""
    coupon = stripe.post("/v1/coupons", percent_off=50)["id"]
    customer, id = subscribed(stripe, price(stripe, unit_amount=1000))
    stripe.post(f"/v1/subscriptions/{id}", discounts=[{"coupon": coupon}])
    stripe.post("/v1/invoiceitems", customer=customer, amount=250, currency="usd")
    stripe.events.clear()
    seen = [preview(stripe, id) for _ in range(2)]
    assert [one["total"] for one in seen] == [625, 625]
    assert seen[0]["id"].startswith("upcoming_in_")
    assert seen[0]["next_payment_attempt"] == seen[0]["period_end"] + 3600
    assert len(stripe.get("/v1/invoices", customer=customer)["data"]) == 1
    assert stripe.types() == []


def test_what_ends_has_no_next_invoice(stripe: Stripe) -> None:
    """Stripe says so with a code of its own."""
    _, id = subscribed(stripe, price(stripe, unit_amount=1000))
    for end in (
        lambda: stripe.post(f"/v1/subscriptions/{id}", cancel_at_period_end=True),
        lambda: stripe.delete(f"/v1/subscriptions/{id}"),
    ):
        end()
        with pytest.raises(StripeError) as caught:
            preview(stripe, id)
        assert (caught.value.status, caught.value.code) == (404, "invoice_upcoming_none")


def test_a_trial_costs_nothing_and_its_preview_what_comes_after(stripe: Stripe) -> None:
    """`trialing` until its end."""
    _, id = subscribed(stripe, price(stripe, unit_amount=1000), trial_period_days=14)
    subscription = stripe.get(f"/v1/subscriptions/{id}", expand=["latest_invoice"])
    assert (subscription["status"], subscription["latest_invoice"]["total"]) == ("trialing", 0)
    seen = preview(stripe, id)
    assert (seen["total"], seen["period_end"]) == (1000, START + 14 * DAY)


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")],
)
def test_a_pause_concerns_new_invoices_only(stripe: Stripe, behavior: str, status: str) -> None:
    """What was open before goes on being tried."""
    customer, id = subscribed(stripe, price(stripe, unit_amount=1000))
    stripe.post(f"/sandbox/customers/{customer}/decline_next")
    before = stripe.post(f"/sandbox/customers/{customer}/charge_now")["id"]
    stripe.post(f"/v1/subscriptions/{id}", pause_collection={"behavior": behavior})
    stripe.world.advance(32 * DAY)
    assert stripe.get(f"/v1/invoices/{before}")["status"] == "paid"
    newest = stripe.get("/v1/invoices", subscription=id)["data"][0]
    assert (newest["status"], newest["auto_advance"]) == (status, False)
    assert stripe.get(f"/v1/subscriptions/{id}")["status"] == "active"
