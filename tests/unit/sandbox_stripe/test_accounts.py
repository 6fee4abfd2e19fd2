"""Accounts side by side: one clock, one state file, and events that say whose they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sandbox.config import BadSetting, configure
from sandbox.stripe_api import StripeError
from sandbox.stripe_api.api import AccountApi
from sandbox.stripe_api.places import ACCOUNT, Place
from tests.unit.sandbox_stripe.conftest import DAY, Stripe, build

EARLIER = """
CREATE TABLE objects (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE answers (key TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, body BLOB NOT NULL);
"""


def other(stripe: Stripe, livemode: bool = False, **given: Any) -> AccountApi:
    """The API of a new account."""
    made = stripe.post("/sandbox/accounts", **given)["accounts"][0]["id"]
    return stripe.world.at(Place(made, livemode))


def subscribed(world: AccountApi) -> dict[str, Any]:
    """A subscription on autopay."""
    return Stripe(world, None).subscription(Stripe(world, None).customer("pm_card_visa"))  # type: ignore[arg-type]


def test_one_clock_for_all(stripe: Stripe) -> None:
    """What falls due is done in the order of time, wherever it is; test clocks stay one account's."""
    here, there = subscribed(stripe.world), subscribed(other(stripe))
    stripe.events.clear()
    stripe.world.advance(40 * DAY)
    paid = [e for e in stripe.events if e["type"] == "invoice.paid"]
    of = [e["data"]["object"]["parent"]["subscription_details"]["subscription"] for e in paid]
    assert of == [here["id"], there["id"]]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Accounts, keys, connections, objects of both modes, what falls due, answers to idempotency keys."""
    path = str(tmp_path / "state")
    first = build(state_path=path)
    world = other(first, livemode=True, connected="live", name="Sunrise", keys=True)
    key = first.world.engine.directory.make_key(world.place)["id"]
    subscription = subscribed(world)
    answer = world.call("POST", "/v1/customers", {"name": "Ada"}, "once")
    first.post("/sandbox/connect", redirect_uris=["https://portico.example/back"])
    first.world.stop()

    second = build(state_path=path)
    again = second.world.at(world.place)
    assert again.business_name == "Sunrise"
    assert again.call("POST", "/v1/customers", {"name": "Ada"}, "once") == answer
    directory = second.world.engine.directory
    assert directory.connection(world.place.account) == "live"
    assert (directory.key(key) or {})["account"] == world.place.account
    assert directory.redirect_uris == ["https://portico.example/back"]
    second.world.advance(40 * DAY)
    found = again.call("GET", "/v1/invoices", {"subscription": subscription["id"]})["data"]
    assert len(found) == 2
    assert second.get("/v1/invoices")["data"] == []
    second.world.stop()


def test_a_state_file_of_before_opens(tmp_path: Path) -> None:
    """What it holds is the first account's; the order, the answers and the clock stay."""
    path = tmp_path / "state"
    made = build(state_path=str(path))
    customers = [made.customer() for _ in range(2)]
    made.world.call("POST", "/v1/customers", {"name": "Ada"}, "once")
    made.world.advance(DAY // 2)
    made.world.stop()
    before = sqlite3.connect(path)
    rows = {
        table: before.execute(f"SELECT {columns} FROM {table} WHERE account = ''").fetchall()
        for table, columns in (
            ("objects", "id, seq, body"),
            ("answers", "key, body"),
            ("settings", "name, body"),
        )
    }
    for table in rows:
        before.execute(f"DROP TABLE {table}")
    before.executescript(EARLIER)
    for table, found in rows.items():
        marks = ", ".join("?" * len(found[0]))
        before.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
    before.commit()
    before.close()

    after = build(state_path=str(path))
    assert after.world.now() == made.world.now()
    ada = after.world.call("POST", "/v1/customers", {"name": "Ada"}, "once")["id"]
    listed = [one["id"] for one in after.get("/v1/customers")["data"]]
    assert listed == [ada, customers[1], customers[0]]
    other(after, name="Sunrise")
    after.world.stop()
    again = build(state_path=str(path))
    assert again.get("/sandbox/accounts", q="sunr")["count"] == 1
    again.world.stop()


def test_a_platforms_own_objects_have_no_maker(stripe: Stripe) -> None:
    """What an account makes itself names no application, and the first account stays as it was."""
    assert subscribed(stripe.world)["application"] is None
    assert stripe.get("/v1/account")["id"] == ACCOUNT
    assert "branding" not in stripe.get("/v1/account")["settings"]
    stripe.post(f"/sandbox/accounts/{ACCOUNT}", color="#0a7d4f")
    shown = stripe.get("/v1/account")["settings"]["branding"]
    assert shown["primary_color"] == "#0a7d4f"


def test_test_clocks_are_an_accounts_own(stripe: Stripe) -> None:
    """The same clock in two accounts: advanced in one, it stands in the other."""
    first = Stripe(other(stripe), stripe.clock)
    clock = first.post("/v1/test_helpers/test_clocks", frozen_time=stripe.world.now())
    first.subscription(first.customer("pm_card_visa", test_clock=clock["id"]))
    twin = Stripe(other(stripe, copy_of=first.world.place.account), stripe.clock)
    until = clock["frozen_time"] + 40 * DAY
    first.post(f"/v1/test_helpers/test_clocks/{clock['id']}/advance", frozen_time=until)
    assert [len(each.get("/v1/invoices")["data"]) for each in (first, twin)] == [2, 1]
    assert twin.get(f"/v1/test_helpers/test_clocks/{clock['id']}") == clock


def test_a_copy_may_have_ids_of_its_own(stripe: Stripe) -> None:
    """The same objects, which name each other as before; not one id is that of the account that was copied."""
    first = Stripe(other(stripe), stripe.clock)
    subscription = first.subscription(first.customer("pm_card_visa"))
    account = first.world.place.account
    copy = Stripe(other(stripe, copy_of=account, new_ids=True), stripe.clock)
    (copied,) = copy.get("/v1/subscriptions")["data"]
    assert copied["id"] != subscription["id"]
    (customer,) = copy.get("/v1/customers")["data"]
    (invoice,) = copy.get("/v1/invoices")["data"]
    assert (copied["customer"], copied["latest_invoice"]) == (customer["id"], invoice["id"])
    ids = [{one["id"] for one in each.world.store.all() if one["object"] != "event"} for each in (first, copy)]  # fmt: skip
    assert ids[0] & ids[1] <= {"unspecified"}
    assert len(ids[0]) == len(ids[1])


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("accounts", {"count": 0}),
        ("accounts", {"count": 2, "id": "acct_1Two"}),
        ("accounts", {"id": ACCOUNT}),
        ("accounts", {"id": "sunrise"}),
        ("accounts", {"color": "orange"}),
        ("accounts", {"name": 1}),
        ("accounts", {"email": 1}),
        ("accounts", {"connected": "yes"}),
        ("accounts", {"colour": "#ffffff"}),
        ("accounts", {"copy_of": "acct_1Unknown"}),
        ("accounts/acct_1Unknown", {"name": "Sunrise"}),
        (f"accounts/{ACCOUNT}/connect", {}),
        (f"accounts/{ACCOUNT}/keys", {"permissions": "rak_customer_read"}),
        (f"accounts/{ACCOUNT}/keys", {"key": "sk_live_0123456789ab"}),
        ("keys/revoke", {"key": "sk_test_unknown"}),
        ("connect", {"any_key": "no"}),
        ("connect", {"redirect_uris": "https://portico.example"}),
        ("limits", {"platform": 0}),
        ("limits", {"accounts": [1]}),
        ("limits", {"colour": 1}),
        ("webhook_endpoints", {"url": "http://127.0.0.1/"}),
    ],
)
def test_controls_refuse_what_makes_no_sense(
    stripe: Stripe, path: str, given: dict[str, Any]
) -> None:
    """Each with a sentence, and nothing is made."""
    with pytest.raises(StripeError, match=r"\w"):
        stripe.world.call("POST", f"/sandbox/{path}", given)
    assert stripe.get("/sandbox/accounts")["count"] == 0


