"""Connecting by OAuth at the sandbox: the page as a person presses it, the code as stripe-python spends it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import stripe  # noqa: TID251  (the real client judges the stand-in)

from tests.contract.stripe_sandbox import (
    KEY,
    PLATFORM,
    Sandbox,
    account,
    client_of,
    on,
    own,
)

BACK = "https://portico.example/connected"


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Sandbox:
    """It leads back to us."""
    sandbox.control("connect", redirect_uris=[BACK])
    return sandbox


def client(sandbox: Sandbox, mode: str = "test") -> stripe.StripeClient:
    """The platform's client, with its application of a mode."""
    key = KEY
    if mode == "live":
        key = sandbox.control(f"accounts/{PLATFORM}/keys", livemode=True)["key"]
    found = requests.get(f"{sandbox.url}/sandbox/connect", timeout=10).json()
    return client_of(sandbox.url, key, client_id=found["client_ids"][mode])


def asked(connecting: stripe.StripeClient, **changed: Any) -> str:
    """The address that a business is sent to."""
    params = {"scope": "read_write", "redirect_uri": BACK, "state": "s1", **changed}
    wanted: Any = {name: value for name, value in params.items() if value is not None}
    return connecting.oauth.authorize_url(wanted)


def press(address: str, answer: str = "connect", **form: str) -> requests.Response:
    """Press a button of the page, after reading it."""
    assert requests.get(address, timeout=10).status_code == 200
    data = {"answer": answer, **form}
    return requests.post(address, data=data, allow_redirects=False, timeout=10)


def came_back(answer: requests.Response) -> dict[str, str]:
    """The query with which the business is sent back."""
    assert answer.status_code == 303, answer.text
    address = urlsplit(answer.headers["Location"])
    assert address._replace(query="").geturl() == BACK
    return dict(parse_qsl(address.query))


def code_for(sandbox: Sandbox, connecting: stripe.StripeClient, made: dict[str, Any]) -> str:
    """The code of a business that said yes."""
    return came_back(press(asked(connecting), account=made["id"]))["code"]


def spend(connecting: stripe.StripeClient, code: str) -> Any:
    """Spend a code."""
    return connecting.oauth.token({"grant_type": "authorization_code", "code": code})


def test_a_business_connects(sandbox: Sandbox) -> None:
    """Nothing is connected before the code is spent; the state comes back as it was."""
    made, connecting = account(sandbox, connected=None, name="Sunrise"), client(sandbox)
    assert "Sunrise" in requests.get(asked(connecting), timeout=10).text
    query = came_back(press(asked(connecting), account=made["id"]))
    assert (query["state"], query["scope"]) == ("s1", "read_write")
    with pytest.raises(stripe.PermissionError):
        sandbox.client.customers.list({}, on(made))
    token = spend(connecting, query["code"])
    assert (token.stripe_user_id, token.livemode, token.scope) == (made["id"], False, "read_write")
    assert sandbox.client.customers.list({}, on(made)).data == []
    by_token: Any = client_of(sandbox.url, token.access_token).v1
    assert by_token.accounts.retrieve_current().id == made["id"]


def test_a_new_business_connects(sandbox: Sandbox) -> None:
    """It is made on the way."""
    connecting = client(sandbox)
    query = came_back(press(asked(connecting), account="", name="Brand new"))
    connected = spend(connecting, query["code"]).stripe_user_id
    found = sandbox.client.accounts.retrieve(connected)
    assert found.business_profile.name == "Brand new"


