"""`portico stripe import`."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from portico.cli import waiting
from portico.cli.rpc import Fault
from portico.commands import stripe_import
from shared.contracts.rpc.imports import HELD
from tests.unit.cli.conftest import FakeServices, Run

PLAN = {
    "livemode": False,
    "lacking": [],
    "customers": 250,
    "subscriptions": 90,
    "invoices": 12,
    "reads": 5,
    "pool": 10_000,
    "pool_used": 640,
    "own_key": False,
    "unfinished": None,
}
FOUND = [
    {"stripe_customer_id": "cus_1", "findings": ["no_email"]},
    {"stripe_customer_id": "cus_2", "findings": ["long_name", "same_email"]},
    {"stripe_customer_id": "cus_3", "findings": ["same_email"]},
]


def progress(what: str, customers: int, **given: Any) -> dict[str, Any]:
    return {
        "what": what,
        "customers": customers,
        "subscriptions": 0,
        "invoices": 0,
        "events": customers,
        "reads": customers // 100,
        "wait": 0.0,
        "held": None,
    } | given


@pytest.fixture(autouse=True)
def stripe(services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """A billing that imports 250 customers in three pages."""
    pages = [progress("customers", 100), progress("subscriptions", 250), progress("done", 250)]
    asked = {"count": 0}

    def page(**_: Any) -> dict[str, Any]:
        asked["count"] += 1
        return pages[(asked["count"] - 1) % 3]

    services.answers["billing", "import_plan"] = PLAN
    services.answers["billing", "import_page"] = page
    services.answers["billing", "import_findings"] = lambda after="", **_: [
        one for one in FOUND if str(one["stripe_customer_id"]) > after
    ][: stripe_import.PAGE]


def test_what_it_costs_is_told_and_asked_before(run: Run, services: FakeServices) -> None:
    """Without a yes nothing is imported."""
    result = run("stripe", "import", input="n\n")
    assert result.exit_code != 0
    assert (
        "about 5 reads of the month's allowance of 10,000, of which 640 are used" in result.stderr
    )
    assert {method for _, method, _ in services.asked} == {"import_plan"}


def test_a_report_that_can_not_be_written_is_told_before_anything_is_read(
    run: Run, services: FakeServices, tmp_path: Path
) -> None:
    """An import of an hour whose findings nobody gets is no good: the folder is looked for first."""
    result = run("stripe", "import", "--yes", "--report", str(tmp_path / "nowhere" / "x.csv"))
    assert (result.exit_code, services.asked) == (2, [])
    assert "there is no such folder" in " ".join(result.stderr.replace("│", " ").split())


def test_all_is_imported_and_told(
    run: Run, services: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts, and of whom there is something to tell; each of these a line of the report, whatever the size of a page."""
    monkeypatch.setattr(stripe_import, "PAGE", 2)
    file = tmp_path / "report.csv"
    result = run("stripe", "import", "--yes", "--report", str(file))
    assert result.exit_code == 0, result.output
    assert "own account: 250 customers" in result.stdout
    assert "2 share an email address with another" in result.stdout
    rows = list(csv.reader(file.read_text().splitlines()))
    assert rows[0] == ["account", "stripe_customer_id", "finding"]
    assert rows[1:] == [
        ["", "cus_1", "no_email"],
        ["", "cus_2", "long_name"],
        ["", "cus_2", "same_email"],
        ["", "cus_3", "same_email"],
    ]
    holders = {given["holder"] for _, method, given in services.asked if method == "import_page"}
    assert len(holders) == 1


def test_json_has_each_account(run: Run, services: FakeServices) -> None:
    """All that are served, the own one first."""
    theirs = {"account": "acct_1", "way": "connected", "state": "connected", "livemode": False, "served": True}  # fmt: skip
    services.answers["billing", "stripe_accounts"] = {
        "accounts": [theirs, theirs | {"account": "acct_2", "served": False}],
        "has_more": False,
    }
    told = json.loads(run("stripe", "import", "--all", "--yes", "--json").stdout)
    assert [(one["account"], one["customers"]) for one in told] == [("", 250), ("acct_1", 250)]
    assert told[0]["findings"] == {"no_email": 1, "long_name": 1, "same_email": 2}
    named = [given.get("account") for _, method, given in services.asked if method == "import_plan"]
    assert named == [None, "acct_1"]


def test_of_all_accounts_one_that_can_not_be_read_stops_no_other(
    run: Run, services: FakeServices
) -> None:
    """Its key lacks a right, Stripe refuses it, or it is shut out half-way: told, left out, and the end is 1."""
    theirs = {"way": "connected", "state": "connected", "livemode": False, "served": True}
    names = ["acct_lacks", "acct_refused", "acct_leaves", "acct_well"]
    services.answers["billing", "stripe_accounts"] = {
        "accounts": [theirs | {"account": name} for name in names],
        "has_more": False,
    }
    page = services.answers["billing", "import_page"]

    def plan(account: str = "", **_: Any) -> dict[str, Any]:
        if account == "acct_refused":
            raise Fault("StripeRefused", "Stripe refuses the key: account_invalid")
        return PLAN | {"lacking": ["invoices"] if account == "acct_lacks" else []}

    def pages(account: str = "", **given: Any) -> Any:
        if account == "acct_leaves":
            raise Fault("InvalidArgument", "account: it is disconnected")
        return page(**given)

    services.answers["billing", "import_plan"] = plan
    services.answers["billing", "import_page"] = pages
    result = run("stripe", "import", "--all", "--yes", "--json")
    assert [one["account"] for one in json.loads(result.stdout)] == ["", "acct_well"]
    assert result.exit_code == 1
    for told in ("acct_lacks: the key may not read invoices", "acct_refused: Stripe refuses the key"):  # fmt: skip
        assert told in result.stderr
    assert "left out: acct_lacks, acct_refused, acct_leaves;" in result.stderr
    services.answers["billing", "import_plan"] = PLAN | {"lacking": ["customers"]}
    assert run("stripe", "import", "--all").exit_code == 1


