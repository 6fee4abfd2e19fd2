"""What billing says of invoices, as the notifier reads it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
import structlog

from services.notifier.adapters.batched_fetch import Fetch
from services.notifier.adapters.billing import BillingInvoices, fetch_invoices
from services.notifier.domain.incidents import Incident
from services.notifier.domain.reminders import schedule
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.invoices import NAMES_A_DATE_WITHIN, InvoiceStatus, Retry
from shared.contracts.payments import PaymentMethod
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.batching import Overloaded
from shared.nameko_ext.rpc import RpcClient, RpcTimeout
from tests.unit.notifier.fakes import START

OPEN = {"status": "open", "amount_remaining": 14900, "subscription_status": "past_due"}


class Billing:
    """Billing's RPC methods, as many as this version of it has."""

    def __init__(self, states: dict[str, dict[str, Any]], *, batches: bool = True) -> None:
        self.states, self.batches = states, batches
        self.calls: list[Any] = []

    def invoice_states(self, invoice_ids: list[str]) -> dict[str, Any]:
        if not self.batches:
            raise RemoteFault("MethodNotFound", "invoice_states")
        self.calls.append(invoice_ids)
        return {one: self.states[one] for one in invoice_ids if one in self.states}

    def invoice_state(self, invoice_id: str) -> dict[str, Any]:
        self.calls.append(invoice_id)
        return self.states[invoice_id]


def named(invoice_id: str) -> StripeId:
    return StripeId(OWN, invoice_id)


def invoices(billing: Billing) -> BillingInvoices:
    return BillingInvoices(billing, lambda invoice: fetch_invoices(billing, [invoice])[0])


def test_many_invoices_are_one_call() -> None:
    """Each question gets its own answer, and None where billing knows nothing."""
    billing = Billing({"in_1": OPEN, "in_3": OPEN | {"status": "paid"}})
    answers = fetch_invoices(billing, [named("in_1"), named("in_2"), named("in_3")])
    assert [answer and answer.status for answer in answers] == ["open", None, "paid"]
    assert billing.calls == [["in_1", "in_2", "in_3"]]


class Client(RpcClient):
    """An RPC client whose calls remember whose context they carry."""

    def __init__(self, container: Any, contexts: list[dict[str, Any]]) -> None:
        super().__init__("billing")
        self.container, self.contexts = container, contexts

    def get_dependency(self, worker_ctx: Any) -> Any:
        def invoice_states(invoice_ids: list[str]) -> dict[str, Any]:
            self.contexts.append(worker_ctx.context_data)
            return {one: OPEN | {"number": one} for one in invoice_ids}

        return SimpleNamespace(invoice_states=invoice_states)


def test_a_shared_call_carries_no_callers_context() -> None:
    """What three senders ask at once is one call, with an id of its own in the place of the first sender's."""
    contexts: list[dict[str, Any]] = []
    container = SimpleNamespace(config={}, service_name="notifier")
    container.dependencies = {Client(container, contexts)}
    fetch = Fetch("invoices", "billing", fetch_invoices)
    fetch.container = container
    fetch.setup()
    ask = fetch.get_dependency(None)

    def sender(number: int) -> Any:
        with structlog.contextvars.bound_contextvars(correlation_id=f"sender {number}"):
            return ask(named(f"in_{number}"))

    threads = [eventlet.spawn(sender, number) for number in range(3)]
    assert [thread.wait().number for thread in threads] == ["in_0", "in_1", "in_2"]
    (context,) = contexts
    assert context["correlation_id"] not in {None, "sender 0", "sender 1", "sender 2"}
    assert [call.rpartition(".")[0] for call in context["call_id_stack"]] == ["notifier.invoices"]


@pytest.mark.parametrize(("source", "heard"), [("stripe", False), ("webhooks", True)])
def test_what_was_read_and_what_was_heard_are_told_apart(source: str, heard: bool) -> None:
    """Both say how the invoice stands; only one of them says that nothing is missing."""
    report = invoices(Billing({"in_1": OPEN | {"source": source}})).report(named("in_1"))
    assert report is not None
    assert (report.now.status, report.now.heard) == (InvoiceStatus.OPEN, heard)


@pytest.mark.parametrize(
    ("source", "planned"), [("stripe", Retry.OVER), ("webhooks", Retry.UNKNOWN)]
)
def test_a_missing_date_ends_the_schedule_only_where_stripe_was_read(
    source: str, planned: Retry
) -> None:
    """ "We will not try again" is not said because a webhook is late."""
    report = invoices(Billing({"in_1": OPEN | {"source": source}})).report(named("in_1"))
    assert report is not None
    incident = Incident(
        invoice_id="in_1", stripe_customer_id="cus_1", attempt_count=2, amount_remaining=14900
    )
    assert schedule(incident, report.now, NAMES_A_DATE_WITHIN, START) is planned


VISA = {"brand": "visa", "last4": "4242", "exp_month": 10, "exp_year": 2026}
ACH = {"kind": "bank", "type": "us_bank_account", "bank": "STRIPE TEST BANK", "last4": "6789"}


@pytest.mark.parametrize(
    ("told", "method"),
    [
        (
            {"method": {"kind": "card", "type": "card", **VISA}, "card": VISA},
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026),
        ),
        (
            {"method": ACH, "card": None},
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="6789"),
        ),
        (
            {"card": VISA},
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=10, exp_year=2026),
        ),
        (
            {"method": ACH | {"last4": "<b>"}, "card": None},
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK"),
        ),
        ({"method": None, "card": None}, None),
        ({}, None),
    ],
)
def test_what_was_charged_is_read_or_left_out(
    told: dict[str, Any], method: PaymentMethod | None
) -> None:
    """Any payment method, from a billing of the release before a card alone; what can't be shown is left out."""
    report = invoices(Billing({"in_1": OPEN | told})).report(named("in_1"))
    assert report is not None
    assert report.method == method


def test_a_billing_of_the_version_before_is_asked_one_by_one() -> None:
    """In the middle of an upgrade a notifier that is ahead still looks again."""
    billing = Billing({"in_1": OPEN}, batches=False)
    report = invoices(billing).report(named("in_1"))
    assert report is not None
    assert report.now.status is InvoiceStatus.OPEN
    assert billing.calls == ["in_1"]


@pytest.mark.parametrize(
    "trouble", [RpcTimeout("4 s"), RemoteFault("StripeRefused", "no"), Overloaded("1024")]
)
def test_trouble_is_no_report(trouble: Exception) -> None:
    """The email must not depend on billing."""

    def fail(question: object) -> object:
        raise trouble

    assert BillingInvoices(Billing({}), fail).report(named("in_1")) is None
