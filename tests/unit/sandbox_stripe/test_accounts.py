"""Accounts side by side: one clock, one state file, and events that say whose they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

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