def test_a_right_that_is_missing_is_named_before_anything_is_imported(
    run: Run, services: FakeServices
) -> None:
    """What to do about it, too."""
    services.answers["billing", "import_plan"] = PLAN | {"lacking": ["customers", "invoices"]}
    result = run("stripe", "import", "--yes")
    assert result.exit_code == 1
    assert "may not read customers, invoices: give it these rights" in result.stderr
    assert {method for _, method, _ in services.asked} == {"import_plan"}


def refused(until: int) -> Fault:
    return Fault(
        "ImportRunning", f"an import of this account is under way; go on after 10:00:{until}"
    )


def test_the_second_of_two_says_so(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And until when, as billing tells it. That the end moves on tells a living one from one that was killed."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0)
    ends = itertools.count(10)

    def refuse(**_: Any) -> Any:
        raise refused(next(ends))

    services.answers["billing", "import_page"] = refuse
    result = run("stripe", "import", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "own account: an import of this account is under way; go on after 10:00:10" in (
        result.stderr
    )
    assert next(ends) == 13


def test_one_that_was_killed_is_waited_out_and_gone_on_with(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end stands, or is moved once by the page that a service was at; what is waited for is said once."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0)
    refusals = [refused(30), refused(30), refused(5), refused(5)]
    page = services.answers["billing", "import_page"]

    def answer(**given: Any) -> Any:
        if refusals:
            raise refusals.pop(0)
        return page(**given)

    services.answers["billing", "import_page"] = answer
    result = run("stripe", "import", "--yes")
    assert result.exit_code == 0
    assert result.stderr.count("waiting for that") == 1
    assert "go on after 10:00:30; waiting for that" in result.stderr


def test_one_that_is_taken_over_ends(run: Run, services: FakeServices) -> None:
    """It stood still for too long, and another one is at work: it does not come back to begin anew."""
    pages = [progress("customers", 100)]

    def answer(**_: Any) -> Any:
        if pages:
            return pages.pop(0)
        raise Fault("ImportRunning", "another one has taken this import over")

    services.answers["billing", "import_page"] = answer
    result = run("stripe", "import", "--yes")
    assert (result.exit_code, "taken this import over" in result.stderr) == (1, True)


def test_what_it_waits_for_is_told_once_it_has_waited_long(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in a time without a page, and again in the next; each way to be held has its words."""
    monkeypatch.setattr(stripe_import, "HELD_SECONDS", 0.0)
    pages = [
        progress("customers", 0, held="live_work"),
        progress("customers", 0, held="live_work"),
        progress("customers", 100),
        progress("customers", 100, held="outbox"),
        progress("done", 250),
    ]
    services.answers["billing", "import_page"] = lambda **_: pages.pop(0)
    result = run("stripe", "import", "--yes")
    assert result.exit_code == 0
    assert result.stderr.count("live work has taken") == 1
    assert result.stderr.count("events wait in billing's outbox") == 1
    assert set(stripe_import.HELD) == set(HELD)


def test_it_waits_as_long_as_it_is_told(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says where it goes on."""
    waited: list[float] = []
    monkeypatch.setattr("portico.commands.stripe_import.time.sleep", waited.append)
    pages = [progress("customers", 100, wait=7.0), progress("done", 250)]
    services.answers["billing", "import_page"] = lambda **_: pages.pop(0)
    services.answers["billing", "import_plan"] = PLAN | {"unfinished": progress("customers", 100)}
    result = run("stripe", "import", "--yes")
    assert waited == [7.0]
    assert "goes on where it was, after 100 customers" in result.stderr


def test_what_is_left_of_the_allowance_may_be_too_little(run: Run, services: FakeServices) -> None:
    """Then that is said before the question."""
    services.answers["billing", "import_plan"] = PLAN | {"pool_used": 9_990}
    assert "more than is left" in run("stripe", "import", input="n\n").stderr


def test_an_account_and_all_are_not_given_together(run: Run) -> None:
    """One of them."""
    assert run("stripe", "import", "--all", "--account", "acct_1").exit_code == 2


def test_one_of_a_thing_is_told_as_one(run: Run, services: FakeServices) -> None:
    """Before an import and after it."""
    counts = {"customers": 1, "subscriptions": 1, "invoices": 1, "reads": 1}
    services.answers["billing", "import_plan"] = PLAN | counts
    result = run("stripe", "import", input="n\n")
    assert "about 1 customer, 1 subscription, 1 open invoice. " in result.stderr
    assert "about 1 read of the month's allowance" in result.stderr
