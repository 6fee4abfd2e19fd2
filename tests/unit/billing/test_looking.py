"""Looking again at many invoices: at Stripe within the budget, else at what its webhooks have told."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import eventlet
import pytest

from services.billing.domain.accounts import Way
from services.billing.domain.budget import BURST_SECONDS, Budget
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import Subscription
from services.billing.handlers import inbox, invoices
from services.billing.rpc import invoice_reports as reports
from services.billing.workflows import invoice_reports as looking
from services.billing.workflows.card_tries import DEBIT_LOOK
from shared.contracts.accounts import Account
from shared.database import Transactions
from shared.nameko_ext.side_by_side import run_concurrently
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import NOW, Clock, Edit, payload, with_fields
from tests.unit.billing.fakes import GOOD, VISA, FakePaymentGateway
from tests.unit.billing.test_recovery import CUSTOMER, INVOICE, Loop, dana
from tests.unit.billing.webhooks import store_webhook
from tests.unit.wire import on_the_wire

invoice_state = on_the_wire(invoices.invoice_state)
invoice_states = on_the_wire(looking.invoice_states)

FAILED, PAID = "invoice.payment_failed", "invoice.paid"
CONFIRM = "invoice.payment_action_required"


class Seconds:
    """A monotonic clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def one_by_one(look: Callable[[str], Any], invoice_ids: Sequence[str]) -> Mapping[str, Any]:
    return {invoice_id: look(invoice_id) for invoice_id in invoice_ids}


def nobody_in_time(look: Callable[[str], Any], invoice_ids: Sequence[str]) -> Mapping[str, Any]:
    return {}


def ask(
    database: Transactions,
    gateway: FakePaymentGateway,
    *invoice_ids: str,
    budget: Budget | None = None,
    side_by_side: Any = one_by_one,
) -> dict[str, dict[str, Any]]:
    return invoice_states(
        database,
        gateway,
        budget or Budget(0),
        invoice_ids,
        side_by_side=side_by_side,
        run_concurrently=lambda ask: ask,
    )


def hear(database: Transactions, name: str, number: int, edit: Edit | None = None) -> None:
    """A webhook about invoice in_1, stored."""

    def change(event: dict[str, Any]) -> None:
        event["id"] = f"evt_{number}"
        event["data"]["object"]["id"] = "in_1"
        if edit is not None:
            edit(event)

    with database.transaction() as session:
        store_webhook(session, inbox.read_webhook(payload(name, change), directory=OWN_ALONE), NOW)


def subscription_of(event: dict[str, Any]) -> str:
    found: str = event["data"]["object"]["parent"]["subscription_details"]["subscription"]
    return found


def test_within_the_budget_stripe_is_asked(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """All that one look tells, and that it comes from Stripe."""
    gateway.invoices["in_1"] = INVOICE.with_changes(number="A-4")
    gateway.problems["in_1"] = PaymentProblem("card_declined", "insufficient_funds", method=VISA)
    gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "past_due")
    alone = invoice_state(gateway, "in_1")
    found = ask(database, gateway, "in_1", budget=Budget(10))
    assert found == {"in_1": {**alone, "source": "stripe", "own_try_refused_at": None}}


