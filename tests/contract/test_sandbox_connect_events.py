"""Events of connected accounts: which endpoint hears what, under which secret, and which account they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)

from tests.contract.stripe_sandbox import (
    PLATFORM,
    Listener,
    Sandbox,
    account,
    client_of,
    on,
    own,
    running,
)
from tests.fixtures.serving import serving


@pytest.fixture
def connect() -> Iterator[Listener]:
    """A listener for a second endpoint."""
    listener = Listener()
    with serving(listener) as url:
        listener.url = url
        yield listener


def live_platform(sandbox: Sandbox) -> Any:
    """The API with the platform's live key."""
    key = sandbox.control(f"accounts/{PLATFORM}/keys", livemode=True)["key"]
    return client_of(sandbox.url, key).v1


def endpoint(api: Any, listener: Listener, **given: Any) -> Any:
    """A webhook endpoint that hears everything."""
    return api.webhook_endpoints.create({"url": listener.url, "enabled_events": ["*"], **given})


def accounts_of(listener: Listener, type: str) -> list[Any]:
    """The account of each event that came, in the order of coming."""
    return [event.get("account") for event in listener.events(type)]


def test_two_endpoints_with_a_secret_each(sandbox: Sandbox, connect: Listener) -> None:
    """The account's own events to the one, those of connected accounts to the other; neither secret proves for both."""
    api, made = sandbox.client, account(sandbox)
    hook = endpoint(api, connect, connect=True)
    shown = api.webhook_endpoints.retrieve(hook.id).to_dict()
    assert shown["application"].startswith("ca_")
    assert "connect" not in shown
    heard = f"{sandbox.url}/sandbox/webhook_endpoints"
    hearing = requests.get(heard, headers={"Stripe-Account": made["id"]}, timeout=10).json()
    assert hearing["endpoints"] == [{"id": hook.id, "url": connect.url, "connect": True}]
    api.customers.create({"name": "ours"})
    api.customers.create({"name": "theirs"}, on(made))
    sandbox.listener.wait(lambda: bool(sandbox.listener.events("customer.created")))
    connect.wait(lambda: bool(connect.events("customer.created")))
    sandbox.world.delivery.idle()
    assert accounts_of(sandbox.listener, "customer.created") == [None]
    assert accounts_of(connect, "customer.created") == [made["id"]]
    header, body = connect.taken[0]
    event = stripe.Webhook.construct_event(body, header, hook.secret)
    assert event.account == made["id"]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, sandbox.listener.taken[0][0], hook.secret)
    found = api.events.retrieve(event.id, {}, on(made))
    assert found.data.object.name == "theirs"
    assert [e.data.object.name for e in api.events.list().data] == ["ours"]
    with pytest.raises(stripe.InvalidRequestError):
        api.events.retrieve(event.id)


def test_an_accounts_own_endpoint_hears_only_of_it(sandbox: Sandbox, connect: Listener) -> None:
    """As its own event, without an account; with nobody connected, nobody else hears."""
    one, two = account(sandbox, connected=None), account(sandbox, connected=None)
    endpoint(own(sandbox, one), connect)
    for made in (one, two):
        own(sandbox, made).customers.create({"name": made["id"]})
    connect.wait(lambda: bool(connect.events("customer.created")))
    sandbox.world.delivery.idle()
    told = connect.events("customer.created")
    assert [event["data"]["object"]["name"] for event in told] == [one["id"]]
    assert "account" not in told[0]
    assert sandbox.listener.taken == []


def test_a_platform_makes_no_endpoints_on_accounts(sandbox: Sandbox, connect: Listener) -> None:
    """Stripe's words; and only a platform has Connect endpoints."""
    made = account(sandbox)
    wanted = {"url": connect.url, "enabled_events": ["*"]}
    with pytest.raises(stripe.PermissionError, match="do not have permission to create webhook"):
        sandbox.client.webhook_endpoints.create(wanted, on(made))
    with pytest.raises(stripe.InvalidRequestError):
        own(sandbox, made).webhook_endpoints.create({**wanted, "connect": True})


