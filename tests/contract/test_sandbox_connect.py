"""Many accounts in the sandbox, judged by stripe-python: direct charges, own keys, restricted keys, who may see what."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)

from tests.contract.stripe_sandbox import (
    PLATFORM,
    PUBLIC,
    Sandbox,
    account,
    as_own,
    client_of,
    on,
    own,
    subscribed,
)


def counts(sandbox: Sandbox) -> dict[str, Any]:
    """What was asked of whom."""
    shown: dict[str, Any] = requests.get(f"{sandbox.url}/sandbox/requests", timeout=10).json()
    return shown


def test_what_is_in_one_account_is_in_no_other(sandbox: Sandbox) -> None:
    """A direct charge's customer is the account's: with the header, with its own key, and nowhere else."""
    api, one, two = sandbox.client, account(sandbox), account(sandbox)
    customer = api.customers.create({"email": "ada@example.com"}, on(one)).id
    assert api.customers.retrieve(customer, {}, on(one)).id == customer
    assert own(sandbox, one).customers.retrieve(customer).id == customer
    assert counts(sandbox)["wrong_account"] == 0
    for stranger, options in ((api, {}), (api, on(two)), (own(sandbox, two), {})):
        with pytest.raises(stripe.InvalidRequestError) as missing:
            stranger.customers.retrieve(customer, {}, options)
        assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
        assert stranger.customers.list({}, options).data == []
    asked = counts(sandbox)
    assert (asked["wrong_account"], asked["accounts"][two["id"]]["wrong_account"]) == (3, 2)
    assert asked["wrong_calls"][0]["id"] == customer
    # As a parameter of the query it is no header: the platform's own customers are listed.
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        api.customers.list({"stripe_account": one["id"]})


def test_the_same_id_may_be_in_two_accounts(sandbox: Sandbox) -> None:
    """Each has an object of its own behind it, and an idempotency key of its own."""
    api, one = sandbox.client, account(sandbox)
    customer = api.customers.create({"name": "Ada"}, on(one)).id
    two = account(sandbox, copy_of=one["id"])
    api.customers.update(customer, {"name": "Bea"}, on(two))
    names = [api.customers.retrieve(customer, {}, on(each)).name for each in (one, two)]
    assert names == ["Ada", "Bea"]
    made = [
        api.customers.create({"name": "new"}, {**on(each), "idempotency_key": "once"}).id
        for each in (one, two, one)
    ]
    assert made[0] == made[2] != made[1]
    assert counts(sandbox)["wrong_account"] == 0


@pytest.mark.parametrize("who", ["unknown", "never connected", "disconnected", "own key"])
def test_an_account_without_access_is_a_403(sandbox: Sandbox, who: str) -> None:
    """Stripe's words and code, whatever the reason; nothing tells whether there is such an account."""
    made = account(sandbox, connected=None if who == "never connected" else "test")
    api, id = sandbox.client, made["id"]
    if who == "unknown":
        id = "acct_1Unknown"
    elif who == "disconnected":
        sandbox.control(f"accounts/{id}/disconnect")
    elif who == "own key":
        api, id = own(sandbox, made), PLATFORM
    with pytest.raises(stripe.PermissionError) as refused:
        api.customers.list({}, {"stripe_account": id})
    assert refused.value.http_status == 403
    assert refused.value.error.code == "account_invalid"
    assert f"does not have access to account '{id}'" in str(refused.value)
    assert counts(sandbox)["accounts"][id]["no_access"] == 1


def test_disconnecting_ends_no_subscription(sandbox: Sandbox) -> None:
    """The account goes on by itself, and the platform can't see it any more."""
    made = account(sandbox)
    _, subscription = subscribed(as_own(sandbox, made))
    sandbox.control(f"accounts/{made['id']}/disconnect")
    assert own(sandbox, made).subscriptions.retrieve(subscription).status == "active"
    with pytest.raises(stripe.PermissionError):
        sandbox.client.subscriptions.retrieve(subscription, {}, on(made))


def test_modes_are_worlds_of_their_own(sandbox: Sandbox) -> None:
    """What is there in the other mode is named as Stripe names it; a test connection is none in live mode."""
    made = account(sandbox)
    live = own(sandbox, made, "live")
    customer = own(sandbox, made).customers.create({}).id
    with pytest.raises(stripe.InvalidRequestError, match="a similar object exists in test mode"):
        live.customers.retrieve(customer)
    real = live.customers.create({})
    assert (real.livemode, live.events.list().data[0].livemode) == (True, True)
    key = sandbox.control(f"accounts/{PLATFORM}/keys", livemode=True)["key"]
    platform: Any = client_of(sandbox.url, key).v1
    with pytest.raises(stripe.PermissionError):
        platform.customers.retrieve(real.id, {}, on(made))
    sandbox.control(f"accounts/{made['id']}/connect", livemode=True)
    assert platform.customers.retrieve(real.id, {}, on(made)).id == real.id
    assert sandbox.client.customers.retrieve(customer, {}, on(made)).livemode is False


