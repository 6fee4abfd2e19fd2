"""The loop closes: a new card pays what is open and becomes what is charged from now on."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from sqlalchemy import select

from services.billing.domain import (
    Customer,
    Invoice,
    PayOutcome,
    StripeRefused,
    StripeUnavailable,
    Subscription,
)
from services.billing.handlers.recovery import CustomerBusy, Report, Run, recover, recoveries
from services.billing.models import Recovery, RecoveryLease
from shared.database import Transactions
from shared.events import PaymentMethodChanged
from tests.unit.billing.conftest import NOW, Clock
from tests.unit.billing.fakes import (
    DEBIT,
    DECLINES,
    GOOD,
    NEEDS_CUSTOMER,
    FakePaymentGateway,
)

INVOICE = Invoice(
    id="in_1",
    stripe_customer_id="cus_1",
    status="open",
    currency="usd",
    amount_remaining=8900,
    attempted=True,
    attempt_count=1,
    collection_method="charge_automatically",
    subscription_id="sub_1",
)
NEW_DEFAULT = PaymentMethodChanged(stripe_customer_id="cus_1", payment_method_id=GOOD)


@pytest.fixture(autouse=True)
def _dana(gateway: FakePaymentGateway) -> None:
    """A customer with a new default card, whose subscription still has the old one and an invoice unpaid."""
    gateway.customers["cus_1"] = Customer("cus_1", default_payment_method=GOOD)
    gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "past_due", default_payment_method=DECLINES
    )
    gateway.invoices["in_1"] = INVOICE


@dataclasses.dataclass
class Loop:
    """The use case with its surroundings, as one worker sees it."""

    database: Transactions
    gateway: FakePaymentGateway
    clock: Clock
    set_at: dt.datetime = NOW
    """When the card of the event was set."""

    def run(self, change: PaymentMethodChanged = NEW_DEFAULT, holder: str = "me") -> Report:
        return recover(
            self.database,
            self.gateway,
            change,
            set_at=self.set_at,
            holder=holder,
            clock=self.clock,
        )

    def recorded(self) -> dict[str, str]:
        with self.database.reading() as session:
            return {row.invoice_id: row.outcome for row in session.scalars(select(Recovery))}

    def new_card(self, card: str) -> PaymentMethodChanged:
        self.gateway.customers["cus_1"] = Customer("cus_1", default_payment_method=card)
        return _change(card)


def _change(card: str | None, subscription: str | None = None) -> PaymentMethodChanged:
    return PaymentMethodChanged(
        stripe_customer_id="cus_1", payment_method_id=card, subscription_id=subscription
    )


@pytest.fixture
def loop(database: Transactions, gateway: FakePaymentGateway, clock: Clock) -> Loop:
    gateway.clock = clock
    return Loop(database, gateway, clock)


def test_a_new_card_pays_what_is_open_and_is_charged_from_now_on(loop: Loop) -> None:
    """The invoice is paid, the subscription points at the new card, and the outcome is on record."""
    report = loop.run()
    assert report.run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"
    assert loop.gateway.all_subscriptions["sub_1"].default_payment_method == GOOD
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


def test_the_same_event_twice_pays_once(loop: Loop) -> None:
    """The second delivery finds that the card was tried within the hour."""
    loop.run()
    assert loop.run().run is Run.RECENT
    assert loop.gateway.charges == [("in_1", GOOD)]


def test_after_a_crash_the_event_comes_back_and_pays_once(loop: Loop) -> None:
    """Dead between Stripe's answer and our record: the idempotency key makes the second run harmless."""

    def die(operation: str) -> None:
        if operation == "pay":
            loop.gateway.before = lambda later: None
            loop.gateway.pay("in_1", GOOD, "pay:in_1:pm_good:1")
            raise SystemExit

    loop.gateway.before = die
    with pytest.raises(SystemExit):
        loop.run()
    # Stripe's list may lag behind: the invoice still looks open to the second run.
    loop.gateway.invoices["in_1"] = INVOICE
    assert loop.run().payments["in_1"].outcome is PayOutcome.PAID
    assert loop.gateway.charges == [("in_1", GOOD)]


@pytest.mark.parametrize(
    "changed",
    [
        {"attempted": False},
        {"amount_remaining": 0},
        {"collection_method": "send_invoice"},
        {"status": "void"},
    ],
)
def test_only_failed_autopay_invoices_are_paid(loop: Loop, changed: dict[str, object]) -> None:
    """What was never tried, is not owed, or is paid by hand is left alone."""
    loop.gateway.invoices["in_1"] = dataclasses.replace(INVOICE, **changed)  # type: ignore[arg-type]
    assert loop.run().run is Run.DONE
    assert loop.gateway.charges == []


