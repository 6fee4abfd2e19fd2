"""Ending a subscription after the business approved it; Stripe's hosted invoice; what customers may do."""

from __future__ import annotations

from typing import Any

import pytest

from services.billing.domain.errors import PortalUnavailable
from services.billing.domain.paying import Subscription
from services.billing.domain.portal import PortalPolicy
from services.billing.handlers import cancelling
from services.billing.handlers.invoices import hosted_invoice_url
from services.billing.workflows import portal
from shared.contracts.rpc.billing import PlannedEnd
from shared.contracts.rpc.errors import (
    BusinessObserves,
    InvoiceClosed,
    PortalConfigurationMissing,
    StripeUnavailable,
    UnknownInvoice,
    UnknownSubscription,
)
from shared.database import Transactions
from tests.unit.billing.conftest import NOW
from tests.unit.billing.fakes import PERIOD_END, FakeBusinesses, FakePaymentGateway
from tests.unit.billing.test_recovery import INVOICE
from tests.unit.wire import on_the_wire


@pytest.fixture
def subscribed(gateway: FakePaymentGateway) -> FakePaymentGateway:
    gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "active")
    return gateway


def cancel(
    gateway: FakePaymentGateway, customer: str = "cus_1", subscription: str = "sub_1"
) -> dict[str, Any]:
    def end(**wanted: str) -> PlannedEnd:
        return cancelling.cancel_at_period_end(gateway, FakeBusinesses(), **wanted)[0]

    return on_the_wire(end)(
        stripe_customer_id=customer, subscription_id=subscription, idempotency_key="request-1"
    )


def test_a_subscription_ends_with_its_period_once(subscribed: FakePaymentGateway) -> None:
    """The second call changes nothing, and says when the subscription ends all the same."""
    first, second = cancel(subscribed), cancel(subscribed)
    assert first == {
        "subscription_id": "sub_1",
        "status": "active",
        "ends_at": PERIOD_END.isoformat(),
        "changed": True,
        "dashboard_url": None,
    }
    assert second == {**first, "changed": False}
    assert subscribed.cancellations == [("sub_1", "cancel:request-1")]


def test_what_is_over_stays_as_it_is(gateway: FakePaymentGateway) -> None:
    """Approving after the subscription has ended is no error."""
    gateway.all_subscriptions["sub_1"] = Subscription("sub_1", "cus_1", "canceled")
    assert cancel(gateway)["changed"] is False
    assert gateway.cancellations == []


@pytest.mark.parametrize(("customer", "subscription"), [("cus_2", "sub_1"), ("cus_1", "sub_2")])
def test_nobody_ends_somebody_elses_subscription(
    subscribed: FakePaymentGateway, customer: str, subscription: str
) -> None:
    """A subscription of another customer is as unknown as one that does not exist."""
    with pytest.raises(UnknownSubscription):
        cancel(subscribed, customer, subscription)
    assert subscribed.cancellations == []


def test_the_hosted_invoice_is_fresh_each_time(gateway: FakePaymentGateway) -> None:
    """Two clicks are two addresses, and no representation shows one."""
    gateway.invoices["in_1"] = INVOICE
    owner = gateway.invoices["in_1"].stripe_customer_id
    assert hosted_invoice_url(gateway, "in_1", owner) != hosted_invoice_url(gateway, "in_1", owner)
    assert "invoice.example" not in repr(gateway.hosted_invoice("in_1"))


def test_nothing_of_another_behalf_is_opened_or_ended(gateway: FakePaymentGateway) -> None:
    """One Stripe customer of a platform is several businesses': each opens and ends its own alone. Where none is named the portal has
    judged: no business may have named it."""
    customer = INVOICE.stripe_customer_id
    gateway.invoices["in_1"] = INVOICE.with_changes(on_behalf_of="acct_b")
    gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", customer, "active", on_behalf_of="acct_b"
    )
    assert hosted_invoice_url(gateway, "in_1", customer, "acct_b")
    assert hosted_invoice_url(gateway, "in_1", customer)
    with pytest.raises(UnknownInvoice):
        hosted_invoice_url(gateway, "in_1", customer, "acct_a")
    with pytest.raises(UnknownSubscription):
        cancelling.cancel_at_period_end(
            gateway, FakeBusinesses(), stripe_customer_id=customer, subscription_id="sub_1",
            idempotency_key="k", on_behalf_of="acct_a",
        )  # fmt: skip
    end, subscription = cancelling.cancel_at_period_end(
        gateway, FakeBusinesses(), stripe_customer_id=customer, subscription_id="sub_1",
        idempotency_key="k", on_behalf_of="acct_b",
    )  # fmt: skip
    assert end.changed
    assert subscription.on_behalf_of == "acct_b"


def test_no_end_is_planned_for_a_business_that_observes(gateway: FakePaymentGateway) -> None:
    """It is refused by name, of the business on whose behalf it is charged; nor is one planned while the portal can't tell. What ends
    anyway is told all the same."""
    gateway.all_subscriptions["sub_1"] = Subscription(
        "sub_1", "cus_1", "active", on_behalf_of="acct_b"
    )

    def end(businesses: FakeBusinesses) -> PlannedEnd:
        return cancelling.cancel_at_period_end(
            gateway, businesses, stripe_customer_id="cus_1", subscription_id="sub_1",
            idempotency_key="k",
        )[0]  # fmt: skip

    with pytest.raises(BusinessObserves):
        end(FakeBusinesses(observing={"acct_b"}))
    with pytest.raises(PortalUnavailable):
        end(FakeBusinesses(away=True))
    assert gateway.cancellations == []
    assert end(FakeBusinesses(observe=True, observing={"acct_a"}, live_since=NOW)).changed
    assert not end(FakeBusinesses(all_observe=True)).changed


def test_a_hosted_invoice_leads_only_its_own_customer(gateway: FakePaymentGateway) -> None:
    """Another customer's invoice is unknown; one that is paid is closed."""
    gateway.invoices["in_1"] = INVOICE
    gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2", status="paid")
    owner = gateway.invoices["in_1"].stripe_customer_id
    with pytest.raises(UnknownInvoice):
        hosted_invoice_url(gateway, "in_1", "cus_other")
    with pytest.raises(UnknownInvoice):
        hosted_invoice_url(gateway, "in_404", owner)
    with pytest.raises(InvoiceClosed):
        hosted_invoice_url(gateway, "in_2", owner)


def may(
    database: Transactions,
    gateway: FakePaymentGateway,
    business_id: str | None = None,
    fixed: str | None = None,
) -> dict[str, bool]:
    return on_the_wire(portal.customers_may)(
        database, gateway, business_id=business_id, setting=fixed, now=NOW
    )


def test_customers_may_do_what_their_configuration_allows(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """Nothing by default; a business's own configuration is read for its own customers only."""
    assert may(database, gateway, "sunrise") == {"cancel": False, "pause": False}
    portal.ensure_configuration(
        database, gateway, "business:sunrise", policy=PortalPolicy(cancel=True), now=NOW
    )
    assert may(database, gateway, "sunrise") == {"cancel": True, "pause": False}
    assert may(database, gateway, "other") == {"cancel": False, "pause": False}


def test_a_configuration_that_stripe_does_not_know_is_told(
    database: Transactions, gateway: FakePaymentGateway
) -> None:
    """A wrong STRIPE_PORTAL_CONFIGURATION is an error of its own name, and so is Stripe's absence."""
    with pytest.raises(PortalConfigurationMissing):
        may(database, gateway, fixed="bpc_404")
    gateway.down = True
    with pytest.raises(StripeUnavailable):
        may(database, gateway)
