"""An invoice that a person at the business wants collected, whatever has become of it."""

from __future__ import annotations

from typing import Any

import pytest

from services.billing.domain.errors import PortalUnavailable
from services.billing.domain.paying import Customer
from services.billing.handlers import invoices
from shared.contracts.accounts import OWN, StripeCustomer
from shared.contracts.rpc.errors import (
    BusinessObserves,
    InvoiceClosed,
    NotCollectable,
    PaymentUnderWay,
    StripeRefused,
    UnknownInvoice,
)
from tests.unit.billing.conftest import NOW
from tests.unit.billing.fakes import FakeBusinesses, FakePaymentGateway, charged_to
from tests.unit.billing.test_recovery import INVOICE
from tests.unit.wire import on_the_wire


def collect(
    gateway: FakePaymentGateway,
    invoice_id: str,
    request_id: str,
    businesses: FakeBusinesses | None = None,
) -> dict[str, Any]:
    wired = on_the_wire(invoices.collect)
    found: dict[str, Any] = wired(gateway, businesses or FakeBusinesses(), invoice_id, request_id)
    return found


ID = INVOICE.id


@pytest.fixture
def owing(gateway: FakePaymentGateway) -> FakePaymentGateway:
    """A bad debt of a customer who has a good card by now."""
    owner = INVOICE.stripe_customer_id
    gateway.invoices[ID] = INVOICE.with_changes(status="uncollectible")
    gateway.customers[owner] = Customer(owner, charged_to("pm_good"))
    return gateway


def test_a_bad_debt_is_collected_once_a_request(owing: FakePaymentGateway) -> None:
    """With the card that Stripe would choose; asked again, it is told to be paid."""
    assert collect(owing, ID, "one") == {
        "invoice_id": ID,
        "outcome": "paid",
        "detail": None,
        "amount": INVOICE.amount_remaining,
        "currency": INVOICE.currency,
        "was": "uncollectible",
    }
    with pytest.raises(InvoiceClosed, match="is paid"):
        collect(owing, ID, "two")
    assert owing.charges == [(ID, "pm_good")]


def test_a_decline_is_an_outcome(owing: FakePaymentGateway) -> None:
    """The person hears why; the invoice stays what it was."""
    owner = INVOICE.stripe_customer_id
    owing.customers[owner] = Customer(owner, charged_to("pm_declines"))
    done = collect(owing, ID, "one")
    assert (done["outcome"], done["detail"]) == ("declined", "declined")
    assert owing.invoices[ID].status == "uncollectible"


def test_what_can_not_be_collected_says_why(owing: FakePaymentGateway) -> None:
    """Each by its name, and nothing is charged."""
    for status in ("void", "paid", "draft"):
        owing.invoices[ID] = INVOICE.with_changes(status=status)
        with pytest.raises(InvoiceClosed, match=status):
            collect(owing, ID, "one")
    owing.invoices[ID] = INVOICE.with_changes(collection_method="send_invoice")
    with pytest.raises(NotCollectable):
        collect(owing, ID, "one")
    owing.invoices[ID] = INVOICE
    owing.processing.add(ID)
    with pytest.raises(PaymentUnderWay):
        collect(owing, ID, "one")
    owing.processing.clear()
    owing.customers.clear()
    with pytest.raises(StripeRefused):
        collect(owing, ID, "one")
    for unknown in ("in_unknown", ""):
        with pytest.raises(UnknownInvoice):
            collect(owing, unknown, "one")
    assert owing.charges == []


def test_nothing_is_collected_for_a_business_that_observes(owing: FakePaymentGateway) -> None:
    """The person hears why by name; nor is anything charged while the portal can't tell. A line that was drawn is no hindrance."""
    owner = INVOICE.stripe_customer_id
    businesses = FakeBusinesses(observe=True)
    with pytest.raises(BusinessObserves, match="Stripe's dashboard"):
        collect(owing, ID, "one", businesses)
    businesses.observe, businesses.away = False, True
    with pytest.raises(PortalUnavailable):
        collect(owing, ID, "one", businesses)
    assert owing.charges == []
    assert set(businesses.asked) == {StripeCustomer(OWN, owner)}
    live = FakeBusinesses(live_since=NOW)
    assert collect(owing, ID, "one", live)["outcome"] == "paid"
