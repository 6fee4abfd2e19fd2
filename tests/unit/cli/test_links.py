"""`portico customers links`: every customer's link in a file that its owner alone reads, and on no screen."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from portico.cli.rpc import Fault, Unavailable
from portico.commands.links import AT_ONCE
from tests.unit.cli.conftest import FakeServices, Run

MANY = 2 * AT_ONCE + 1
PLACE = "https://me.example.com/me/"


@pytest.fixture
def portal(services: FakeServices) -> FakeServices:
    """A portal with many customers, in two pages."""

    def page(after: int, **_: Any) -> Any:
        numbers = range(1, MANY) if after == 0 else range(MANY, MANY + 1)
        return {
            "customers": [
                {
                    "external_id": f"c{number}",
                    "name": "=cmd" if number == 1 else f"Name {number}",
                    "email": f"c{number}@example.com",
                    "locale": None,
                    "customer_id": f"id-{number}",
                }
                for number in numbers
            ],
            "next": 100 if after == 0 else None,
            "total": MANY if after == 0 else None,
        }

    services.answers["portal", "export_customers"] = page
    services.answers["portal", "link"] = lambda customer_id: {
        "customer_id": customer_id,
        "url": PLACE + customer_id,
    }
    return services


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


def test_every_customer_has_a_line_with_the_own_link(
    portal: FakeServices, run: Run, tmp_path: Path
) -> None:
    """Over all pages, in order, each link with its own customer; mode 0600; no link on the screen, but that they are secrets."""
    file = tmp_path / "links.csv"
    done = run("customers", "links", "--business", "harbor", "--csv", str(file))
    assert done.exit_code == 0, done.output
    assert file.stat().st_mode & 0o777 == 0o600
    head, first, *rest = rows(file)
    assert head == ["external_id", "name", "email", "locale", "url"]
    assert first == ["c1", "'=cmd", "c1@example.com", "", f"{PLACE}id-1"]
    assert [(row[0], row[-1]) for row in rest] == [
        (f"c{number}", f"{PLACE}id-{number}") for number in range(2, MANY + 1)
    ]
    assert PLACE not in done.output
    assert f"{MANY:,} links written" in done.stderr
    assert "delete the file" in done.stderr


def test_who_is_erased_meanwhile_is_left_out(
    portal: FakeServices, run: Run, tmp_path: Path
) -> None:
    """The others' links are written all the same."""

    def link(customer_id: str) -> Any:
        if customer_id == "id-2":
            raise Fault("NotFound", "customer_id: no such customer")
        return {"customer_id": customer_id, "url": PLACE + customer_id}

    portal.answers["portal", "link"] = link
    file = tmp_path / "links.csv"
    assert run("customers", "links", "--business", "harbor", "--csv", str(file)).exit_code == 0
    assert [row[0] for row in rows(file)[1:4]] == ["c1", "c3", "c4"]
    assert len(rows(file)) == MANY


def test_half_of_the_links_are_no_file(portal: FakeServices, run: Run, tmp_path: Path) -> None:
    """Where the portal goes away in the middle nothing is left; a file that is there is never written over."""

    def link(customer_id: str) -> Any:
        if customer_id == f"id-{MANY - 1}":
            raise Unavailable("portal.link: no answer")
        return {"customer_id": customer_id, "url": PLACE + customer_id}

    portal.answers["portal", "link"] = link
    file = tmp_path / "links.csv"
    words = ("customers", "links", "--business", "harbor", "--csv", str(file))
    assert run(*words).exit_code == 3
    assert not file.exists()
    file.write_text("mine")
    assert run(*words).exit_code == 2
    assert file.read_text() == "mine"
