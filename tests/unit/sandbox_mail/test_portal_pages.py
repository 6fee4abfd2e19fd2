"""Stripe's hosted portal page: what it shows, what it changes, and what it leaves alone."""

import re

import pytest

from sandbox.config import SandboxConfig
from sandbox.stripe_api.api import StripeApi

CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123"}
RETURN = "https://portal.test/me/abc"


class Clock:
    def __init__(self):
        self.time = 1_795_000_000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def world(clock):
    world = StripeApi(SandboxConfig(public_url="http://sandbox.test", clock=clock))
    yield world
    world.stop()


@pytest.fixture
def customer(world):
    made = world.call("POST", "/v1/customers", {"name": "Ana", "email": "ana@example.com"})
    method = world.call("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": made["id"]})
    return world.call(
        "POST",
        f"/v1/customers/{made['id']}",
        {"invoice_settings": {"default_payment_method": method["id"]}},
    )


@pytest.fixture
def subscription(world, customer):
    product = world.call("POST", "/v1/products", {"name": "Weekly clean"})
    price = world.call(
        "POST",
        "/v1/prices",
        {
            "product": product["id"],
            "currency": "usd",
            "unit_amount": 12900,
            "recurring": {"interval": "week"},
        },
    )
    return world.call(
        "POST",
        "/v1/subscriptions",
        {
            "customer": customer["id"],
            "items": [{"price": price["id"]}],
            "default_payment_method": default_of(customer),
        },
    )


def default_of(customer):
    return customer["invoice_settings"]["default_payment_method"]


def configuration(world, **features):
    conservative = {
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
    }
    made = world.call(
        "POST", "/v1/billing_portal/configurations", {"features": {**conservative, **features}}
    )
    return made["id"]


def session(world, customer, features=None, **params):
    made = world.call(
        "POST",
        "/v1/billing_portal/sessions",
        {
            "customer": customer["id"],
            "return_url": RETURN,
            "configuration": configuration(world, **(features or {})),
            **params,
        },
    )
    return made["url"].removeprefix("http://sandbox.test")


