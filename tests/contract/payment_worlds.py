"""The same small worlds of customers, cards and unpaid invoices, for the fake gateway and for the real adapter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import requests

from services.billing.adapters.stripe.gateway import WORK_RETRIES
from services.billing.domain.errors import (
    StripeBusy,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeRateLimited,
)
from services.billing.domain.paying import Customer, Invoice, Subscription
from services.billing.ports import PaymentGateway
from shared.contracts.rpc.errors import BillingError, StripeUnavailable
from tests.unit.billing import fakes
from tests.unit.billing.fakes import Trouble, charged_to

GOOD, DECLINES, NEEDS_CUSTOMER, DEBIT = "good", "declines", "needs_customer", "debit"


@dataclass(frozen=True)
class Debtor:
    """A customer on autopay whose subscription's own card was declined: one open invoice, tried once."""

    customer_id: str
    subscription_id: str
    invoice_id: str
    old_card: str


class World(Protocol):
    """What a test can make happen at Stripe."""

    @property
    def gateway(self) -> PaymentGateway: ...

    def customer(self) -> str: ...

    def card(self, customer_id: str, kind: str) -> str:
        """Save a payment method of that kind; its id."""
        ...

    def source(self, customer_id: str) -> str:
        """Save a good card of the API before payment methods, and make it the customer's default source; its id."""
        ...

    def make_default(self, customer_id: str, card: str) -> None: ...

    def charge_to(self, invoice_id: str, card: str) -> None:
        """Make a payment method the invoice's own default."""
        ...

    def restrict(self, subscription_id: str, *types: str) -> None:
        """Let a subscription's invoices be charged to these types alone."""
        ...

    def delete(self, customer_id: str) -> None: ...

    def debtor(self) -> Debtor: ...

    def save_portal_settings(self, **features: bool) -> None:
        """The business saves what customers may do in Stripe's dashboard."""
        ...

    def give_up(self, invoice_id: str) -> None:
        """The business marks the invoice as uncollectible."""
        ...

    def trouble(self, kind: Trouble) -> None:
        """Let this befall the next payment, whatever the client repeats by itself."""
        ...

    def refuse(self, kind: type[BillingError]) -> None:
        """Let Stripe refuse everything, for this reason."""
        ...

    def relent(self) -> None:
        """Refuse nothing any more."""
        ...


@dataclass
class FakeWorld:
    """In the memory of `FakePaymentGateway`."""

    gateway: fakes.FakePaymentGateway = field(default_factory=fakes.FakePaymentGateway)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def customer(self) -> str:
        customer_id = f"cus_{next(self._numbers)}"
        self.gateway.customers[customer_id] = Customer(customer_id)
        return customer_id

    def card(self, customer_id: str, kind: str) -> str:
        return f"pm_{kind}_{next(self._numbers)}"

    def source(self, customer_id: str) -> str:
        card = f"card_{next(self._numbers)}"
        self.gateway.customers[customer_id] = Customer(customer_id, charged_to(source=card))
        return card

    def make_default(self, customer_id: str, card: str) -> None:
        self.gateway.customers[customer_id] = Customer(customer_id, charged_to(card))

    def charge_to(self, invoice_id: str, card: str) -> None:
        invoice = self.gateway.invoices[invoice_id]
        self.gateway.invoices[invoice_id] = invoice.with_changes(defaults=charged_to(card))

    def restrict(self, subscription_id: str, *types: str) -> None:
        found = self.gateway.all_subscriptions[subscription_id]
        defaults = replace(found.defaults, types=frozenset(types))
        self.gateway.all_subscriptions[subscription_id] = replace(found, defaults=defaults)

    def delete(self, customer_id: str) -> None:
        del self.gateway.customers[customer_id]

    def debtor(self) -> Debtor:
        customer_id = self.customer()
        number = next(self._numbers)
        old = self.card(customer_id, DECLINES)
        self.gateway.all_subscriptions[f"sub_{number}"] = Subscription(
            f"sub_{number}", customer_id, "past_due", defaults=charged_to(old)
        )
        invoice = Invoice(
            id=f"in_{number}",
            stripe_customer_id=customer_id,
            status="open",
            currency="usd",
            amount_remaining=8900,
            attempted=True,
            attempt_count=1,
            collection_method="charge_automatically",
            subscription_id=f"sub_{number}",
        )
        self.gateway.invoices[invoice.id] = invoice
        self.gateway.declined(invoice.id, old)
        return Debtor(customer_id, f"sub_{number}", invoice.id, old)

    def save_portal_settings(self, **features: bool) -> None:
        self.gateway.save_in_dashboard(**features)

    def give_up(self, invoice_id: str) -> None:
        invoice = self.gateway.invoices[invoice_id]
        self.gateway.invoices[invoice_id] = invoice.with_changes(status="uncollectible")

    def trouble(self, kind: Trouble) -> None:
        self.gateway.troubles = [kind]

    def refuse(self, kind: type[BillingError]) -> None:
        self.gateway.refusal = kind("on demand")

    def relent(self) -> None:
        self.gateway.refusal = None


