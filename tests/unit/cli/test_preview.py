"""`portico preview`: what would have gone to whom, and why, with money and what Stripe did meanwhile."""

from __future__ import annotations

import json
import logging
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from portico.cli.output import JsonDocument
from portico.cli.rpc import Fault
from shared.contracts.rpc.arguments import read_arguments
from shared.contracts.rpc.errors import InvalidArgument
from tests.unit.cli.conftest import FakeServices, Run
from tests.unit.cli.observed import ObservingWorld, charge, mail, paid
from tests.unit.cli.test_stats import Outline


@pytest.fixture
def world(services: FakeServices) -> ObservingWorld:
    return ObservingWorld(services)


def test_it_says_to_whom_why_how_much_and_what_became_of_it(
    run: Run, world: ObservingWorld
) -> None:
    """A row each, over pages, by the name that the portal knows; with totals."""
    world.mails = [
        mail(1),
        mail(2, kind="payment_reminder", invoice=paid()),
        mail(3, kind="collection_ended", invoice={"status": "void"}),
    ]
    world.charges = [charge(2, invoice_status="paid", amount_paid=14900)]
    told = run("preview", "--since", "2026-11-20").stdout
    assert re.search(
        r"Maria Lopez \(m•••@e•••\.com\) +A payment failed +\$149\.00 +still open +PAYF-1", told
    )
    assert re.search(r"Joe Park .* Reminder: still unpaid +\$149\.00 +paid +PAYF-2", told)
    assert re.search(r"sunrise \(about Ann Lee\) .* voided +PAYF-3", told)
    assert "3 emails about 3 customers: $447.00" in told
    assert "1 charge to a new payment method: $149.00" in told
    assert "1 paid ($149.00), 1 voided ($149.00), 1 still open ($149.00)" in told


class OldArguments(msgspec.Struct, kw_only=True):
    """What a notifier takes that lists one business at a time."""

    business_id: str
    limit: int = 100
    starting_after: str | None = None


