"""A fresh failure goes straight from its event's transaction to its post: it is leased with its writing down."""

from __future__ import annotations

from typing import Any

import pytest

from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import events
from services.notifier.queries.leases import FreshLeases
from services.notifier.workflows import sending
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import a_contact


def hear(house: House, *batch: Any, free: int = 8) -> FreshLeases:
    """Handle events that came together, with so many senders free."""
    fresh = FreshLeases(free, house.clock())
    with house.db.transaction() as session:
        events.handle_invoices(session, list(batch), house.clock(), fresh)
    return fresh


def send(house: House, fresh: FreshLeases) -> list[str]:
    return [sending.send_one(house.desk, leased).outcome for leased in fresh.taken]


def test_it_is_sent_without_a_lease_of_its_own(house: House) -> None:
    """Nobody else finds it due meanwhile, one mail goes out, and nothing is left to do."""
    fresh = hear(house, failed())
    assert house.row().status == "sending"
    assert house.work() == []
    assert (send(house, fresh), fresh.others_due) == (["sent"], False)
    house.clock.forward(hours=1)
    assert house.work() == []
    assert house.mailed_to("dana@example.com") == ["payment_failed"]


def test_a_process_that_dies_before_the_post_loses_nothing(house: House) -> None:
    """The lease ends and another sender takes it; the first one, if it comes back to life, posts nothing."""
    fresh = hear(house, failed())
    house.clock.forward(seconds=44)
    assert house.work() == []
    house.clock.forward(seconds=2)
    assert house.work() == ["sent"]
    assert send(house, fresh) == ["lease_lost"]
    assert len(house.mailer.inbox) == 1


def test_an_event_that_comes_again_is_leased_to_nobody(house: House) -> None:
    """It is known: neither a second row nor a second sender."""
    event = failed("evt_1")
    hear(house, event)
    again = hear(house, event)
    assert (again.taken, again.others_due, len(house.rows())) == ([], False, 1)


def test_what_finds_no_free_sender_waits_its_turn(house: House) -> None:
    """The first ones of a batch are leased, and somebody has to look for the others."""
    for number in (1, 2, 3):
        house.portal.people[f"cus_{number}"] = a_contact(email=f"{number}@example.com")
    batch = [
        failed(invoice_id=f"in_{number}", stripe_customer_id=f"cus_{number}")
        for number in (1, 2, 3)
    ]
    fresh = hear(house, *batch, free=2)
    assert (len(fresh.taken), fresh.others_due) == (2, True)
    assert sorted(row.status for row in house.rows()) == ["pending", "sending", "sending"]
    assert send(house, fresh) + house.work() == ["sent"] * 3
    assert len({mail.to for mail in house.mailer.inbox}) == 3


def test_what_is_not_to_be_sent_is_leased_to_nobody(house: House) -> None:
    """A failure with a recorded reason is no email."""
    fresh = hear(house, failed(collection_method="send_invoice"))
    assert (fresh.taken, fresh.others_due) == ([], False)
    assert house.row().reason == Reason.NOT_AUTOPAY


def test_a_second_event_of_the_invoice_in_the_batch_has_its_say(house: House) -> None:
    """Failed and paid at once: nothing is leased, and nothing is sent."""
    fresh = hear(house, failed(), paid())
    assert (fresh.taken, fresh.others_due) == ([], True)
    assert house.work() == []
    assert house.mailer.inbox == []


def test_what_is_paid_before_the_post_is_not_asked_for(house: House) -> None:
    """The payment's event finds a sender at work: that one looks again before it posts."""
    fresh = hear(house, failed())
    house.hear(paid())
    assert send(house, fresh) == ["suppressed"]
    assert house.mailer.inbox == []


@pytest.mark.parametrize("free", [0, 8])
def test_two_events_of_one_attempt_are_one_mail(house: House, free: int) -> None:
    """The second event's row is due by itself, and finds at its turn that the customer was told."""
    first = hear(house, failed("evt_1"), free=free)
    second = hear(house, failed("evt_2"), free=free)
    assert send(house, first) + send(house, second) in (["sent"], ["sent", "suppressed"], [])
    house.work()
    assert len(house.mailer.inbox) == 1