TRIES = 1 + WORK_RETRIES
FAULTS = {
    Trouble.NOT_REACHED: {"times": TRIES},
    Trouble.LOST: {"times": TRIES, "after": True},
    Trouble.STORED_500: {"keep": True},
    Trouble.STORED_500_AFTER: {"keep": True, "after": True},
}
REFUSALS: dict[type[BillingError], dict[str, Any]] = {
    StripeKeyRefused: {"status": 403, "code": "account_invalid"},
    StripePermissionMissing: {"status": 403, "code": "more_permissions_required"},
    StripeBusy: {"status": 409, "code": "lock_timeout"},
    StripeRateLimited: {"status": 429, "code": "rate_limit"},
    StripeUnavailable: {"status": 503},
}
TEST_METHODS = {
    GOOD: "pm_card_visa",
    DECLINES: "pm_card_chargeCustomerFail",
    NEEDS_CUSTOMER: "pm_card_authenticationRequired",
    DEBIT: "pm_usBankAccount",
}


@dataclass
class StripeWorld:
    """Over HTTP, at anything that speaks Stripe's API and the sandbox's controls."""

    gateway: PaymentGateway
    base: str
    key: str

    def call(self, path: str, method: str = "POST", **params: Any) -> dict[str, Any]:
        """One request with form-encoded parameters, as Stripe's own clients send them."""
        answer = requests.request(
            method, self.base + path, data=params, auth=(self.key, ""), timeout=10
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def customer(self) -> str:
        return str(self.call("/v1/customers", name="Dana Whitfield")["id"])

    def card(self, customer_id: str, kind: str) -> str:
        return self.attach(customer_id, TEST_METHODS[kind])

    def attach(self, customer_id: str, token: str) -> str:
        """Save one of Stripe's test payment methods; its id."""
        return str(self.call(f"/v1/payment_methods/{token}/attach", customer=customer_id)["id"])

    def source(self, customer_id: str) -> str:
        card = str(self.call(f"/v1/customers/{customer_id}/sources", source="tok_visa")["id"])
        self.call(f"/v1/customers/{customer_id}", default_source=card)
        return card

    def charge_to(self, invoice_id: str, card: str) -> None:
        self.call(f"/v1/invoices/{invoice_id}", default_payment_method=card)

    def restrict(self, subscription_id: str, *types: str) -> None:
        named = {
            f"payment_settings[payment_method_types][{at}]": one for at, one in enumerate(types)
        }
        self.call(f"/v1/subscriptions/{subscription_id}", **named)

    def make_default(self, customer_id: str, card: str) -> None:
        self.call(
            f"/v1/customers/{customer_id}", **{"invoice_settings[default_payment_method]": card}
        )

    def delete(self, customer_id: str) -> None:
        self.call(f"/v1/customers/{customer_id}", "DELETE")

    def debtor(self) -> Debtor:
        return self.owing(TEST_METHODS[DECLINES])

    def owing(self, token: str | None) -> Debtor:
        """A debtor by the choice of what is charged; None: by then there is nothing to charge."""
        customer_id = self.customer()
        good = self.card(customer_id, GOOD)
        price = self.call(
            "/v1/prices",
            currency="usd",
            unit_amount=8900,
            **{"recurring[interval]": "month", "product_data[name]": "Fortnightly clean"},
        )
        subscription = self.call(
            "/v1/subscriptions",
            customer=customer_id,
            default_payment_method=good,
            **{"items[0][price]": price["id"]},
        )
        if token is None:
            old = ""
            self.call(f"/v1/payment_methods/{good}/detach")
        else:
            old = self.attach(customer_id, token)
            self.call(f"/v1/subscriptions/{subscription['id']}", default_payment_method=old)
        answer = requests.post(
            f"{self.base}/sandbox/customers/{customer_id}/charge_now", json={}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return Debtor(customer_id, subscription["id"], answer.json()["id"], old)

    def save_portal_settings(self, **features: bool) -> None:
        changed = {"features": {name: {"enabled": on} for name, on in features.items()}}
        answer = requests.post(f"{self.base}/sandbox/portal_default", json=changed, timeout=10)
        assert answer.status_code == 200, answer.text

    def give_up(self, invoice_id: str) -> None:
        self.call(f"/v1/invoices/{invoice_id}/mark_uncollectible")

    def trouble(self, kind: Trouble) -> None:
        self.fault(**{"match": "POST /v1/invoices/*/pay", "status": 500, **FAULTS[kind]})

    def refuse(self, kind: type[BillingError]) -> None:
        self.fault(match="* /v1/*", times=None, **REFUSALS[kind])

    def relent(self) -> None:
        requests.delete(f"{self.base}/sandbox/faults", timeout=10)

    def fault(self, **fault: Any) -> None:
        """Set one of the sandbox's faults."""
        answer = requests.post(f"{self.base}/sandbox/faults", json=fault, timeout=10)
        assert answer.status_code == 200, answer.text