def test_live_connect_endpoints_hear_test_events_too(sandbox: Sandbox, connect: Listener) -> None:
    """Those of accounts connected live, unless that is switched off; and `livemode` tells them apart."""
    live = live_platform(sandbox)
    endpoint(live, connect, connect=True)
    made = account(sandbox, connected="live")
    tested = account(sandbox, connected="test")
    own(sandbox, made).customers.create({"name": "test"})
    own(sandbox, tested).customers.create({"name": "nobody hears"})
    own(sandbox, made, "live").customers.create({"name": "live"})
    connect.wait(lambda: len(connect.events("customer.created")) == 2)
    sandbox.control("connect", live_endpoints_hear_test=False)
    own(sandbox, made).customers.create({"name": "nobody hears this either"})
    sandbox.world.delivery.idle()
    told = {e["data"]["object"]["name"]: e["livemode"] for e in connect.events("customer.created")}
    assert told == {"test": False, "live": True}


def test_deauthorized_is_about_the_application(sandbox: Sandbox, connect: Listener) -> None:
    """The account is the event's; afterwards nothing more comes of it."""
    endpoint(sandbox.client, connect, connect=True)
    made = account(sandbox)
    sandbox.control(f"accounts/{made['id']}/disconnect")
    connect.wait(lambda: bool(connect.events("account.application.deauthorized")))
    own(sandbox, made).customers.create({})
    sandbox.world.delivery.idle()
    told = connect.events("account.application.deauthorized")[0]
    assert told["account"] == made["id"]
    assert told["data"]["object"]["object"] == "application"
    assert told["data"]["object"]["id"].startswith("ca_")
    assert connect.events("customer.created") == []


def test_what_an_account_tells_can_be_told_by_hand(sandbox: Sandbox, connect: Listener) -> None:
    """Of its own object, thin or whole, to those who hear of the account; resent to the same ones."""
    hook = endpoint(sandbox.client, connect, connect=True)
    made = account(sandbox)
    customer = sandbox.client.customers.create({}, on(made)).id
    told = sandbox.control("events", type="customer.updated", object=customer, account=made["id"])
    assert told["data"]["object"]["id"] == customer
    connect.wait(lambda: accounts_of(connect, "customer.updated") == [made["id"]])
    sandbox.control(
        "events", type="customer.updated", object=customer, account=made["id"], thin=True
    )
    connect.wait(lambda: bool(connect.events("v1.customer.updated")))
    header, body = next(
        (header, body) for header, body in connect.taken if b"v1.customer.updated" in body
    )
    notification: Any = sandbox.stripe.parse_event_notification(body, header, hook.secret)
    assert notification.fetch_event().context == made["id"]
    assert notification.fetch_related_object().id == customer
    requests.post(
        f"{sandbox.url}/sandbox/events/{told['id']}/resend",
        json={},
        headers={"Stripe-Account": made["id"]},
        timeout=10,
    )
    connect.wait(lambda: len(connect.events("customer.updated")) == 2)
    assert json.loads(connect.taken[0][1])["livemode"] is False


def test_secrets_can_be_known_beforehand(connect: Listener) -> None:
    """Of the Connect endpoint by a setting, of an account's own by a control."""
    secret = "whsec_known"
    with running(connect_endpoints=((connect.url, secret),)) as sandbox:
        made = account(sandbox)
        headers = {"Authorization": f"Bearer {made['keys']['live']}"}
        requests.post(
            f"{sandbox.url}/sandbox/webhook_endpoints",
            json={"url": connect.url, "secret": "whsec_own"},
            headers=headers,
            timeout=10,
        ).raise_for_status()
        sandbox.client.customers.create({"name": "direct"}, on(made))
        own(sandbox, made, "live").customers.create({"name": "own"})
        connect.wait(lambda: len(connect.events("customer.created")) == 2)
        for header, body in connect.taken:
            mine = json.loads(body)["livemode"]
            stripe.Webhook.construct_event(body, header, "whsec_own" if mine else secret)


def test_an_account_loses_its_access_by_a_control(sandbox: Sandbox) -> None:
    """Controls act on the account that the header names: its own key and the platform are refused, others are not."""
    one, two = account(sandbox), account(sandbox)
    at = f"{sandbox.url}/sandbox/account"
    requests.post(at, json={"revoked": True}, headers={"Stripe-Account": one["id"]}, timeout=10)
    for api, options in ((sandbox.client, on(one)), (own(sandbox, one), {})):
        with pytest.raises(stripe.PermissionError):
            api.customers.list({}, options)
    assert sandbox.client.customers.list({}, on(two)).data == []
    unknown = requests.get(at, headers={"Stripe-Account": "acct_1Unknown"}, timeout=10)
    assert unknown.status_code == 404
