"""`portico customers proposals`, `accept` and `refuse`."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.unit.cli.conftest import FakeServices, golden

Run = Callable[..., Result]
ADA = golden("portal", "link_proposals")["proposals"][0]
BO = golden("portal", "link_proposals")["proposals"][1]
NOBODY = {
    **BO,
    "stripe_customer_id": "cus_none",
    "email": None,
    "standing": "no_email",
    "doubt": None,
    "candidates": [],
    "enrolled_as": None,
}


@pytest.fixture(autouse=True)
def _listed(services: FakeServices) -> None:
    def page(after: str, **_: Any) -> Any:
        if after:
            return {"proposals": [NOBODY], "next": None}
        return {"proposals": [ADA, BO], "next": "cus_bo"}

    services.answers["portal", "link_proposals"] = page


def test_the_list_says_who_is_asked_about_and_that_nobody_verified_it(run: Run) -> None:
    """All pages; proposals first, what is ambiguous with why, and how many can't be enrolled. Ends with 1: somebody has to decide."""
    result = run("customers", "proposals", "--business", "sunrise")
    assert result.exit_code == 1
    assert ADA["proposal_id"] in result.stdout
    assert "ada@example.com (address not verified by Stripe)" in result.stdout
    assert (
        "cus_bo  ambiguous, the customer is linked with another Stripe customer: 2002"
        in result.stdout
    )
    assert "1 Stripe customer without an email address at Stripe\n  cus_none" in result.stdout
    found = json.loads(run("customers", "proposals", "--business", "sunrise", "--json").stdout)
    assert [one["stripe_customer_id"] for one in found] == ["cus_ada", "cus_bo", "cus_none"]


def test_of_very_many_who_can_not_be_enrolled_the_first_are_named(
    run: Run, services: FakeServices
) -> None:
    """The terminal is no place for thousands; it says where all of them are."""
    many = [{**NOBODY, "stripe_customer_id": f"cus_{number:03}"} for number in range(22)]
    services.answers["portal", "link_proposals"] = {"proposals": many, "next": None}
    shown = run("customers", "proposals", "--business", "sunrise").stdout
    assert "22 Stripe customers without an email address at Stripe" in shown
    assert ("cus_019" in shown, "cus_020" in shown) == (True, False)
    assert "and 2 more: --csv or --json names all" in shown


def test_a_file_of_them_can_be_accepted(run: Run, services: FakeServices, tmp_path: Path) -> None:
    """It is readable for its maker alone, no cell is a formula, and what is taken of it are the lines with a proposal."""
    file = tmp_path / "proposals.csv"
    ADA["name"] = "=cmd()"
    run("customers", "proposals", "--business", "sunrise", "--csv", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [one["standing"] for one in lines] == ["proposed", "ambiguous", "no_email"]
    assert lines[0]["stripe_name"] == "'=cmd()"
    assert run("customers", "proposals", "--business", "sunrise", "--csv", str(file)).exit_code == 2
    services.answers["portal", "accept_proposals"] = {"decided": [ADA["proposal_id"]], "left": []}
    result = run("customers", "accept", "--file", str(file))
    assert (result.exit_code, result.stdout) == (0, "1 decided, 0 left\n")
    (asked,) = [given for _, method, given in services.asked if method == "accept_proposals"]
    assert asked["proposal_ids"] == [ADA["proposal_id"]]
    assert " on " in asked["decided_by"]


def test_what_is_left_is_told_and_ends_with_1(
    run: Run, services: FakeServices, tmp_path: Path
) -> None:
    """Ids by hand and of a plain list, each once, a hundred in a call."""
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(f"cus_{number}:x" for number in range(150)) + "\n\n")

    def answer(proposal_ids: list[str], **_: Any) -> Any:
        left = [{"proposal_id": proposal_ids[0], "error": "it has changed"}]
        return {"decided": proposal_ids[1:], "left": left}

    services.answers["portal", "refuse_proposals"] = answer
    result = run("customers", "refuse", "cus_0:x", "--file", str(file))
    assert result.exit_code == 1
    assert (
        result.stdout == "cus_0:x: it has changed\ncus_100:x: it has changed\n148 decided, 2 left\n"
    )
    assert run("customers", "refuse").exit_code == 2