@pytest.mark.parametrize("pages_of_new_ones", [0, 1, 2])
def test_in_a_roll_it_asks_for_one_business_after_the_other(
    run: Run, world: ObservingWorld, services: FakeServices, pages_of_new_ones: int
) -> None:
    """A notifier of the release before lists no others, and may be asked at any page: each email is told once all the same."""
    world.modes = {"moon": "observe", "sunrise": "observe", "tide": "live"}
    owners = ["moon", "moon", "moon", "sunrise", "sunrise"]
    world.mails = [mail(number, business_id=owner) for number, owner in enumerate(owners)]
    new = services.answers["notifier", "observed"]
    pages = 0

    def either(**given: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages > pages_of_new_ones:
            try:
                read_arguments(given, OldArguments)
            except InvalidArgument as error:
                raise Fault("InvalidArgument", str(error)) from None
        return new(**given)

    services.answers["notifier", "observed"] = either
    told = json.loads(run("preview", "--json").stdout)["notifications"]
    assert [one["notification_id"] for one in told] == [f"ntf_{number}" for number in range(5)]


def test_money_of_an_invoice_counts_once(run: Run, world: ObservingWorld) -> None:
    """However many emails are about it; currencies are not added up."""
    again = {"invoice_id": "in_1", "stripe_customer_id": "cus_1"}
    yen = {"currency": "jpy", "amount_due": 500, "amount_remaining": 500}
    world.mails = [mail(1), mail(2, kind="payment_reminder", **again), mail(3, invoice=yen)]
    totals = json.loads(run("preview", "--json").stdout)["totals"]
    assert (totals["mails"], totals["customers"], totals["owed"]["invoices"]) == (3, 2, 2)
    assert totals["owed"]["amounts"] == {
        "jpy": {"total": 500, "still open": 500},
        "usd": {"total": 14900, "still open": 14900},
    }


def test_what_a_credit_note_emptied_is_forgiven_and_not_paid(
    run: Run, world: ObservingWorld
) -> None:
    """Stripe calls both of them paid. What was forgiven counts with its amount, though nothing is asked for any more."""
    credited = paid(0) | {"amount_due": 0, "amount_credited": 14900}
    world.mails = [mail(1, invoice=credited), mail(2, invoice=paid())]
    told = json.loads(run("preview", "--json").stdout)
    assert [one["meanwhile"] for one in told["notifications"]] == ["forgiven", "paid"]
    amounts = told["totals"]["owed"]["amounts"]["usd"]
    assert amounts == {"total": 29800, "paid": 14900, "forgiven": 14900}


def test_of_what_is_paid_in_parts_the_rest_is_open(run: Run, world: ObservingWorld) -> None:
    """That is what an email would ask for. Of one that was paid elsewhere Stripe may name no amount: what it asked for came in."""
    part = {"amount_paid": 10000, "amount_remaining": 4900}
    world.mails = [
        mail(1, invoice=part),
        mail(2, invoice=part | {"status": "uncollectible"}),
        mail(3, invoice=paid(0) | {"amount_due": 7450}),
    ]
    totals = json.loads(run("preview", "--json").stdout)["totals"]
    assert totals["owed"]["amounts"]["usd"] == {
        "total": 17250,
        "paid": 7450,
        "written off": 4900,
        "still open": 4900,
    }


def test_an_email_about_no_invoice_and_a_customer_whom_nobody_knows_are_told_too(
    run: Run, world: ObservingWorld
) -> None:
    """By the id that there is; a kind of a later release by its own words."""
    world.mails = [
        mail(9, kind="a_later_kind", invoice_id=None) | {"invoice": None},
        mail(8, stripe_customer_id=None, customer_id=None),
    ]
    told = run("preview").stdout
    assert re.search(r"cus_9 +a later kind", told)
    assert "nobody who is known" in told


def test_an_address_is_masked_unless_it_is_asked_for(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """Whoever only looks at what would go needs no address."""
    world.mails = [mail(1)]
    assert "maria@example.com" not in run("preview").stdout
    assert "maria@example.com" in run("preview", "--addresses").stdout
    asked = [
        given.get("addresses") for _, method, given in services.asked if method == "recipients"
    ]
    assert asked == [None, True]


def test_one_business_is_asked_for_by_its_id(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """Charges are told by account: those of another business's customers are left out; all businesses are asked without --business."""
    world.modes["moon"] = "live"
    world.owners["cus_2"] = "moon"
    world.mails = [mail(1), mail(2, business_id="moon")]
    world.charges = [charge(1), charge(2), charge(3)]
    one = json.loads(run("preview", "--business", "sunrise", "--json").stdout)
    assert [row["notification_id"] for row in one["notifications"]] == ["ntf_1"]
    assert [row["change_id"] for row in one["charges"]] == ["chg_1", "chg_3"]
    every = json.loads(run("preview", "--json").stdout)
    assert [row["notification_id"] for row in every["notifications"]] == ["ntf_2", "ntf_1"]
    assert len(every["charges"]) == 3
    unknown = run("preview", "--business", "nowhere")
    assert (unknown.exit_code, unknown.stdout) == (1, "")


@pytest.mark.whole
def test_a_thousand_businesses_are_a_few_calls(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """As many as there are pages of what was observed, however many businesses it is of."""
    world.limit = 200
    world.modes = {f"b{number}": "observe" for number in range(1000)}
    world.mails = [mail(number, business_id=f"b{number}") for number in range(1000)]
    assert len(json.loads(run("preview", "--json").stdout)["notifications"]) == 1000
    asked = [method for _, method, _ in services.asked]
    assert asked.count("observed") == 5
    assert len(asked) < 12


def test_the_customers_of_a_page_are_asked_for_by_account(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """Two accounts may have a customer of one id."""
    world.limit = 10
    world.mails = [mail(1), mail(2), mail(3, account="acct_1", on_behalf_of="acct_2")]
    assert run("preview").exit_code == 0
    asked = [given for _, method, given in services.asked if method == "recipients"]
    assert asked == [
        {"customers": ["cus_1", "cus_2"]},
        {"customers": ["cus_3"], "account": "acct_1", "on_behalf_of": "acct_2"},
    ]


def test_people_see_the_first_rows_and_how_many_more_there_are(
    run: Run, world: ObservingWorld
) -> None:
    """A terminal is no place for thousands."""
    world.limit = 500
    world.mails = [mail(number) for number in range(40)]
    told = run("preview").stdout
    assert told.count("A payment failed") == 1 + 30
    assert "and 10 more: --html or --json shows all" in told


def test_nothing_observed_is_said(run: Run, world: ObservingWorld) -> None:
    """In words, with 0: it is no bad news."""
    found = run("preview")
    assert (found.exit_code, "Nothing: nobody was observed" in found.stdout) == (0, True)


@pytest.mark.whole
def test_memory_stays_flat(
    run: Run,
    world: ObservingWorld,
    services: FakeServices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are written into the page and the document as they come: what is held of one is what its customer and its invoice take to
    be counted once."""
    count = 0

    def page(starting_after: str | None = None, **_: Any) -> Any:
        start = int(starting_after.removeprefix("ntf_")) + 1 if starting_after else 0
        end = min(start + 100, count)
        services.asked.clear()
        return {"notifications": [mail(n) for n in range(start, end)], "has_more": end < count}

    def most(rows: int) -> int:
        nonlocal count
        count = rows
        words = ["preview", "--json", "--html", str(tmp_path / "preview.html")]
        with open(os.devnull, "w") as nowhere, monkeypatch.context() as patched:
            patched.setattr(JsonDocument, "_write", lambda _, text: nowhere.write(text))
            tracemalloc.start()
            run(*words)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    services.answers["notifier", "observed"] = page
    most(100)
    assert (most(1500) - most(500)) / 1000 < 500


def test_the_page_is_one_file_for_you_alone(
    run: Run, world: ObservingWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It needs nothing else, shows every row, and is readable by nobody else, even where a file was there before. Nothing of it is in
    a log."""
    caplog.set_level(logging.DEBUG)
    world.mails = [mail(number % 3 + 1, notification_id=f"ntf_{number}") for number in range(50)]
    world.charges = [charge(1)]
    file = tmp_path / "preview.html"
    file.write_text("old")
    file.chmod(0o644)
    found = run("preview", "--business", "sunrise", "--html", str(file))
    assert f"written: {file}" in found.stderr
    html = file.read_text()
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert not outline.tags & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?://", html)
    assert html.count("A payment failed</td>") == 50
    assert "Sunrise: what would have gone out" in html
    assert "A new payment method was set" in html
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Maria" not in caplog.text


def test_no_text_of_the_answer_becomes_markup(
    run: Run, world: ObservingWorld, tmp_path: Path
) -> None:
    """A customer may call themselves what they like, and an account its invoices."""
    hostile = '"><script>x</script>'
    world.names["cus_1"] = hostile
    world.mails = [mail(1, kind=hostile, invoice={"number": hostile, "currency": hostile[:3]})]
    file = tmp_path / "preview.html"
    run("preview", "--html", str(file))
    html = file.read_text()
    assert "<script" not in html.lower()
    assert html.lower().count("&lt;script&gt;") >= 3


def test_a_page_that_can_not_be_written_is_said_before_anything_is_read(
    run: Run, world: ObservingWorld, services: FakeServices, tmp_path: Path
) -> None:
    """Exit code 2, and no question."""
    found = run("preview", "--html", str(tmp_path))
    assert (found.exit_code, services.asked) == (2, [])


def test_a_page_stands_without_any_row(run: Run, world: ObservingWorld, tmp_path: Path) -> None:
    """It says so."""
    file = tmp_path / "preview.html"
    run("preview", "--html", str(file))
    assert "Nobody would have been written to" in file.read_text()


def test_the_old_page_stays_when_a_service_ends_half_way(
    run: Run, world: ObservingWorld, services: FakeServices, tmp_path: Path
) -> None:
    """Half of what would have gone looks like all of it; nor is the JSON a document then."""
    world.mails = [mail(1)]
    del services.answers["billing", "observed_charges"]
    file = tmp_path / "preview.html"
    file.write_text("old")
    found = run("preview", "--html", str(file), "--json")
    assert (found.exit_code, file.read_text()) == (3, "old")
    with pytest.raises(json.JSONDecodeError):
        json.loads(found.stdout)