def test_keys_are_an_accounts_own(sandbox: Sandbox) -> None:
    """A revoked one has expired; with `any_key` off, nobody's key is refused."""
    made = account(sandbox)
    assert own(sandbox, made).accounts.retrieve_current().id == made["id"]
    sandbox.control("keys/revoke", key=made["keys"]["test"])
    with pytest.raises(stripe.AuthenticationError) as expired:
        own(sandbox, made).customers.list()
    assert expired.value.error.code == "api_key_expired"
    assert made["keys"]["test"] not in str(expired.value)
    sandbox.control("connect", any_key=False)
    with pytest.raises(stripe.AuthenticationError):
        sandbox.client.customers.list()
    with pytest.raises(stripe.AuthenticationError):
        client_of(sandbox.url, "sk_live_nobodys").v1.customers.list()


def test_restricted_keys_have_rights(sandbox: Sandbox) -> None:
    """Who may write may read; the refusal names the right, the account, and no whole key."""
    made = account(sandbox)
    rights = ["rak_customer_read", "rak_customer_portal_write"]
    key = sandbox.control(f"accounts/{made['id']}/keys", permissions=rights)["key"]
    assert key.startswith("rk_test_51")
    api: Any = client_of(sandbox.url, key).v1
    assert api.customers.list().data == []
    assert api.billing_portal.configurations.list().data == []
    with pytest.raises(stripe.PermissionError) as refused:
        api.customers.create({})
    assert refused.value.error.code == "more_permissions_required"
    assert "'rak_customer_write'" in str(refused.value)
    assert made["id"] in str(refused.value)
    assert key not in str(refused.value)


def test_a_platforms_restricted_key_has_other_rights_on_accounts(sandbox: Sandbox) -> None:
    """Those on its own account are no rights on connected ones."""
    made = account(sandbox)
    rights = {
        "permissions": ["rak_customer_read"],
        "connect_permissions": ["rak_subscription_read"],
    }
    key = sandbox.control(f"accounts/{PLATFORM}/keys", **rights)["key"]
    api: Any = client_of(sandbox.url, key).v1
    assert api.customers.list().data == []
    assert api.subscriptions.list({}, on(made)).data == []
    with pytest.raises(stripe.PermissionError, match="rak_customer_read"):
        api.customers.list({}, on(made))
    with pytest.raises(stripe.PermissionError, match="rak_subscription_read"):
        api.subscriptions.list()


def direct(sandbox: Sandbox, made: dict[str, Any]) -> tuple[str, str]:
    """(customer, subscription) that the platform makes on an account."""
    api = sandbox.client
    customer = api.customers.create({}, on(made)).id
    card = api.payment_methods.attach("pm_card_visa", {"customer": customer}, on(made)).id
    settings = {"invoice_settings": {"default_payment_method": card}}
    api.customers.update(customer, settings, on(made))
    product = api.products.create({"name": "Clean"}, on(made)).id
    price = {
        "currency": "usd",
        "unit_amount": 4900,
        "recurring": {"interval": "month"},
        "product": product,
    }
    wanted = {"customer": customer, "items": [{"price": api.prices.create(price, on(made)).id}]}
    return customer, api.subscriptions.create(wanted, on(made)).id


def test_a_platform_changes_only_what_it_made(sandbox: Sandbox) -> None:
    """Its own subscriptions yes, those of the business or of another app no; the open invoice it may pay."""
    api, made = sandbox.client, account(sandbox)
    _, mine = direct(sandbox, made)
    found = api.subscriptions.retrieve(mine, {"expand": ["latest_invoice"]}, on(made))
    application = requests.get(f"{sandbox.url}/sandbox/connect", timeout=10).json()["client_ids"]
    assert found.application == found.latest_invoice.application == application["test"]
    assert api.subscriptions.update(mine, {"cancel_at_period_end": True}, on(made)).id == mine

    customer, theirs = subscribed(as_own(sandbox, made))
    assert api.subscriptions.retrieve(theirs, {}, on(made)).application is None
    for change in (
        lambda: api.subscriptions.update(theirs, {"metadata": {"a": "b"}}, on(made)),
        lambda: api.subscriptions.cancel(theirs, {}, on(made)),
    ):
        with pytest.raises(stripe.PermissionError, match=theirs):
            change()
    headers = {"Stripe-Account": made["id"]}
    at = f"{sandbox.url}/sandbox/customers/{customer}"
    requests.post(f"{at}/decline_next", json={}, headers=headers, timeout=10)
    invoice = requests.post(f"{at}/charge_now", json={}, headers=headers, timeout=10).json()
    assert invoice["status"] == "open"
    assert api.invoices.pay(invoice["id"], {}, on(made)).status == "paid"
    assert own(sandbox, made).subscriptions.cancel(theirs).status == "canceled"


