"""`portico stripe connect`, `accounts` and `disconnect`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portico.cli.rpc import Fault
from tests.unit.cli.conftest import FakeServices, Run, golden

THEIRS = {"account": "acct_1", "way": "connected", "state": "restricted", "livemode": True, "served": True, "reads": 1200}  # fmt: skip
OWN_KEY = {"account": "acct_2", "way": "own_key", "state": "connected", "livemode": True, "served": True, "reads": 7}  # fmt: skip
GONE = {"account": "acct_3", "way": None, "state": "disconnected", "livemode": None, "served": False, "reads": None}  # fmt: skip


def owner(business_id: str, account: str) -> dict[str, Any]:
    return {"business_id": business_id, "name": business_id.title(), "account": account}


def test_the_link_alone_is_on_standard_output(run: Run, services: FakeServices) -> None:
    """It is a secret, for a script or a person to hand on; until when it works is said beside it."""
    services.answers["portal", "begin_connecting"] = {}
    result = run("stripe", "connect", "--business", "sunrise")
    url = golden("portal", "begin_connecting")["url"]
    assert (result.exit_code, result.stdout) == (0, f"{url}\n")
    assert "it works until" in result.stderr
    assert url not in result.stderr
    assert services.asked == [("portal", "begin_connecting", {"business_id": "sunrise"})]
    told = json.loads(run("stripe", "connect", "--business", "sunrise", "--json").stdout)
    assert told["url"] == url


def test_accounts_are_listed_with_whose_they_are(run: Run, services: FakeServices) -> None:
    """Each with its business, its state, and the way in which Portico acts on it; page by page."""
    pages = {
        None: {"accounts": [THEIRS, OWN_KEY], "has_more": True},
        "acct_2": {"accounts": [GONE], "has_more": False},
    }
    services.answers["billing", "stripe_accounts"] = lambda after=None, limit=0: pages[after]
    services.answers["portal", "business_accounts"] = lambda accounts=(), **_: [
        one
        for one in (owner("sunrise", "acct_1"), owner("alder", "acct_2"), owner("birch", "acct_2"))
        if one["account"] in accounts
    ]
    result = run("stripe", "accounts")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines() if "acct_" in line]
    assert rows == [
        ["acct_1", "restricted", "connected", "live", "yes", "1,200", "sunrise"],
        ["acct_2", "connected", "own_key", "live", "yes", "7", "alder,", "birch"],
        ["acct_3", "disconnected", "–", "–", "no", "–", "none"],
    ]
    told = json.loads(run("stripe", "accounts", "--json").stdout)
    assert [(one["account"], one["businesses"]) for one in told] == [
        ("acct_1", ["sunrise"]),
        ("acct_2", ["alder", "birch"]),
        ("acct_3", []),
    ]


def test_without_accounts_nothing_is_asked_of_the_portal(run: Run, services: FakeServices) -> None:
    """And that is said."""
    services.answers["billing", "stripe_accounts"] = {"accounts": [], "has_more": False}
    result = run("stripe", "accounts")
    assert result.stdout == "No accounts beside the installation's own.\n"
    assert [service for service, *_ in services.asked] == ["billing"]


@pytest.mark.parametrize("words", [["acct_1"], ["--business", "sunrise"]])
@pytest.mark.parametrize(("fresh", "said"), [(True, "is disconnected"), (False, "was disconnected already")])  # fmt: skip
def test_an_account_is_let_go_by_its_name_or_its_businesss(
    run: Run, services: FakeServices, words: list[str], fresh: bool, said: str
) -> None:
    """Twice is once."""
    services.answers["portal", "business_accounts"] = [owner("sunrise", "acct_1")]
    services.answers["billing", "disconnect_account"] = {"account": "acct_1", "fresh": fresh}
    result = run("stripe", "disconnect", *words, "--yes")
    assert (result.exit_code, result.stdout) == (0, f"acct_1 {said}\n")
    assert services.asked[-1] == ("billing", "disconnect_account", {"account": "acct_1"})


def test_nothing_is_let_go_without_a_yes(run: Run, services: FakeServices) -> None:
    """What it means is asked first; no answer is a no."""
    result = run("stripe", "disconnect", "acct_1")
    assert result.exit_code != 0
    assert services.asked == []


def test_a_business_on_the_own_account_has_none_to_let_go(run: Run, services: FakeServices) -> None:
    """A usage error, and nothing is asked of billing."""
    services.answers["portal", "business_accounts"] = [owner("sunrise", "")]
    result = run("stripe", "disconnect", "--business", "sunrise", "--yes")
    assert result.exit_code == 2
    assert "on the installation's own account" in " ".join(result.stderr.split())
    assert [service for service, *_ in services.asked] == ["portal"]


@pytest.mark.parametrize("kind", ["AccountControlled", "AccountNotConnected"])
def test_what_stripe_keeps_is_told(run: Run, services: FakeServices, kind: str) -> None:
    """With why, and an exit code that a script sees."""

    def refuse(**_: Any) -> None:
        raise Fault(kind, "the platform controls it")

    services.answers["billing", "disconnect_account"] = refuse
    result = run("stripe", "disconnect", "acct_1", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "acct_1: the platform controls it" in result.stderr
