"""On behalf of whom: what the platform's customers see of each business, and the pages of each account."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)

from tests.contract.stripe_sandbox import (
    PUBLIC,
    Sandbox,
    account,
    as_own,
    client_of,
    on,
    subscribed,
)


def page(sandbox: Sandbox, url: str) -> requests.Response:
    """A page of the sandbox's."""
    return requests.get(url.replace(PUBLIC, sandbox.url), timeout=10)


def billed_for(sandbox: Sandbox, customer: str, name: str, made: dict[str, Any]) -> Any:
    """A subscription of the platform's customer on behalf of an account."""
    api = sandbox.client
    product = api.products.create({"name": name}).id
    price = {
        "currency": "usd",
        "unit_amount": 4900,
        "recurring": {"interval": "month"},
        "product": product,
    }
    items = [{"price": api.prices.create(price).id}]
    return api.subscriptions.create(
        {"customer": customer, "items": items, "on_behalf_of": made["id"]}
    )


@pytest.fixture
def shared(sandbox: Sandbox) -> tuple[str, dict[str, Any], Any, dict[str, Any], Any]:
    """A customer of the platform's with a subscription on behalf of each of two businesses, and one of its own."""
    customer, _ = subscribed(sandbox)
    one = account(sandbox, name="Sunrise Cleaning", color="#c2410c")
    two = account(sandbox, name="Moonlight Gardens")
    first = billed_for(sandbox, customer, "Windows", one)
    second = billed_for(sandbox, customer, "Hedges", two)
    return customer, one, first, two, second


def test_what_is_billed_on_behalf_of_an_account_says_so(sandbox: Sandbox, shared: Any) -> None:
    """The subscription, its invoices, their payments; all of it is on the platform."""
    _, one, first, two, _ = shared
    api = sandbox.client
    assert first.on_behalf_of == one["id"]
    invoice = api.invoices.retrieve(first.latest_invoice)
    assert invoice.on_behalf_of == one["id"]
    paid = api.payment_intents.list({"customer": invoice.customer, "limit": 10}).data
    assert {intent.on_behalf_of for intent in paid} == {None, one["id"], two["id"]}
    assert api.subscriptions.list({}, on(one)).data == []
    moved = api.subscriptions.update(first.id, {"on_behalf_of": two["id"]})
    assert moved.on_behalf_of == two["id"]
    with pytest.raises(stripe.InvalidRequestError) as missing:
        api.invoices.create({"customer": invoice.customer, "on_behalf_of": "acct_1Unknown"})
    assert missing.value.param == "on_behalf_of"


def test_a_session_on_behalf_of_one_shows_nothing_of_another(sandbox: Sandbox, shared: Any) -> None:
    """Its name and colour, its plan, its invoices; the configuration is the platform's."""
    customer, one, first, _, second = shared
    sandbox.control("portal_default")
    wanted = {"customer": customer, "on_behalf_of": one["id"]}
    session = sandbox.client.billing_portal.sessions.create(wanted)
    assert session.on_behalf_of == one["id"]
    text = page(sandbox, session.url).text
    assert "Sunrise Cleaning" in text
    assert "/p/brand/c2410c.css" in text
    assert "Windows" in text
    for strange in ("Hedges", "Weekly clean", "Moonlight"):
        assert strange not in text
    assert "#c2410c" in page(sandbox, f"{PUBLIC}/p/brand/c2410c.css").text
    mine = f"{session.url}/invoices/{first.latest_invoice}"
    other = f"{session.url}/invoices/{second.latest_invoice}"
    assert [page(sandbox, url).status_code for url in (mine, other)] == [200, 404]
    assert page(sandbox, f"{session.url}/subscriptions/{second.id}/cancel").status_code == 404
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": second.id}}
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        sandbox.client.billing_portal.sessions.create({**wanted, "flow_data": flow})
    whole = sandbox.client.billing_portal.sessions.create({"customer": customer})
    seen = page(sandbox, whole.url).text
    assert "Windows" in seen
    assert "Hedges" in seen


def test_an_accounts_pages_are_its_own(sandbox: Sandbox) -> None:
    """Portal, hosted invoice, receipt and console; a secret opens nothing in another account."""
    made = account(sandbox, name="Sunrise Cleaning", color="#c2410c")
    other = account(sandbox)
    alone = as_own(sandbox, made)
    customer, subscription = subscribed(alone)
    headers = {"Stripe-Account": made["id"]}
    requests.post(
        f"{sandbox.url}/sandbox/portal_default", json={}, headers=headers, timeout=10
    ).raise_for_status()
    session = alone.client.billing_portal.sessions.create({"customer": customer})
    text = page(sandbox, session.url).text
    assert "Sunrise Cleaning" in text
    assert "Weekly clean" in text
    invoice = alone.client.invoices.retrieve(
        alone.client.subscriptions.retrieve(subscription).latest_invoice
    )
    assert "Sunrise Cleaning" in page(sandbox, invoice.hosted_invoice_url).text
    for url in (session.url, invoice.hosted_invoice_url):
        for place in ("", f"/{other['id']}/test", f"/{made['id']}/live", "/acct_1Unknown/test"):
            moved = url.replace(f"/{made['id']}/test", place)
            assert page(sandbox, moved).status_code == 404
    cancelled = requests.post(
        session.url.replace(PUBLIC, sandbox.url) + f"/subscriptions/{subscription}/cancel",
        allow_redirects=False,
        timeout=10,
    )
    assert cancelled.headers["Location"].startswith(f"/{made['id']}/test/p/session/")
    assert alone.client.subscriptions.retrieve(subscription).cancel_at_period_end is True
    stylesheet = text.partition(f"/{made['id']}/test/p/static/portal.css")[1]
    assert page(sandbox, f"{PUBLIC}{stylesheet}").status_code == 200


def test_the_console_shows_the_account_that_was_chosen(sandbox: Sandbox) -> None:
    """It is found by name, its customers are shown, its buttons are its own, and it can be disconnected."""
    home = page(sandbox, f"{PUBLIC}/").text
    assert "Stripe accounts" not in home
    made = account(sandbox, name="Sunrise Cleaning")
    customer = client_of(sandbox.url, made["keys"]["test"]).v1.customers.create({"name": "Ada"}).id
    assert "Sunrise Cleaning" not in page(sandbox, f"{PUBLIC}/?account=moon").text
    assert f"/{made['id']}/test/" in page(sandbox, f"{PUBLIC}/?account=sunr").text
    console = f"{PUBLIC}/{made['id']}/test/"
    assert customer in page(sandbox, console).text
    assert customer not in page(sandbox, f"{PUBLIC}/").text
    pressed = requests.post(
        f"{sandbox.url}/{made['id']}/test/sandbox/console/customers/{customer}/card", timeout=10
    )
    assert pressed.url == f"{sandbox.url}/{made['id']}/test/?{pressed.url.partition('?')[2]}"
    assert sandbox.client.payment_methods.list({"customer": customer}, on(made)).data
    requests.post(f"{sandbox.url}/{made['id']}/test/sandbox/console/disconnect", timeout=10)
    with pytest.raises(stripe.PermissionError):
        sandbox.client.customers.list({}, on(made))
    invoice = client_of(sandbox.url, made["keys"]["test"]).v1.invoices.create(
        {"customer": customer}
    )
    shown = page(sandbox, f"{PUBLIC}/dashboard/{made['id']}/test/invoices/{invoice.id}")
    assert shown.url == f"{sandbox.url}/{made['id']}/test/#{customer}"