def test_beyond_the_budget_the_webhooks_are_believed(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Stripe is not asked at all; the failure's own event tells status, amount and number."""
    hear(database, FAILED, 1)
    asked: list[str] = []
    gateway.before = asked.append
    (state,) = ask(database, gateway, "in_1").values()
    assert asked == []
    assert state.keys() == {
        *invoice_state(FakePaymentGateway(invoices={"in_1": INVOICE}), "in_1"),
        "source",
        "own_try_refused_at",
    }
    assert (state["source"], state["status"], state["method"]) == ("webhooks", "open", None)
    assert state["amount_remaining"] > 0
    assert state["number"]


@pytest.mark.whole
def test_a_try_of_ours_that_no_bank_was_asked_about_is_told(
    database: Transactions, gateway: FakePaymentGateway, clock: Clock
) -> None:
    """Until a later one comes further; whoever says how the invoice stands."""
    gateway.clock = clock
    loop = Loop(database, gateway, clock)
    dana(gateway)
    gateway.account, gateway.way, gateway.application = Account("acct_shop"), Way.CONNECTED, "ca_1"
    gateway.paying_is_changing = True
    gateway.all_subscriptions["sub_1"] = dataclasses.replace(
        gateway.all_subscriptions["sub_1"], application="ca_2"
    )

    def tried(event_id: str) -> Any:
        wish = dataclasses.replace(loop.told(GOOD, CUSTOMER), account=gateway.account)
        loop.run(dataclasses.replace(wish, event_id=event_id, set_at=clock()))
        return ask(database, gateway, "in_1", budget=Budget(10))["in_1"]["own_try_refused_at"]

    assert ask(database, gateway, "in_1", budget=Budget(10))["in_1"]["own_try_refused_at"] is None
    assert dt.datetime.fromisoformat(tried("evt_a")) == clock()
    gateway.paying_is_changing = False
    clock.now += DEBIT_LOOK
    assert tried("evt_b") is None


@pytest.mark.parametrize("names", [(FAILED, PAID), (PAID, FAILED)])
def test_a_payment_that_was_told_counts_in_whatever_order(
    database: Transactions, gateway: FakePaymentGateway, names: tuple[str, str]
) -> None:
    """The most final word wins: billing knows of it before its event has reached anybody."""
    for number, name in enumerate(names):
        hear(database, name, number)
    assert ask(database, gateway, "in_1")["in_1"]["status"] == "paid"


def test_a_debit_that_began_is_known_from_its_own_event(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """No email asks for what is on its way, also when Stripe is not asked; once it has come back one does."""

    def later(event: dict[str, Any]) -> None:
        event["created"] += 9 * 86400

    hear(database, FAILED, 1)
    begun = "payment_intent.processing"
    hear(database, begun, 2, with_fields(invoice="in_1"))
    assert ask(database, gateway, "in_1")["in_1"]["processing"]
    hear(database, FAILED, 3, later)
    assert not ask(database, gateway, "in_1")["in_1"]["processing"]


def test_a_subscription_that_waits_for_its_first_payment_is_known_from_its_beginning(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Nothing else is told of it until it is paid; what is told then, in the same second too, is the later word."""

    def of_it(status: str) -> Edit:
        def edit(event: dict[str, Any]) -> None:
            event["created"] = int(NOW.timestamp())
            event["data"]["object"].update(id="sub_1", status=status)

        return edit

    hear(database, FAILED, 1, with_fields(subscription="sub_1"))
    hear(database, "customer.subscription.created", 2, of_it("incomplete"))
    assert ask(database, gateway, "in_1")["in_1"]["subscription_status"] == "incomplete"
    hear(database, "customer.subscription.updated.default_payment_method", 3, of_it("active"))
    assert ask(database, gateway, "in_1")["in_1"]["subscription_status"] == "active"


def test_that_a_confirmation_is_wanted_is_known_from_its_own_event(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """The mail asks for the right thing also when Stripe is not asked."""
    hear(database, FAILED, 1)
    hear(database, CONFIRM, 2)
    state = ask(database, gateway, "in_1")["in_1"]
    assert state["decline"] == {
        "reason": "authentication_required",
        "needs_new_method": False,
    }


def test_a_subscription_that_was_ended_is_known_from_its_own_event(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Nobody is asked for money for what they cancelled, also when Stripe is not asked."""
    seen: list[str] = []
    hear(database, FAILED, 1, lambda event: seen.append(subscription_of(event)))

    ended = with_fields(
        id=seen[0],
        cancellation_details={"reason": "cancellation_requested"},
        ended_at=1_795_000_000,
    )
    hear(database, "customer.subscription.deleted", 2, ended)
    state = ask(database, gateway, "in_1")["in_1"]
    assert state["subscription_status"] == "canceled"
    assert state["subscription_end_reason"] == "cancellation_requested"
    assert state["subscription_ended_at"] == "2026-11-18T11:06:40+00:00"


@pytest.mark.parametrize("trouble", ["down", "slow"])
def test_when_stripe_does_not_answer_the_webhooks_do(
    database: Transactions, gateway: FakePaymentGateway, trouble: str
) -> None:
    """Away or too slow: what it told before is told, as what it is."""
    hear(database, FAILED, 1)
    gateway.down = trouble == "down"
    side_by_side = nobody_in_time if trouble == "slow" else one_by_one
    found = ask(database, gateway, "in_1", budget=Budget(10), side_by_side=side_by_side)
    assert found["in_1"]["source"] == "webhooks"


def test_what_nobody_knows_is_left_out(database: Transactions, gateway: FakePaymentGateway) -> None:
    """An answer about others does not fail for it."""
    hear(database, FAILED, 1)
    assert ask(database, gateway, "in_1", "in_2", budget=Budget(10)).keys() == {"in_1"}


def test_a_budget_allows_a_burst_and_then_so_many_a_second() -> None:
    """After a quiet time three seconds' worth at once; then what has come in since, and never a part of a wish."""
    seconds = Seconds()
    budget = Budget(10, seconds)
    assert budget.take(int(10 * BURST_SECONDS))
    assert not budget.take(1)
    seconds.now += 0.5
    assert not budget.take(6)
    assert budget.take(5)
    seconds.now += 1000
    assert not budget.take(int(10 * BURST_SECONDS) + 1)
    assert budget.take(int(10 * BURST_SECONDS))


def test_a_budget_of_none_never_asks_stripe() -> None:
    """STRIPE_LOOK_RATE=0."""
    assert not Budget(0).take(1)


def test_one_alone_is_asked_about_before_what_was_begun_beside_it() -> None:
    """Stripe takes longer than our database: its question goes out first."""
    asked: list[str] = []
    beside = run_concurrently(lambda: asked.append("beside"))
    found = reports._side_by_side(lambda id: (asked.append(id), id)[1], ["in_1"])
    beside()
    assert (asked, found) == (["in_1", "beside"], {"in_1": "in_1"})


@pytest.mark.parametrize("ids", [["in_1"], ["in_1", "in_2"]])
def test_what_is_not_answered_in_time_is_left_out(
    monkeypatch: pytest.MonkeyPatch, ids: list[str]
) -> None:
    """Whether one is asked about or many."""
    monkeypatch.setattr(reports, "STRIPE_AT_MANY", 0.01)

    def look(id: str) -> str:
        eventlet.sleep(5 if id == "in_1" else 0)
        return id

    assert reports._side_by_side(look, ids) == {id: id for id in ids[1:]}
