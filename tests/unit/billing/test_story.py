"""Looking back: how `portico explain` tells what became of a new card."""

from __future__ import annotations

import datetime as dt
from typing import Any

from services.billing.handlers import timeline as handlers
from services.billing.handlers.erasure import erase
from services.billing.models import (
    InboxEvent,
    OutboxEvent,
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    RecoveryRun,
)
from shared.contracts.accounts import OWN, StripeId
from shared.database import Transactions
from tests.unit.billing.conftest import NOW, Clock
from tests.unit.billing.fakes import DECLINES, FakePaymentGateway
from tests.unit.billing.test_recovery import RENEWED, Loop, dana
from tests.unit.wire import on_the_wire

story = on_the_wire(handlers.story)


def test_a_change_is_told_with_its_events_and_tries(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """By invoice and by customer: two changes of the same card, which of Stripe's events told of each, and how they ended."""
    dana(gateway)
    gateway.clock = clock
    loop = Loop(database, gateway, clock)
    loop.run(loop.new_card(DECLINES))
    loop.run(loop.told(DECLINES, RENEWED))
    clock.forward(minutes=10)
    loop.run(loop.told(DECLINES))
    for subject in ({"invoice_id": "in_1"}, {"stripe_customer_id": "cus_1"}):
        with database.reading() as session:
            asked = {"invoice_id": None, "stripe_customer_id": None, "event_id": None} | subject
            steps = story(session, OWN, **asked, now=clock())["steps"]
        told = [(one["step"], one["change_id"], one["text"]) for one in steps]
        first = [
            ("card_changed", "evt_1", "change of card to pm_declines, told by evt_1, evt_2"),
            ("card_change_ended", "evt_1", "change of card to pm_declines carried out"),
            (
                "retried",
                "evt_1",
                "retried at once: in_1 declined on the new payment method (declined)",
            ),
        ]
        assert [one for one in told if one[1] == "evt_1"] == sorted(first, key=told.index)
        second = [one[0] for one in told if one[1] == "evt_3"]
        assert second == (
            ["card_changed", "card_change_due"] if "stripe_customer_id" in subject else []
        )


def test_an_event_leads_to_its_change(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Also the event that joined later."""
    dana(gateway)
    loop = Loop(database, gateway, clock)
    loop.run()
    loop.run(loop.told(kind=RENEWED))
    with database.reading() as session:
        found = story(
            session, OWN, invoice_id=None, stripe_customer_id=None, event_id="evt_2", now=clock()
        )
    assert [(one["step"], one["change_id"]) for one in found["steps"]] == [
        ("card_changed", "evt_1"),
        ("card_change_ended", "evt_1"),
    ]


def test_an_erased_customers_changes_are_gone(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """The wishes, the events that told them, the tries and the hour's limit: nothing names the customer any more."""
    dana(gateway)
    loop = Loop(database, gateway, clock)
    loop.run()
    after = "outbox:0"
    with database.transaction() as session:
        erase(session, StripeId(OWN, "cus_1"), also=[], after=after)
    with database.reading() as session:
        for table in (PaymentMethodChange, PaymentMethodChangeEvent, PaymentTry, RecoveryRun):
            assert session.query(table).count() == 0


def stored(**changes: Any) -> InboxEvent:
    """A failed charge of in_1 that Stripe delivered once."""
    given: dict[str, Any] = {
        "id": "evt_1",
        "type": "invoice.payment_failed",
        "received_at": NOW,
        "status": "translated",
        "payload": "{}",
        "object_id": "in_1",
        "deliveries": 1,
        "replays": 0,
    }
    return InboxEvent(**(given | changes))


def queued(**changes: Any) -> OutboxEvent:
    """What is said of it."""
    given: dict[str, Any] = {
        "event_id": "evt_1/invoice.payment_failed",
        "dedupe_key": "k",
        "type": "invoice.payment_failed",
        "body": "{}",
        "created_at": NOW,
        "attempts": 0,
        "next_attempt_at": NOW,
    }
    return OutboxEvent(**(given | changes))


def told(database: Transactions, now: dt.datetime = NOW) -> list[tuple[str, str]]:
    with database.reading() as session:
        steps = story(
            session, OWN, invoice_id=None, stripe_customer_id=None, event_id="evt_1", now=now
        )["steps"]
    return [(one["step"], one["text"]) for one in steps]


def test_what_the_broker_refused_says_so_until_it_is_published(database: Transactions) -> None:
    """It is so now: not a step of the future. What nobody has tried for a while is told too."""
    later = NOW + dt.timedelta(minutes=1)
    with database.transaction() as session:
        session.add_all([stored(), queued()])
    assert [step for step, _ in told(database)] == ["received", "queued"]
    assert told(database, later)[-1][0] == "not_published"
    assert "the broker or the relay is away" in told(database, later)[-1][1]
    with database.transaction() as session:
        row = session.query(OutboxEvent).one()
        row.attempts, row.last_error = 3, "NO_ROUTE"
        row.next_attempt_at = later + dt.timedelta(seconds=8)
    with database.reading() as session:
        last = story(
            session, OWN, invoice_id="in_1", stripe_customer_id=None, event_id=None, now=later
        )
    step = last["steps"][-1]
    assert (step["step"], step["at"]) == ("not_published", later.isoformat())
    assert step["until"] == row.next_attempt_at.isoformat()
    assert "after 3 failed tries, next at" in step["text"]
    assert step["text"].endswith("NO_ROUTE")


def test_a_closed_event_was_quarantined_and_says_who_closed_it(database: Transactions) -> None:
    """Both, each at its time; its body erased, the person's words are gone with it."""
    later = NOW + dt.timedelta(days=2)
    quarantined = {"status": "closed", "reason": "no livemode", "closed_at": later}
    with database.transaction() as session:
        session.add(stored(**quarantined, closed_reason="our own test", closed_by="dana"))
    assert told(database, later)[1:] == [
        ("quarantined", "invoice.payment_failed: no livemode"),
        ("closed", "invoice.payment_failed closed by hand by dana: our own test"),
    ]
    with database.transaction() as session:
        erase(session, StripeId(OWN, "in_1"), also=[], after=None)
        assert session.query(InboxEvent).one().closed_reason is None


def test_an_erased_event_is_not_told_as_said_before(database: Transactions) -> None:
    """Its outbox rows are gone: not because another event had said the same."""
    with database.transaction() as session:
        session.add(stored(reason="erased", payload=""))
    assert [step for step, _ in told(database)] == ["received", "erased"]


def test_a_change_of_card_from_before_the_invoice_is_none_of_its_story(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """What it did about the invoice is; so is that it goes on, at the time of the answer."""
    dana(gateway)
    gateway.clock = clock
    loop = Loop(database, gateway, clock)
    loop.run(loop.new_card(DECLINES))
    clock.forward(days=1)
    with database.transaction() as session:
        session.add(stored(received_at=clock(), created=int(clock().timestamp())))
        change = session.query(PaymentMethodChange).one()
        change.closed_at, change.outcome, change.due_at = None, None, clock()
    clock.forward(minutes=1)
    with database.reading() as session:
        steps = story(
            session, OWN, invoice_id="in_1", stripe_customer_id=None, event_id=None, now=clock()
        )["steps"]
    mine = [(one["step"], one["at"]) for one in steps if one["step"].startswith("card")]
    assert mine == [("card_change_due", clock().isoformat())]