@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        (DECLINES, PayOutcome.DECLINED),
        (NEEDS_CUSTOMER, PayOutcome.AUTHENTICATION_REQUIRED),
        (DEBIT, PayOutcome.PROCESSING),
    ],
)
def test_what_a_bank_answers_is_an_outcome(loop: Loop, card: str, outcome: PayOutcome) -> None:
    """A decline, a confirmation and a slow debit are recorded, not raised: nothing is retried by us."""
    report = loop.run(loop.new_card(card))
    assert report.payments["in_1"].outcome is outcome
    assert loop.recorded() == {"in_1": outcome}


def test_a_card_that_stripe_has_just_tried_is_not_charged_again(loop: Loop) -> None:
    """The card was set just before Stripe's own attempt, which failed with it: the bank has answered already."""
    declining = loop.new_card(DECLINES)
    loop.clock.forward(seconds=1)
    loop.gateway.declined("in_1", DECLINES)
    loop.clock.forward(seconds=1)
    assert loop.run(declining).payments["in_1"].outcome is PayOutcome.ALREADY_TRIED
    assert loop.gateway.charges == []
    assert loop.recorded() == {"in_1": PayOutcome.ALREADY_TRIED}


@pytest.mark.parametrize(
    ("tried", "seconds_after"), [(GOOD, 0), ("pm_old", 1)], ids=["too early", "another card"]
)
def test_an_attempt_that_says_nothing_of_the_new_card_does_not_hold_it_back(
    loop: Loop, tried: str, seconds_after: int
) -> None:
    """A card that the bank renewed behind the same id, or another card: the new one is charged."""
    loop.clock.forward(seconds=seconds_after)
    loop.gateway.declined("in_1", tried)
    assert loop.run().payments["in_1"].outcome is PayOutcome.PAID


def test_without_word_of_the_last_attempt_the_card_is_charged(loop: Loop) -> None:
    """The look at the last attempt is best effort: Stripe does not answer it, and the invoice is paid."""

    def silent(operation: str) -> None:
        if operation == "payment_problem":
            raise StripeUnavailable("slow")

    loop.gateway.before = silent
    assert loop.run().payments["in_1"].outcome is PayOutcome.PAID


def test_a_second_card_is_another_try(loop: Loop) -> None:
    """After a decline the next new card is charged, within the same hour and attempt."""
    loop.run(loop.new_card(DECLINES))
    loop.run(loop.new_card(GOOD))
    assert loop.gateway.charges == [("in_1", DECLINES), ("in_1", GOOD)]
    assert loop.gateway.invoices["in_1"].status == "paid"


def test_a_card_is_tried_again_after_an_hour(loop: Loop) -> None:
    """A card that was declined may have got money meanwhile; once an hour is enough."""
    declining = loop.new_card(DECLINES)
    loop.run(declining)
    loop.clock.forward(minutes=59)
    assert loop.run(declining).run is Run.RECENT
    loop.clock.forward(minutes=2)
    assert loop.run(declining).run is Run.DONE


def test_what_was_paid_meanwhile_is_success(loop: Loop) -> None:
    """Stripe's own retry was faster: "already paid" is what we wanted."""

    def stripe_was_faster(operation: str) -> None:
        if operation == "pay":
            loop.gateway.invoices["in_1"] = dataclasses.replace(INVOICE, status="paid")

    loop.gateway.before = stripe_was_faster
    assert loop.run().payments["in_1"].outcome is PayOutcome.ALREADY_PAID


def test_what_was_voided_meanwhile_is_closed(loop: Loop) -> None:
    """Nothing is owed any more: no error, and the record says why."""

    def voided(operation: str) -> None:
        if operation == "pay":
            loop.gateway.invoices["in_1"] = dataclasses.replace(INVOICE, status="void")

    loop.gateway.before = voided
    assert loop.run().payments["in_1"].outcome is PayOutcome.CLOSED


def test_a_refusal_for_an_open_invoice_is_recorded_and_does_not_stop_the_others(
    loop: Loop,
) -> None:
    """An invoice that Stripe will not try (a card of another customer, …) is told; the next one is paid."""
    loop.gateway.invoices["in_2"] = dataclasses.replace(INVOICE, id="in_2")
    refused = iter([True, False])

    def refuse_the_first(operation: str) -> None:
        if operation == "pay" and next(refused):
            raise StripeRefused("no such payment method")

    loop.gateway.before = refuse_the_first
    loop.run()
    assert loop.recorded() == {"in_1": PayOutcome.REFUSED, "in_2": PayOutcome.PAID}


@pytest.mark.parametrize(
    "operation", ["customer", "subscriptions", "point_subscription", "open_invoices", "pay"]
)
def test_a_stripe_that_is_down_makes_the_event_come_back(loop: Loop, operation: str) -> None:
    """Whatever call fails, the run raises, gives the customer back, and the next delivery finishes."""

    def down(entered: str) -> None:
        if entered == operation:
            raise StripeUnavailable("down")

    loop.gateway.before = down
    with pytest.raises(StripeUnavailable):
        loop.run()
    loop.gateway.before = lambda entered: None
    assert loop.run(holder="another").run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"