def test_what_could_not_be_verified_can_be_chosen(sandbox: Sandbox) -> None:
    """A subscription of the account's own may be let pass; paying may be refused with the rest."""
    api, made = sandbox.client, account(sandbox)
    _, theirs = subscribed(as_own(sandbox, made))
    sandbox.control("connect", null_application_is_foreign=False)
    assert api.subscriptions.update(theirs, {"metadata": {"a": "b"}}, on(made)).id == theirs
    maker = f"{sandbox.url}/sandbox/subscriptions/{theirs}/application"
    headers = {"Stripe-Account": made["id"]}
    requests.post(maker, json={"application": "ca_other"}, headers=headers, timeout=10)
    with pytest.raises(stripe.PermissionError):
        api.subscriptions.update(theirs, {"metadata": {"a": "c"}}, on(made))
    sandbox.control("connect", paying_is_changing=True)
    invoice = api.subscriptions.retrieve(theirs, {}, on(made)).latest_invoice
    with pytest.raises(stripe.PermissionError):
        api.invoices.pay(invoice, {}, on(made))


def test_each_account_has_its_own_portal(sandbox: Sandbox) -> None:
    """Configurations, the default that the dashboard saves, and who made one; another's is not there."""
    api, one, two = sandbox.client, account(sandbox), account(sandbox)
    customer = api.customers.create({}, on(one)).id
    sandbox.control("portal_default")
    with pytest.raises(stripe.InvalidRequestError, match="No configuration provided"):
        api.billing_portal.sessions.create({"customer": customer}, on(one))
    requests.post(
        f"{sandbox.url}/sandbox/portal_default",
        json={},
        headers={"Stripe-Account": one["id"]},
        timeout=10,
    )
    session = api.billing_portal.sessions.create({"customer": customer}, on(one))
    assert session.url.startswith(f"{PUBLIC}/{one['id']}/test/p/session/test_")
    features = {"features": {"invoice_history": {"enabled": True}}}
    made = api.billing_portal.configurations.create(features, on(two))
    assert made.application.startswith("ca_")
    with pytest.raises(stripe.InvalidRequestError, match="No such configuration"):
        wanted = {"customer": customer, "configuration": made.id}
        api.billing_portal.sessions.create(wanted, on(one))


def test_rates_are_limited_by_account(sandbox: Sandbox) -> None:
    """One account's flood is its own; a platform's limit counts what it does on every account."""
    api, one, two = sandbox.client, account(sandbox), account(sandbox)
    sandbox.control("limits", accounts={one["id"]: 0.001})
    api.customers.list({}, on(one))
    with pytest.raises(stripe.RateLimitError) as limited:
        api.customers.list({}, on(one))
    assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert api.customers.list({}, on(two)).data == []
    sandbox.control("limits", accounts={one["id"]: None}, platform=0.001)
    api.customers.list({}, on(one))
    with pytest.raises(stripe.RateLimitError):
        api.customers.list({}, on(two))
    assert own(sandbox, two).customers.list().data == []
    sandbox.control("limits", platform=None, endpoint=0.001)
    api.customers.list({}, on(two))
    with pytest.raises(stripe.RateLimitError) as limited:
        api.customers.list({}, on(two))
    assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert api.invoices.list({}, on(two)).data == []
    asked = counts(sandbox)["accounts"]
    assert (asked[one["id"]]["limited"], asked[two["id"]]["limited"]) == (1, 2)
    assert (asked[one["id"]]["reads"], asked[two["id"]]["reads"]) == (2, 4)


def test_a_fault_can_be_one_accounts(sandbox: Sandbox) -> None:
    """By header or by key; the others are left alone."""
    api, one, two = sandbox.client, account(sandbox), account(sandbox)
    fault = {"match": "* /v1/*", "status": 500, "times": None, "account": one["id"]}
    requests.post(f"{sandbox.url}/sandbox/faults", json=fault, timeout=10)
    for broken, options in ((api, on(one)), (own(sandbox, one), {})):
        with pytest.raises(stripe.APIError):
            broken.customers.list({}, options)
    assert api.customers.list({}, on(two)).data == []
    assert api.customers.list().data == []


def test_connected_accounts_are_listed(sandbox: Sandbox) -> None:
    """Those that are connected, page by page; the others are not the platform's business."""
    api = sandbox.client
    made = sandbox.control("accounts", count=3, connected="test", name="Cleaner {n}")["accounts"]
    stranger = account(sandbox, connected=None)
    listed = [one.id for one in api.accounts.list({"limit": 2}).auto_paging_iter()]
    assert listed == [one["id"] for one in reversed(made)]
    assert api.accounts.retrieve(made[1]["id"]).business_profile.name == "Cleaner 1"
    with pytest.raises(stripe.PermissionError):
        api.accounts.retrieve(stranger["id"])


def test_ten_thousand_accounts_are_cheap(sandbox: Sandbox) -> None:
    """They are made in one request, and one that nobody uses has no store of its own."""
    sandbox.control("accounts", count=10_000, connected="live", name="Business {n}")
    assert requests.get(f"{sandbox.url}/sandbox/accounts", timeout=10).json()["count"] == 10_000
    assert len(sandbox.world.engine.database.stores) < 5