def test_only_a_refusal_leads_back(sandbox: Sandbox) -> None:
    """Whatever else is wrong, Stripe says on its own page."""
    made, connecting = account(sandbox, connected=None), client(sandbox)
    query = came_back(press(asked(connecting), "deny", account=made["id"]))
    assert (query["error"], query["state"]) == ("access_denied", "s1")
    wrong: tuple[dict[str, Any], ...] = (
        {"client_id": "ca_unknown"},
        {"redirect_uri": f"{BACK}/"},
        {"scope": "read_only"},
        {"scope": None},
        {"response_type": "token"},
    )
    for changed in wrong:
        for method in ("GET", "POST"):
            answer = requests.request(
                method, asked(connecting, **changed), allow_redirects=False, timeout=10
            )
            assert answer.status_code == 400
    controlled = account(sandbox, connected=None, controlled="another")
    refused = press(asked(connecting), account=controlled["id"])
    assert (refused.status_code, "Location" in refused.headers) == (400, False)
    from_elsewhere = requests.post(
        asked(connecting), headers={"Sec-Fetch-Site": "cross-site"}, timeout=10
    )
    assert from_elsewhere.status_code == 403


def test_spending_a_code_twice_takes_the_connection_away(sandbox: Sandbox) -> None:
    """The second try is refused, and undoes the first."""
    made, connecting = account(sandbox, connected=None), client(sandbox)
    code = code_for(sandbox, connecting, made)
    token = spend(connecting, code)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="already been used"):
        spend(connecting, code)
    with pytest.raises(stripe.PermissionError):
        sandbox.client.customers.list({}, on(made))
    with pytest.raises(stripe.AuthenticationError):
        client_of(sandbox.url, token.access_token).v1.customers.list()


def test_a_code_lives_five_minutes_in_its_mode(sandbox: Sandbox) -> None:
    """Too late, with the other mode's key, or unknown: refused, and nothing is connected."""
    made, connecting = account(sandbox, connected=None), client(sandbox)
    code = code_for(sandbox, connecting, made)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="for a test mode key"):
        spend(client(sandbox, "live"), code)
    sandbox.control("clock", advance_seconds=301)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="expired"):
        spend(connecting, code)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="does not exist"):
        spend(connecting, "ac_unknown")
    stranger = client_of(sandbox.url, made["keys"]["test"])
    with pytest.raises(stripe.oauth_error.InvalidGrantError):
        spend(stranger, code_for(sandbox, connecting, made))
    with pytest.raises(stripe.oauth_error.UnsupportedGrantTypeError):
        connecting.oauth.token({"grant_type": "password"})  # type: ignore[typeddict-item]
    json_body = requests.post(
        f"{sandbox.url}/oauth/token",
        json={"code": code},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=10,
    )
    assert json_body.status_code == 400
    with pytest.raises(stripe.PermissionError):
        sandbox.client.customers.list({}, on(made))


def test_connected_live_is_for_both_modes(sandbox: Sandbox) -> None:
    """The token is of live mode; test keys reach the account's test mode."""
    made, connecting = account(sandbox, connected=None), client(sandbox, "live")
    token = spend(connecting, code_for(sandbox, connecting, made))
    assert token.livemode is True
    live: Any = connecting.v1
    assert live.customers.create({}, on(made)).livemode is True
    assert sandbox.client.customers.list({}, on(made)).data == []


def test_the_platform_lets_go(sandbox: Sandbox) -> None:
    """Once; what is not connected, is in its hands, or is another application's, is refused."""
    made, connecting = account(sandbox), client(sandbox)
    gone = connecting.oauth.deauthorize({"stripe_user_id": made["id"]})
    assert gone.stripe_user_id == made["id"]
    for params in ({"stripe_user_id": made["id"]}, {"client_id": "ca_x", "stripe_user_id": "a"}):
        with pytest.raises(stripe.oauth_error.InvalidClientError):
            connecting.oauth.deauthorize(params)  # type: ignore[arg-type]
    assert own(sandbox, made).customers.list().data == []
    kept = account(sandbox, controlled="platform")
    # The library has no exception for this word, and trips over it: AttributeError.
    found = requests.get(f"{sandbox.url}/sandbox/connect", timeout=10).json()
    refused = requests.post(
        f"{sandbox.url}/oauth/deauthorize",
        data={"client_id": found["client_ids"]["test"], "stripe_user_id": kept["id"]},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=10,
    )
    assert refused.json()["error"] == "no_deauth_on_controlled_account"
    assert sandbox.client.customers.list({}, on(kept)).data == []