def test_one_customer_at_a_time(loop: Loop) -> None:
    """While one worker tries a card, another leaves the customer alone and comes back later."""

    def second_worker(operation: str) -> None:
        if operation == "pay":
            loop.gateway.before = lambda later: None
            with pytest.raises(CustomerBusy):
                loop.run(holder="another")

    loop.gateway.before = second_worker
    assert loop.run().run is Run.DONE
    assert len(loop.gateway.charges) == 1


def test_a_dead_workers_lease_runs_out(loop: Loop) -> None:
    """A worker that died without giving the customer back blocks it for two minutes, not for ever."""
    with loop.database.transaction() as session:
        session.add(RecoveryLease(stripe_customer_id="cus_1", holder="dead", until=loop.clock.now))
    loop.clock.forward(seconds=-1)
    with pytest.raises(CustomerBusy):
        loop.run()
    loop.clock.forward(seconds=1)
    assert loop.run().run is Run.DONE


def test_no_call_to_stripe_stands_in_a_transaction(loop: Loop) -> None:
    """SQLite has one connection here: a call inside a transaction would find it taken."""
    pool = loop.database.engine.pool
    taken = []
    loop.gateway.before = lambda operation: taken.append(pool.checkedout())  # type: ignore[attr-defined]
    loop.run()
    assert taken
    assert set(taken) == {0}


def test_a_subscription_that_ended_does_not_stop_the_payment(loop: Loop) -> None:
    """Pointing fails for a subscription that was cancelled meanwhile; what is owed is paid all the same."""

    def cancelled(operation: str) -> None:
        if operation == "point_subscription":
            loop.gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "canceled")

    loop.gateway.before = cancelled
    report = loop.run()
    assert (report.pointed, report.not_pointed) == ([], ["sub_1"])
    assert loop.recorded() == {"in_1": PayOutcome.PAID}


def test_a_subscription_that_follows_the_customer_is_left_alone(loop: Loop) -> None:
    """Without a default of its own it charges the customer's: giving it one would freeze the card."""
    loop.gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "active")
    assert loop.run().pointed == []
    assert loop.gateway.all_subscriptions["sub_1"].default_payment_method is None


@pytest.mark.parametrize(
    ("default", "change"),
    [(None, _change(GOOD)), (None, _change(None)), ("pm_newer", _change(GOOD))],
)
def test_without_that_default_nothing_is_done(
    loop: Loop, default: str | None, change: PaymentMethodChanged
) -> None:
    """A default that was taken away, or replaced again since, is not charged on an old event's word."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", default_payment_method=default)
    assert loop.run(change).run is Run.NO_CARD
    assert loop.gateway.charges == []


def test_a_customer_or_subscription_that_is_gone_is_no_error(loop: Loop) -> None:
    """Deleted since the event: there is nobody to charge."""
    assert loop.run(_change(GOOD, "sub_gone")).run is Run.GONE
    loop.gateway.customers.clear()
    assert loop.run().run is Run.GONE


def test_a_subscriptions_own_new_card_pays_its_invoices_only(loop: Loop) -> None:
    """A card chosen for one subscription pays that one's invoices and is not spread to others."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", default_payment_method="pm_private")
    loop.gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "past_due", GOOD)
    loop.gateway.all_subscriptions["sub_2"] = Subscription("sub_2", "cus_1", "active", "pm_2")
    loop.gateway.invoices["in_2"] = dataclasses.replace(INVOICE, id="in_2", subscription_id="sub_2")
    loop.run(_change(GOOD, "sub_1"))
    assert loop.recorded() == {"in_1": PayOutcome.PAID}
    assert loop.gateway.all_subscriptions["sub_2"].default_payment_method == "pm_2"


def test_a_card_that_the_bank_replaced_pays_where_it_is_charged(loop: Loop) -> None:
    """An automatically updated card that is only a subscription's own default pays that subscription."""
    loop.gateway.customers["cus_1"] = Customer("cus_1", default_payment_method="pm_private")
    loop.gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "past_due", GOOD)
    loop.run(_change(GOOD))
    assert loop.gateway.charges == [("in_1", GOOD)]


def test_ops_can_read_what_was_tried(loop: Loop) -> None:
    """Each try is on record with card, attempt, outcome and reason."""
    loop.run(loop.new_card(DECLINES))
    with loop.database.reading() as session:
        (row,) = recoveries(session, stripe_customer_id="cus_1", invoice_id="in_1", limit=9)
        assert recoveries(session, stripe_customer_id="cus_2", invoice_id=None, limit=9) == []
    assert row == {
        "stripe_customer_id": "cus_1",
        "invoice_id": "in_1",
        "payment_method_id": DECLINES,
        "attempt": 1,
        "outcome": "declined",
        "detail": "declined",
        "at": loop.clock.now.isoformat(),
    }
