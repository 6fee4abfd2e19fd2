"""What an invoice is for: the one rule, and both ways that Stripe's words come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.billing.adapters.stripe.objects import to_invoice
from services.billing.stripe_events.payloads import parse_event
from services.billing.stripe_events.purposes import Line, Lines, Purpose, purpose_of
from services.billing.stripe_events.translation import translate
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.test_stripe_objects import stripe

FIXTURE = Path(__file__).parents[2] / "fixtures" / "stripe" / "invoice.payment_failed.json"
CLEANING = Line(14900, "1 × Weekly home cleaning (at $149.00 / month)")
WINDOWS = Line(4000, "Windows, both floors")


def lines(*given: Line, **more: Any) -> Lines:
    return Lines(given, **more)


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("1 × Weekly home cleaning (at $149.00 / month)", "Weekly home cleaning"),
        ("1 × Fensterreinigung (zu je 149,00 € / Monat)", "Fensterreinigung"),
        ("1 × Deep clean (3 rooms) (at $149.00 / month)", "Deep clean (3 rooms)"),
        ("1 × Deep clean (3 rooms)", "Deep clean (3 rooms)"),
        ("3 × Extra hour (Tier 1 at $30.00 / month)", "3 × Extra hour"),
        ("Trial period for Weekly home cleaning", "Trial period for Weekly home cleaning"),
        ("  Spring\n deep\tclean ", "Spring deep clean"),
        ("2 x 4 timber", "2 x 4 timber"),
        ("Holiday × travel", "Holiday × travel"),
        ("\ufffd", None),
        (" × ", "×"),
        ("y" * 200, "y" * 119 + "…"),
    ],
)
def test_a_line_is_told_by_the_name_in_it(description: str, told: str | None) -> None:
    """Stripe's arithmetic around a product's name is left out, somebody's own words stay, all on one short line."""
    assert purpose_of(lines(Line(100, description))) == Purpose(told)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (lines(CLEANING, WINDOWS, Line(1, "Bags")), Purpose("Weekly home cleaning", 2)),
        (lines(Line(-500, "Unused time"), CLEANING), Purpose("Weekly home cleaning")),
        (lines(Line(0, "Free month")), Purpose("Free month")),
        (lines(CLEANING, CLEANING), Purpose("Weekly home cleaning")),
        (lines(Line(5, None), WINDOWS), Purpose("Windows, both floors")),
        (lines(CLEANING, has_more=True, total_count=12), Purpose("Weekly home cleaning", 11)),
        (lines(CLEANING, has_more=True), Purpose("Weekly home cleaning …")),
        (lines(Line(5, "y" * 200), has_more=True), Purpose("y" * 117 + "… …")),
        (lines(), Purpose()),
    ],
)
def test_several_lines_are_the_first_and_a_number(found: Lines, told: Purpose) -> None:
    """Lines that ask for money count, each text once; where Stripe doesn't say how many more there are, no number is told."""
    assert purpose_of(found) == told


def test_the_memo_speaks_for_lines_that_say_nothing() -> None:
    """An invoice's own description is told where its lines have none."""
    assert purpose_of(lines(Line(5, None)), "Garden, May") == Purpose("Garden, May")
    assert purpose_of(lines(WINDOWS), "Garden, May") == Purpose("Windows, both floors")


def event_with(**changes: Any) -> Any:
    payload = json.loads(FIXTURE.read_text())
    payload["data"]["object"] |= changes
    (outgoing,) = translate(parse_event(json.dumps(payload)), directory=OWN_ALONE).outgoing
    return outgoing.event.data


@pytest.mark.parametrize(
    "broken",
    [None, [], "x", {"data": 7}, {"data": [{"amount": "much"}]}, {"data": [{"description": 5}]}],
)
def test_lines_that_cannot_be_read_keep_no_failure_from_being_told(broken: Any) -> None:
    """A failed payment whose lines are of no known shape is a failed payment: only what it is for stays unknown."""
    data = event_with(lines=broken, description={"not": "a text"})
    assert (data.amount_remaining, data.purpose, data.purpose_more) == (8900, None, 0)


def test_webhook_and_api_say_the_same() -> None:
    """What was heard and what is read later is chosen by one rule."""
    given = {
        "data": [
            {"amount": 14900, "description": CLEANING.description},
            {"amount": 4000, "description": WINDOWS.description},
        ],
        "has_more": False,
    }
    data = event_with(lines=given)
    invoice = json.loads(FIXTURE.read_text())["data"]["object"] | {"lines": given}
    read = to_invoice(stripe(invoice))
    assert (data.purpose, data.purpose_more) == (read.purpose, read.purpose_more)
    assert (read.purpose, read.purpose_more) == ("Weekly home cleaning", 1)
