"""A business observes and goes live, through portal, billing and notifier: who is mailed, and of what."""

from __future__ import annotations

from services.notifier.handlers import observing
from services.portal.handlers import modes
from shared.mode import LIVE, OBSERVE
from tests.unit.stories import steps
from tests.unit.stories.house import House


def say(house: House, mode: str) -> None:
    """A person says how the business works from now on."""
    with house.portal.transaction() as session:
        modes.set_mode(session, "sunrise", mode, False, house.now())


def observed(house: House) -> list[str]:
    with house.notifier.db.reading() as session:
        found = observing.observed(
            session, business_id="sunrise", since=None, starting_after=None, limit=100
        )
    return [one.notification_id for one in found.notifications]


def test_nothing_goes_while_it_observes_and_what_fails_afterwards_does() -> None:
    """The first failure is observed; the next one, after the line, is told as the first that the customer hears of."""
    house = House()
    steps.opens()(house)
    say(house, OBSERVE)
    steps.renewal_fails("insufficient_funds")(house)
    house.settle()
    house.wait(hours=12)
    assert house.mails == []
    assert len(observed(house)) == 1
    say(house, LIVE)
    house.wait(days=1)
    assert house.mails == []
    steps.next_try("insufficient_funds")(house)
    house.settle()
    assert [one.mail.kind for one in house.mails] == ["payment_failed"]
    assert len(observed(house)) == 1


def test_what_is_accepted_is_told_as_it_stands_then() -> None:
    """Once, by the same rules; and its customer counts as told from then on."""
    house = House()
    steps.opens()(house)
    say(house, OBSERVE)
    steps.renewal_fails("insufficient_funds")(house)
    house.settle()
    say(house, LIVE)
    with house.notifier.db.transaction() as session:
        observing.accept(session, observed(house), house.now())
    house.be_busy(False)  # somebody has something to do now
    house.wait(hours=1)
    assert [one.mail.kind for one in house.mails] == ["payment_failed"]
    steps.new_method()(house)
    house.settle()
    house.wait(hours=1)
    assert {one.mail.kind for one in house.mails} >= {"payment_failed", "payment_recovered"}
