"""A business observes and goes live, through portal, billing and notifier: who is mailed, and of what."""

from __future__ import annotations

from tests.unit.stories import steps
from tests.unit.stories.house import House


def test_nothing_goes_while_it_observes_and_what_fails_afterwards_does() -> None:
    """The first failure is observed; the next one, after the line, is told as the first that the customer hears of."""
    house = House()
    steps.opens()(house)
    steps.observes(house)
    steps.renewal_fails("insufficient_funds")(house)
    house.settle()
    house.wait(hours=12)
    assert house.mails == []
    assert len(house.observed()) == 1
    steps.goes_live(house)
    house.wait(days=1)
    assert house.mails == []
    steps.next_try("insufficient_funds")(house)
    house.settle()
    assert [one.mail.kind for one in house.mails] == ["payment_failed"]
    assert len(house.observed()) == 1


def test_what_is_accepted_is_told_as_it_stands_then() -> None:
    """Once, by the same rules; and its customer counts as told from then on."""
    house = House()
    steps.opens()(house)
    steps.observes(house)
    steps.renewal_fails("insufficient_funds")(house)
    house.settle()
    steps.goes_live(house)
    steps.accepts_what_was_observed(house)
    house.wait(hours=1)
    assert [one.mail.kind for one in house.mails] == ["payment_failed"]
    steps.new_method()(house)
    house.settle()
    house.wait(hours=1)
    assert {one.mail.kind for one in house.mails} >= {"payment_failed", "payment_recovered"}