def seen(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.whole
def test_shows_plan_card_history_and_the_way_back(client, world, customer, subscription):
    """The first page shows the plan with its price, the default card, paid invoices and the way back."""
    page = seen(client, session(world, customer))
    assert "Weekly clean" in page
    assert "$129.00 per week" in page
    assert "Visa ••••\u00a04242" in page
    assert "Default" in page
    assert "Paid" in page
    assert f'href="{RETURN}"' in page


@pytest.mark.whole
def test_conservative_configuration_offers_neither_cancel_nor_pause(
    client, world, customer, subscription
):
    """Without the feature there is no cancel or pause on the page, and their addresses do not work."""
    path = session(world, customer)
    page = seen(client, path)
    assert "Cancel subscription" not in page
    assert "Pause subscription" not in page
    for action in ("cancel", "pause", "renew", "resume"):
        assert client.post(f"{path}/subscriptions/{subscription['id']}/{action}").status_code == 404
    now = world.call("GET", f"/v1/subscriptions/{subscription['id']}")
    assert (now["status"], now["cancel_at_period_end"]) == ("active", False)


@pytest.mark.whole
def test_cancels_at_period_end_and_takes_it_back(client, world, customer, subscription):
    """With cancelling on, the subscription ends with its period, and the customer can change their mind."""
    path = session(world, customer, {"subscription_cancel": {"enabled": True}})
    assert "Cancel subscription" in seen(client, path)
    where = f"{path}/subscriptions/{subscription['id']}"
    assert "Cancel your subscription" in seen(client, f"{where}/cancel")
    assert client.post(f"{where}/cancel").headers["Location"] == f"{path}/overview?done=canceled"
    read = f"/v1/subscriptions/{subscription['id']}"
    assert world.call("GET", read)["cancel_at_period_end"] is True
    assert "Don’t cancel subscription" in seen(client, path)
    client.post(f"{where}/renew")
    assert world.call("GET", read)["cancel_at_period_end"] is False


def test_cancels_at_once_where_the_business_chose_that(client, world, customer, subscription):
    """In mode `immediately` the subscription is over at once."""
    path = session(
        world, customer, {"subscription_cancel": {"enabled": True, "mode": "immediately"}}
    )
    client.post(f"{path}/subscriptions/{subscription['id']}/cancel")
    assert world.call("GET", f"/v1/subscriptions/{subscription['id']}")["status"] == "canceled"


@pytest.mark.whole
def test_pauses_and_resumes(client, world, customer, subscription):
    """With pausing on, collection stops and starts again at the customer's word."""
    path = session(world, customer, {"subscription_pause": {"enabled": True}})
    where = f"{path}/subscriptions/{subscription['id']}"
    client.post(f"{where}/pause")
    read = f"/v1/subscriptions/{subscription['id']}"
    assert world.call("GET", read)["pause_collection"]["behavior"] == "void"
    assert "Resume subscription" in seen(client, path)
    client.post(f"{where}/resume")
    assert world.call("GET", read)["pause_collection"] is None


def test_a_saved_card_becomes_the_customers_default_only(client, world, customer, subscription):
    """Saving sets the customer's default and nothing else: the subscription keeps its own card."""
    old = default_of(customer)
    path = session(world, customer)
    answer = client.post(
        f"{path}/payment-methods/new", data={**CARD, "number": "5555 5555 5555 4444"}
    )
    assert answer.headers["Location"] == f"{path}/overview?done=card"
    new = default_of(world.call("GET", f"/v1/customers/{customer['id']}"))
    method = world.call("GET", f"/v1/payment_methods/{new}")
    assert (method["card"]["last4"], method["card"]["exp_year"]) == ("4444", 2034)
    kept = world.call("GET", f"/v1/subscriptions/{subscription['id']}")
    assert kept["default_payment_method"] == old


@pytest.mark.parametrize(
    ("changes", "words", "status"),
    [
        ({"number": "4000 0000 0000 0002"}, "Your card was declined.", 402),
        ({"number": "4000 0000 0000 0127"}, "security code is incorrect", 402),
        ({"number": "4242 4242 4242 4241"}, "Your card number is invalid.", 422),
        ({"expiry": "01/20"}, "expiration date is in the past", 422),
        ({"cvc": ""}, "security code", 422),
    ],
)
def test_a_refused_card_is_explained_in_place(client, world, customer, changes, words, status):
    """A wrong or declined card keeps the form, says why, and changes nothing."""
    path = session(world, customer)
    answer = client.post(f"{path}/payment-methods/new", data={**CARD, **changes})
    assert answer.status_code == status
    assert words in answer.text.replace("&#39;", "'")
    assert 'aria-invalid="true"' in answer.text
    assert default_of(world.call("GET", f"/v1/customers/{customer['id']}")) == default_of(customer)


def deep_link(after):
    return {"flow_data": {"type": "payment_method_update", "after_completion": after}}


def test_the_deep_link_opens_the_card_form_and_returns(client, world, customer):
    """The payment-method flow starts on the card form, and a saved card leads to its own return URL."""
    back = "https://portal.test/me/abc?card=new"
    after = {"type": "redirect", "redirect": {"return_url": back}}
    path = session(world, customer, **deep_link(after))
    assert "Update your payment method" in seen(client, path)
    assert client.post(f"{path}/payment-methods/new", data=CARD).headers["Location"] == back


def test_the_deep_link_can_confirm_here(client, world, customer):
    """With a hosted confirmation the customer reads the business's own words."""
    after = {
        "type": "hosted_confirmation",
        "hosted_confirmation": {"custom_message": "Thank you, Ana."},
    }
    path = session(world, customer, **deep_link(after))
    done = client.post(f"{path}/payment-methods/new", data=CARD).headers["Location"]
    assert "Thank you, Ana." in seen(client, done)


def test_the_deep_link_without_instructions_leads_to_the_first_page(client, world, customer):
    """By default a finished flow leads to the portal's first page, which says what was done."""
    path = session(world, customer, flow_data={"type": "payment_method_update"})
    done = client.post(f"{path}/payment-methods/new", data=CARD).headers["Location"]
    assert "Your new card is saved" in seen(client, done)


def test_defaults_change_and_only_other_cards_are_removed(client, world, customer):
    """Another card can become the default; the default itself is not removed."""
    other = world.call(
        "POST", "/v1/payment_methods/pm_card_mastercard/attach", {"customer": customer["id"]}
    )["id"]
    old = default_of(customer)
    path = session(world, customer)
    assert "problem=in-use" in client.post(f"{path}/payment-methods/{old}/remove").location
    client.post(f"{path}/payment-methods/{other}/default")
    assert default_of(world.call("GET", f"/v1/customers/{customer['id']}")) == other
    client.post(f"{path}/payment-methods/{old}/remove")
    left = world.call("GET", "/v1/payment_methods", {"customer": customer["id"]})["data"]
    assert [one["id"] for one in left] == [other]


def test_nobody_reaches_another_customers_things(client, world, customer, subscription):
    """A session opens one customer's billing: another's cards, plans and invoices are not found."""
    other = world.call("POST", "/v1/customers", {"name": "Ben"})
    path = session(world, other, {"subscription_cancel": {"enabled": True}})
    invoice = world.call("GET", "/v1/invoices", {"customer": customer["id"]})["data"][0]["id"]
    card = default_of(customer)
    assert client.get(f"{path}/invoices/{invoice}").status_code == 404
    assert client.post(f"{path}/payment-methods/{card}/remove").status_code == 404
    assert client.post(f"{path}/payment-methods/{card}/default").status_code == 404
    assert client.post(f"{path}/subscriptions/{subscription['id']}/cancel").status_code == 404
    assert card not in seen(client, path)


@pytest.mark.whole
def test_an_invoice_shows_lines_receipt_and_refund(client, world, customer, subscription):
    """An invoice's page shows what it was for, how it was paid, and what was refunded."""
    path = session(world, customer)
    (invoice,) = world.call("GET", "/v1/invoices", {"customer": customer["id"]})["data"]
    page = seen(client, f"{path}/invoices/{invoice['id']}")
    assert "Weekly clean" in page
    assert "Receipt" in page
    (charge,) = world.call("GET", "/v1/charges", {"customer": customer["id"]})["data"]
    world.call("POST", "/v1/refunds", {"charge": charge["id"], "amount": 2000})
    assert "$20.00 refunded" in seen(client, path)
    assert "was refunded to this card" in seen(client, f"{path}/invoices/{invoice['id']}")
    world.call("POST", "/v1/refunds", {"charge": charge["id"]})
    assert "Refunded" in seen(client, path)


def test_history_can_be_switched_off(client, world, customer, subscription):
    """Where the business does not show its invoices, neither list nor invoice is there."""
    path = session(world, customer, {"invoice_history": {"enabled": False}})
    assert "Invoice history" not in seen(client, path)
    (invoice,) = world.call("GET", "/v1/invoices", {"customer": customer["id"]})["data"]
    assert client.get(f"{path}/invoices/{invoice['id']}").status_code == 404


def test_billing_information_changes_only_what_is_allowed(client, world, customer):
    """The customer edits the fields the business allows, and no others."""
    features = {"customer_update": {"enabled": True, "allowed_updates": ["email"]}}
    path = session(world, customer, features)
    assert "Email" in seen(client, f"{path}/customer")
    client.post(f"{path}/customer", data={"email": "new@example.com", "name": "Mallory"})
    now = world.call("GET", f"/v1/customers/{customer['id']}")
    assert (now["email"], now["name"]) == ("new@example.com", "Ana")


def test_links_expire(client, world, customer, clock):
    """A link that nobody used dies after five minutes, a used one after an hour; both say so."""
    unused, used = session(world, customer), session(world, customer)
    seen(client, used)
    clock.time += 301
    answer = client.get(unused)
    assert answer.status_code == 404
    assert "This link has expired" in answer.text
    seen(client, used)
    clock.time += 3600
    assert client.get(used).status_code == 404
    assert client.post(f"{used}/payment-methods/new", data=CARD).status_code == 404


def test_unknown_links_and_ids_open_nothing(client, world, customer):
    """Neither an invented secret nor the session's id opens the page; nor does a deleted customer's link."""
    path = session(world, customer)
    (event,) = world.call("GET", "/v1/events", {"type": "billing_portal.session.created"})["data"]
    for secret in ("nonsense", event["data"]["object"]["id"]):
        assert client.get(f"/p/session/{secret}").status_code == 404
    world.call("DELETE", f"/v1/customers/{customer['id']}")
    assert client.get(path).status_code == 404


def test_the_page_can_be_neither_framed_nor_cached(client, world, customer):
    """Every answer forbids framing, caching and referrers, and the page needs no script."""
    answer = client.get(session(world, customer))
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "<script" not in answer.text
    assert not re.search(r'(src|href)="https?://(?!portal\.test)', answer.text)