def test_controls_show_what_they_changed(stripe: Stripe) -> None:
    """Name and brand, limits, and counts that begin anew."""
    world = other(stripe, name="Sunrise")
    id = world.place.account
    assert stripe.post(f"/sandbox/accounts/{id}", name="Moonlight")["name"] == "Moonlight"
    assert stripe.get(f"/sandbox/accounts/{id}")["name"] == world.business_name == "Moonlight"
    assert stripe.get("/sandbox/limits") == {
        "platform": None,
        "account": None,
        "endpoint": None,
        "accounts": {},
    }
    cleared = stripe.delete("/sandbox/requests")
    assert (cleared["reads"], cleared["accounts"]) == (0, {})
    with pytest.raises(StripeError):
        stripe.get("/sandbox/accounts", limit="many")


def test_a_platforms_settings_come_from_the_environment() -> None:
    """The Connect endpoint with its secret, never one without the other; and where OAuth may lead back to."""
    url, secret = "http://127.0.0.1:8001/webhooks/stripe", "whsec_1"
    given = {
        "SANDBOX_CONNECT_WEBHOOK_URL": url,
        "SANDBOX_CONNECT_WEBHOOK_SECRET": secret,
        "SANDBOX_REDIRECT_URIS": "http://127.0.0.1:8000/connected, https://portico.example/connected",
    }
    _, config = configure(given)
    assert config.connect_endpoints == ((url, secret),)
    assert config.webhook_endpoints == ()
    made = build(connect_endpoints=config.connect_endpoints, redirect_uris=config.redirect_uris)
    shown = made.get("/sandbox/connect")["redirect_uris"]
    assert shown == ["http://127.0.0.1:8000/connected", "https://portico.example/connected"]
    assert made.get("/v1/webhook_endpoints")["data"][0]["application"].startswith("ca_")
    made.world.stop()
    with pytest.raises(BadSetting, match="SANDBOX_CONNECT_WEBHOOK_SECRET"):
        configure({"SANDBOX_CONNECT_WEBHOOK_URL": url})
