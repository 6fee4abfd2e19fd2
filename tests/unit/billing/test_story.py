"""Looking back: how `portico explain` tells what became of a new card."""

from __future__ import annotations

from services.billing.handlers import timeline as handlers
from services.billing.handlers.erasure import erase
from services.billing.models import (
    PaymentMethodChange,
    PaymentMethodChangeEvent,
    PaymentTry,
    RecoveryRun,
)
from shared.database import Transactions
from tests.unit.billing.conftest import Clock
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
            steps = story(session, **asked)["steps"]
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
        found = story(session, invoice_id=None, stripe_customer_id=None, event_id="evt_2")
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
        erase(session, stripe_customer_id="cus_1", also=[], after=after)
    with database.reading() as session:
        for table in (PaymentMethodChange, PaymentMethodChangeEvent, PaymentTry, RecoveryRun):
            assert session.query(table).count() == 0
