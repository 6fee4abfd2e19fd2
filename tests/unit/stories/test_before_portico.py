"""What had happened at Stripe before there was a Portico: an import finds it, and what the page then says is so."""

from __future__ import annotations

import pytest

from tests.unit.stories.drawing import ASKS
from tests.unit.stories.house import House
from tests.unit.stories.rows import ACH, FAILED, OPEN, SEPA, TRIES
from tests.unit.stories.steps import (
    BAD_CARD,
    GOOD_CARD,
    Step,
    cancels,
    cancels_at_period_end,
    checks_out,
    collects,
    credits,
    gives_it_up,
    invoice_by_api,
    live,
    loses_the_method,
    new_method,
    next_try,
    opens,
    pays_outside,
    renewal,
    renewal_fails,
    sends_an_invoice,
    tries_by_hand,
    voids,
    wait,
)

ASKED, SILENT = True, False

STORIES: dict[str, tuple[bool, tuple[Step, ...]]] = {
    "declined": (ASKED, (OPEN, FAILED)),
    "declined weeks ago": (ASKED, (OPEN, FAILED, next_try(), wait(days=4))),
    "a lost card": (ASKED, (OPEN, renewal_fails("lost_card"), wait(days=1))),
    "no payment method": (ASKED, (OPEN, loses_the_method, renewal)),
    "the bank wants a confirmation": (ASKED, (OPEN, renewal_fails("authentication_required"))),
    "ended unpaid": (ASKED, (*TRIES, next_try(), wait(days=40))),
    "cancelled": (SILENT, (OPEN, FAILED, cancels, wait(days=40))),
    "cancelled, and collected after all": (
        ASKED,
        (OPEN, FAILED, cancels, wait(hours=1), collects(True), wait(hours=1)),
    ),
    "to end with the period": (ASKED, (OPEN, FAILED, cancels_at_period_end)),
    "collecting switched off": (SILENT, (OPEN, FAILED, collects(False))),
    "collecting switched off for a subscription that was cancelled then": (
        SILENT,
        (OPEN, FAILED, collects(False), cancels),
    ),
    "an invoice made by API": (ASKED, (OPEN, invoice_by_api)),
    "an invoice to be paid by hand": (SILENT, (OPEN, sends_an_invoice, tries_by_hand)),
    "credited in part": (ASKED, (OPEN, FAILED, credits(0.5))),
    "given up": (SILENT, (OPEN, FAILED, gives_it_up)),
    "voided": (SILENT, (OPEN, FAILED, voids)),
    "paid elsewhere": (SILENT, (OPEN, FAILED, pays_outside)),
    "a debit under way": (SILENT, (opens(SEPA), renewal, wait(days=1))),
    "a debit that came back": (ASKED, (opens(ACH), renewal_fails())),
    "left at checkout today": (SILENT, (checks_out(BAD_CARD), wait(hours=3))),
    "left at checkout": (SILENT, (checks_out(BAD_CARD), wait(days=2))),
    "a first debit under way": (SILENT, (checks_out("pm_sepaDebit_failed_de"), wait(hours=30))),
    "a first debit that came back": (ASKED, (checks_out("pm_sepaDebit_failed_de"), wait(days=5))),
}


@pytest.mark.parametrize("name", STORIES)
def test_an_import_asks_for_what_a_new_card_pays(name: str) -> None:
    """The customer is asked for what is collected still, and nothing else; and a new card pays just that."""
    asked, before = STORIES[name]
    house = House()
    house.hold(True)
    live(house, before)
    house.forget()
    house.import_from_stripe()
    house.wait(minutes=2)
    lines = {line.invoice_id for line in house.page().notice.lines if line.state in ASKS}
    assert bool(lines) is asked
    live(house, (new_method(GOOD_CARD),))
    assert {one.invoice["id"] for one in house.own_charges} == lines
    assert not any(one.was_stopped for one in house.own_charges)
