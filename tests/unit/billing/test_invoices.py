"""An invoice as it stands now, with what Stripe tells of the last decline."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import Customer, Subscription
from services.billing.handlers import invoices
from shared.contracts.payments import PaymentMethod
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable, UnknownInvoice
from tests.unit.billing.fakes import VISA, FakePaymentGateway, charged_to
from tests.unit.billing.test_recovery import INVOICE
from tests.unit.wire import on_the_wire

invoice_state = on_the_wire(invoices.invoice_state)


@pytest.fixture(autouse=True)
def _open_invoice(gateway: FakePaymentGateway) -> None:
    gateway.invoices["in_1"] = INVOICE.with_changes(
        number="A-4", next_payment_attempt=dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
    )
    gateway.problems["in_1"] = PaymentProblem(
        "card_declined",
        "insufficient_funds",
        method=VISA,
        payment_method="pm_1",
        charge_id="ch_1",
    )
    gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "past_due")


def test_everything_that_is_known_is_told(gateway: FakePaymentGateway) -> None:
    """The invoice, the kind of the decline, what was charged and the subscription's state, in plain JSON."""
    assert invoice_state(gateway, "in_1") == {
        "invoice_id": "in_1",
        "dashboard_url": "https://dashboard.example/test/invoices/in_1",
        "status": "open",
        "amount_due": 0,
        "amount_remaining": 8900,
        "amount_paid": 0,
        "amount_credited": 0,
        "currency": "usd",
        "number": "A-4",
        "purpose": None,
        "purpose_more": 0,
        "next_payment_attempt": "2026-11-26T00:00:00+00:00",
        "collection_method": "charge_automatically",
        "auto_advance": None,
        "processing": False,
        "decline": {"reason": "insufficient_funds", "needs_new_method": False},
        "charge_id": "ch_1",
        "payment_method_id": "pm_1",
        "method": {
            "kind": "card",
            "type": "card",
            "brand": "visa",
            "bank": None,
            "last4": "0341",
            "exp_month": 12,
            "exp_year": 2030,
        },
        "card": {"brand": "visa", "last4": "0341", "exp_month": 12, "exp_year": 2030},
        "next_method": None,
        "subscription_status": "past_due",
        "subscription_end_reason": None,
        "subscription_ended_at": None,
    }


def hard(gateway: FakePaymentGateway, **customer: str) -> dict[str, Any]:
    """The state after a lost card, for a customer who is charged to this."""
    lost = dataclasses.replace(gateway.problems["in_1"], decline_code="lost_card")
    gateway.problems["in_1"] = lost
    gateway.customers["cus_1"] = Customer("cus_1", charged_to(**customer))
    state = invoice_state(gateway, "in_1")
    assert state["payment_method_id"] == "pm_1"
    return state


def test_a_new_payment_method_is_wanted_until_another_one_is_charged(
    gateway: FakePaymentGateway,
) -> None:
    """After a decline that nothing else ends: not any more once Stripe charges something else, and always where there is
    nothing to charge."""
    state = hard(gateway, payment_method="pm_1")
    assert state["decline"]["needs_new_method"]
    state = hard(gateway, payment_method="pm_2")
    assert not state["decline"]["needs_new_method"]
    assert state["next_method"]["last4"] == "0341"
    assert hard(gateway)["decline"]["needs_new_method"]


def test_a_key_that_may_not_read_the_details_tells_the_invoice(gateway: FakePaymentGateway) -> None:
    """Stripe refuses the whole when a part is forbidden: then the invoice is asked for alone, and told without details."""

    def forbid(operation: str) -> None:
        if operation == "look":
            raise StripeRefused("restricted key")

    gateway.before = forbid
    state = invoice_state(gateway, "in_1")
    assert (state["status"], state["amount_remaining"]) == ("open", 8900)
    assert (state["decline"], state["card"], state["subscription_status"]) == (None, None, None)


def test_only_a_card_is_called_a_card(gateway: FakePaymentGateway) -> None:
    """Callers of the release before, who know cards alone, hear nothing of a bank account."""
    account = PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789")
    gateway.problems["in_1"] = PaymentProblem("insufficient_funds", method=account)
    state = invoice_state(gateway, "in_1")
    assert (state["method"]["kind"], state["method"]["bank"]) == ("bank", "STRIPE TEST BANK")
    assert state["card"] is None


def test_one_look_is_one_request(gateway: FakePaymentGateway) -> None:
    """Stripe counts requests, and a customer's click must not wait behind our looks."""
    asked: list[str] = []
    gateway.before = asked.append
    invoice_state(gateway, "in_1")
    assert asked == ["look"]


def test_a_paid_invoice_has_no_decline(gateway: FakePaymentGateway) -> None:
    """The failure that came before the success is no news."""
    gateway.invoices["in_1"] = INVOICE.with_changes(status="paid", amount_remaining=0)
    assert invoice_state(gateway, "in_1")["decline"] is None


def test_the_invoice_itself_is_not_best_effort(gateway: FakePaymentGateway) -> None:
    """Nobody may act on an invoice that we could not see."""
    with pytest.raises(UnknownInvoice):
        invoice_state(gateway, "in_2")
    gateway.down = True
    with pytest.raises(StripeUnavailable):
        invoice_state(gateway, "in_1")
