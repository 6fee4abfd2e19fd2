"""Doubles of billing's ports that keep what they were told and answer as Stripe does.

The contract suite (`tests/contract/test_payment_gateway.py`) runs against this fake and the real adapter alike.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.billing.domain.accounts import Way
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.errors import (
    KeySpent,
    NoDefaultConfiguration,
    PlatformMayNot,
    PortalFlowRefused,
    PortalUnavailable,
)
from services.billing.domain.paying import (
    Customer,
    HostedInvoice,
    Invoice,
    InvoiceLook,
    NextMethod,
    Payment,
    PaymentTrace,
    PayOutcome,
    PriceLook,
    Subscription,
)
from services.billing.domain.portal import PortalConfiguration, PortalPolicy, PortalSession
from services.billing.ports import BusinessMode
from shared.contracts.accounts import OWN, Account, StripeCustomer
from shared.contracts.invoices import SubscriptionState
from shared.contracts.payments import (
    ChargeDefaults,
    PaymentMethod,
    SavedMethod,
    charged_method,
    is_source,
)
from shared.contracts.rpc.errors import (
    BillingError,
    PortalConfigurationMissing,
    StripeRefused,
    StripeUnavailable,
    UnknownInvoice,
    UnknownStripeCustomer,
    UnknownSubscription,
)
from shared.events import Event

PERIOD_END = dt.datetime(2026, 12, 23, 21, 4, 5, tzinfo=dt.UTC)
"""When every subscription's period ends."""
VISA = PaymentMethod(type="card", brand="visa", last4="0341", exp_month=12, exp_year=2030)
GOOD, DECLINES, NEEDS_CUSTOMER, DEBIT = "pm_good", "pm_declines", "pm_needs_customer", "pm_debit"


DASHBOARD_FORM = {
    "payment_method_update": True,
    "invoice_history": True,
    "customer_update": True,
    "subscription_cancel": True,
    "subscription_pause": False,
    "subscription_update": False,
}
"""What is on when the dashboard's form is saved as it is."""


class Trouble(enum.Enum):
    """What may befall a request to pay."""

    NONE = "none"
    NOT_REACHED = "not reached"
    """Stripe never heard of it."""
    LOST = "lost"
    """Done, and kept under the key; nobody heard the answer."""
    STORED_500 = "stored 500"
    """Nothing done; the server error is kept under the key."""
    STORED_500_AFTER = "stored 500, charged"
    """The bank was asked; a server error is kept under the key all the same."""


def charged_to(
    payment_method: str | None = None, *, source: str | None = None, types: Sequence[str] = ()
) -> ChargeDefaults:
    """What an invoice, a subscription or a customer is charged to: `charged_to("pm_good")`."""
    return ChargeDefaults(
        SavedMethod(payment_method) if payment_method else None,
        SavedMethod(source) if source else None,
        frozenset(types),
    )


def _type_of(method_id: str) -> str | None:
    if is_source(method_id):
        return "card" if method_id.startswith("card_") else None
    return "us_bank_account" if method_id.startswith(DEBIT) else "card"


def _with_types(defaults: ChargeDefaults | None) -> Any:
    def typed(one: SavedMethod | None) -> SavedMethod | None:
        return one and SavedMethod(one.id, _type_of(one.id))

    return defaults and dataclasses.replace(
        defaults, payment_method=typed(defaults.payment_method), source=typed(defaults.source)
    )


@dataclass
class Session:
    """A portal session that the fake gave out."""

    url: str
    stripe_customer_id: str
    configuration_id: str
    return_url: str
    flow: str | None
    locale: str
    left_to_stripe: bool = False
    """No configuration was named, so it is the account's default."""


@dataclass
class FakePaymentGateway:
    """Stripe in memory. Cards decide by their name what happens when they are charged."""

    account: Account = OWN
    livemode: bool = False
    dashboard_url: str = "https://dashboard.example/test"
    way: Way | None = None
    application: str | None = None
    """What we are called as a platform. Where `way` is CONNECTED, Stripe refuses us what another app made, and with `foreign_null` what the
    account itself made."""
    foreign_null: bool = True
    paying_is_changing: bool = False
    refused_changes: list[str] = field(default_factory=list)
    """Subscriptions that we asked to change in vain, one each time."""
    customers: dict[str, Customer] = field(default_factory=dict)
    all_subscriptions: dict[str, Subscription] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    prices: dict[str, PriceLook] = field(default_factory=dict)
    """What a subscription will cost; one without has no next invoice."""
    problems: dict[str, PaymentProblem] = field(default_factory=dict)
    processing: set[str] = field(default_factory=set)
    debited: dict[str, str] = field(default_factory=dict)
    """By invoice: what is, or was last, debited for it."""
    """Invoices whose bank debit is under way."""
    paid_with: dict[str, str] = field(default_factory=dict)
    good_now: set[str] = field(default_factory=set)
    """Cards that would decline by their name, and have got money."""
    troubles: list[Trouble] = field(default_factory=list)
    """What befalls the next payments, one each."""
    configurations: dict[str, PortalConfiguration] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    charges: list[tuple[str, str]] = field(default_factory=list)
    """Invoice and card of each charge that really happened; a replayed idempotency key adds none."""
    log: list[bytes] = field(default_factory=list)
    """Stripe's events, oldest first, as JSON."""
    page: int = 100
    switched_off: set[str] = field(default_factory=set)
    """Ends of the addresses of webhook endpoints that are all switched off."""
    cancellations: list[tuple[str, str]] = field(default_factory=list)
    """Subscription and idempotency key of each end that was planned."""
    down: bool = False
    refusal: BillingError | None = None
    """What Stripe answers to everything, where it is: our key is refused, the limit is reached, …"""
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    """What time it is at Stripe."""
    before: Callable[[str], None] = lambda operation: None
    """Called with the operation's name before each: to check or to disturb."""
    _replays: dict[str, tuple[Payment | Exception, dt.datetime]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def _enter(self, operation: str) -> None:
        self.before(operation)
        if self.down:
            raise StripeUnavailable("down")
        if self.refusal is not None:
            raise self.refusal

    def at(self, account: Account) -> FakePaymentGateway:
        """Plays `PaymentGateways` with one account, too."""
        assert account == self.account, f"nobody is to look at {account!r}"
        return self

    def create_portal_session(
        self,
        stripe_customer_id: str,
        configuration_id: str | None,
        return_url: str,
        flow: str | None,
        locale: str,
        on_behalf_of: str = "",
    ) -> PortalSession:
        self._enter("create_portal_session")
        if stripe_customer_id not in self.customers:
            raise UnknownStripeCustomer(stripe_customer_id)
        if configuration_id is None:
            used = self._default()
            if used is None:
                raise NoDefaultConfiguration("none was ever saved")
        else:
            used = self.configurations.get(configuration_id)
            if used is None or not used.active:
                raise PortalConfigurationMissing(configuration_id)
        if not used.permits(flow):
            raise PortalFlowRefused(str(flow))
        url = f"https://billing.example/p/session/{next(self._numbers)}"
        left = configuration_id is None
        self.sessions.append(
            Session(url, stripe_customer_id, used.id, return_url, flow, locale, left)
        )
        return PortalSession(url, used)

    def _default(self) -> PortalConfiguration | None:
        return next((one for one in self.configurations.values() if one.is_default), None)

    def default_configuration(self) -> PortalConfiguration | None:
        self._enter("default_configuration")
        return self._default()

    def save_in_dashboard(self, **features: bool) -> PortalConfiguration:
        """The business saves its portal settings in Stripe's dashboard; at first as the form stands there."""
        found = self._default()
        on = dict(found.may) if found else DASHBOARD_FORM
        saved = PortalConfiguration(
            id=found.id if found else f"bpc_{next(self._numbers)}",
            livemode=self.livemode,
            active=True,
            key=None,
            may=tuple({**on, **features}.items()),
            is_default=True,
            updated=(found.updated if found else 0) + 1,
        )
        self.configurations[saved.id] = saved
        return saved

    def configuration(self, configuration_id: str) -> PortalConfiguration:
        self._enter("configuration")
        if configuration_id not in self.configurations:
            raise PortalConfigurationMissing(configuration_id)
        return self.configurations[configuration_id]

    def find_configuration(self, key: str) -> PortalConfiguration | None:
        self._enter("find_configuration")
        return next(
            (
                one
                for one in self.configurations.values()
                if one.is_named(key, self.way, self.application)
            ),
            None,
        )

    def create_configuration(self, key: str, policy: PortalPolicy) -> PortalConfiguration:
        self._enter("create_configuration")
        found = self.find_configuration(key)
        if found is not None:
            return found
        return self._configure(f"bpc_{next(self._numbers)}", key, policy)

    def update_configuration(
        self, configuration_id: str, policy: PortalPolicy
    ) -> PortalConfiguration:
        self._enter("update_configuration")
        return self._configure(configuration_id, self.configuration(configuration_id).key, policy)

    def _configure(
        self, configuration_id: str, key: str | None, policy: PortalPolicy
    ) -> PortalConfiguration:
        made = PortalConfiguration(
            id=configuration_id,
            livemode=self.livemode,
            active=True,
            key=key,
            may=(
                ("payment_method_update", True),
                ("invoice_history", True),
                ("customer_update", False),
                ("subscription_cancel", policy.cancel),
                ("subscription_pause", policy.pause),
                ("subscription_update", False),
            ),
            application=self.application if self.way is Way.CONNECTED else None,
        )
        self.configurations[configuration_id] = made
        return made

    def invoice(self, invoice_id: str) -> Invoice:
        self._enter("invoice")
        if invoice_id not in self.invoices:
            raise UnknownInvoice(invoice_id)
        return self.invoices[invoice_id]

    def look(self, invoice_id: str) -> InvoiceLook:
        self._enter("look")
        if invoice_id not in self.invoices:
            raise UnknownInvoice(invoice_id)
        invoice = self.invoices[invoice_id]
        subscription = self.all_subscriptions.get(invoice.subscription_id or "")
        return InvoiceLook(
            invoice,
            problem=None if invoice.status == "paid" else self.problems.get(invoice_id),
            subscription=SubscriptionState(subscription.status) if subscription else None,
            next_method=self._next_method(invoice, subscription),
        )

    def _next_method(
        self, invoice: Invoice, subscription: Subscription | None
    ) -> NextMethod | None:
        customer = self.customers.get(invoice.stripe_customer_id)
        if customer is None:
            return None
        own = subscription.defaults if subscription else None
        saved = charged_method(*map(_with_types, (customer.defaults, own, invoice.defaults)))
        return NextMethod(saved, VISA if saved else None)

    def hosted_invoice(self, invoice_id: str) -> HostedInvoice:
        self._enter("hosted_invoice")
        found = self.invoice(invoice_id)
        url = f"https://invoice.example/i/{next(self._numbers)}"
        return HostedInvoice(found.stripe_customer_id, found.status, url, found.on_behalf_of)

    def payment_trace(self, invoice_id: str) -> PaymentTrace:
        self._enter("payment_trace")
        return PaymentTrace(
            processing=invoice_id in self.processing,
            debited=self.debited.get(invoice_id),
            paid_with=self.paid_with.get(invoice_id),
            problem=self.problems.get(invoice_id),
        )

    def customer(self, stripe_customer_id: str) -> Customer:
        self._enter("customer")
        if stripe_customer_id not in self.customers:
            raise UnknownStripeCustomer(stripe_customer_id)
        return self.customers[stripe_customer_id]

    def method_type(self, method_id: str) -> str | None:
        self._enter("method_type")
        return _type_of(method_id)

    def subscription(self, subscription_id: str) -> Subscription | None:
        self._enter("subscription")
        return self.all_subscriptions.get(subscription_id)

    def price_look(self, subscription_id: str) -> PriceLook | None:
        self._enter("price_look")
        return self.prices.get(subscription_id)

    def subscriptions(self, stripe_customer_id: str) -> list[Subscription]:
        self._enter("subscriptions")
        return [
            one
            for one in self.all_subscriptions.values()
            if one.stripe_customer_id == stripe_customer_id and one.status != "canceled"
        ]

    def _must_have_made(self, subscription: Subscription | None) -> None:
        """As Stripe refuses a platform."""
        if self.way is not Way.CONNECTED or subscription is None:
            return
        maker = subscription.application
        if maker == self.application or (maker is None and not self.foreign_null):
            return
        self.refused_changes.append(subscription.id)
        raise PlatformMayNot("PermissionError, status 403")

    def set_subscription_default(self, subscription_id: str, payment_method: str) -> None:
        self._enter("set_subscription_default")
        found = self.all_subscriptions[subscription_id]
        self._must_have_made(found)
        if found.status == "canceled":
            raise StripeRefused("a canceled subscription")
        self.all_subscriptions[subscription_id] = dataclasses.replace(
            found,
            defaults=charged_to(source=payment_method, types=sorted(found.defaults.types))
            if is_source(payment_method)
            else dataclasses.replace(found.defaults, payment_method=SavedMethod(payment_method)),
        )

    def cancel_at_period_end(self, subscription_id: str, idempotency_key: str) -> Subscription:
        self._enter("cancel_at_period_end")
        found = self.all_subscriptions.get(subscription_id)
        if found is None:
            raise UnknownSubscription(subscription_id)
        if found.over:
            raise StripeRefused("a canceled subscription")
        self._must_have_made(found)
        self.cancellations.append((subscription_id, idempotency_key))
        changed = dataclasses.replace(found, ends_at=PERIOD_END)
        self.all_subscriptions[subscription_id] = changed
        return changed

    def open_invoices(
        self, stripe_customer_id: str, subscription_id: str | None = None
    ) -> list[Invoice]:
        self._enter("open_invoices")
        return [
            one
            for one in self.invoices.values()
            if one.stripe_customer_id == stripe_customer_id
            and one.status == "open"
            and one.collection_method == "charge_automatically"
            and subscription_id in (None, one.subscription_id)
        ]

    def endpoints_off(self, path: str) -> bool:
        self._enter("endpoints_off")
        return path in self.switched_off

    def events_since(
        self, since: dt.datetime, types: Sequence[str], most_pages: int
    ) -> Iterator[list[bytes]]:
        self._enter("events_since")
        kept = [
            body
            for body in self.log
            if (event := json.loads(body))["type"] in types
            and event["created"] >= int(since.timestamp())
        ]
        for start in range(0, min(len(kept), most_pages * self.page), self.page):
            self._enter("events_since")
            yield kept[start : start + self.page]

    def unpaid_invoices(self, since: dt.datetime, most_pages: int) -> Iterator[list[Invoice]]:
        self._enter("unpaid_invoices")
        yield [
            one
            for one in self.invoices.values()
            if one.status == "open" and one.collection_method == "charge_automatically"
        ]

    def pay(self, invoice_id: str, payment_method: str | None, idempotency_key: str) -> Payment:
        self._enter("pay")
        if self.paying_is_changing:
            invoice = self.invoices.get(invoice_id)
            try:
                self._must_have_made(
                    self.all_subscriptions.get(invoice.subscription_id or "") if invoice else None
                )
            except PlatformMayNot as refusal:
                return Payment(PayOutcome.NOT_ALLOWED, str(refusal))
        trouble = self.troubles.pop(0) if self.troubles else Trouble.NONE
        if trouble is Trouble.NOT_REACHED:
            raise StripeUnavailable("no connection")
        stored, at = self._replays.get(idempotency_key, (None, self.clock()))
        if self.clock() - at > dt.timedelta(hours=24):
            stored = None
        if stored is None:
            keeps_error = trouble in (Trouble.STORED_500, Trouble.STORED_500_AFTER)
            effect = (
                None if trouble is Trouble.STORED_500 else self._pay(invoice_id, payment_method)
            )
            stored = None if keeps_error else effect
            self._replays[idempotency_key] = (stored or KeySpent("a stored 500"), self.clock())
        if trouble is Trouble.LOST:
            raise StripeUnavailable("the answer was lost")
        answer = self._replays[idempotency_key][0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _pay(self, invoice_id: str, payment_method: str | None) -> Payment:
        invoice = self.invoices.get(invoice_id)
        if invoice is None or invoice.status not in ("open", "uncollectible"):
            raise StripeRefused(f"{invoice_id} is not open")
        payment_method = payment_method or self._chosen(invoice)
        if payment_method is None:
            raise StripeRefused("InvalidRequestError, status 400, code missing")
        self.charges.append((invoice_id, payment_method))
        return self._charge(invoice, payment_method)

    def _chosen(self, invoice: Invoice) -> str | None:
        """The payment method that is charged where none is named."""
        found = self._next_method(
            invoice, self.all_subscriptions.get(invoice.subscription_id or "")
        )
        return found.saved.id if found and found.saved else None

    def declined(self, invoice_id: str, payment_method: str) -> None:
        """A charge of the invoice was declined now."""
        self.problems[invoice_id] = PaymentProblem(
            "card_declined",
            "generic_decline",
            method=VISA,
            payment_method=payment_method,
            tried_at=self.clock().replace(microsecond=0),
        )

    def _charge(self, invoice: Invoice, payment_method: str) -> Payment:
        if payment_method.startswith(DECLINES) and payment_method not in self.good_now:
            self.declined(invoice.id, payment_method)
            return Payment(PayOutcome.DECLINED, "declined")
        if payment_method.startswith(NEEDS_CUSTOMER):
            self.problems[invoice.id] = PaymentProblem(
                "authentication_required", needs_customer=True, payment_method=payment_method
            )
            return Payment(PayOutcome.AUTHENTICATION_REQUIRED, "authentication_required")
        if payment_method.startswith(DEBIT):
            self.processing.add(invoice.id)
            self.debited[invoice.id] = payment_method
            return Payment(PayOutcome.PROCESSING)
        self.invoices[invoice.id] = invoice.with_changes(status="paid", amount_remaining=0)
        self.paid_with[invoice.id] = payment_method
        return Payment(PayOutcome.PAID)


@dataclass
class FakeBusinesses:
    """A portal that knows who observes."""

    all_observe: bool = False
    observe: bool = False
    """Whether the business does that charges on nobody's behalf."""
    observing: set[str] = field(default_factory=set)
    """On whose behalf those charge who observe."""
    live_since: dt.datetime | None = None
    away: bool = False
    asked: list[StripeCustomer] = field(default_factory=list)

    def modes(self, customers: Sequence[StripeCustomer]) -> list[BusinessMode]:
        self.asked += customers
        if self.away:
            raise PortalUnavailable("away")
        return [
            BusinessMode(
                observes=self.all_observe
                or (one.on_behalf_of in self.observing if one.on_behalf_of else self.observe),
                live_since=self.live_since,
            )
            for one in customers
        ]


@dataclass
class FakePortal:
    """The portal's RPC as billing calls it."""

    observe: bool = False
    failure: Exception | None = None

    def observed(self, stripe_customers: Sequence[Any]) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        count = len(stripe_customers)
        return {"observed": [self.observe] * count, "live_since": [None] * count}


@dataclass
class FakePublisher:
    """A broker that keeps what it confirmed, and fails where told."""

    published: list[Event] = field(default_factory=list)
    failure: Callable[[Event], Exception | None] = lambda event: None
    into: dict[str, list[Event]] = field(default_factory=dict)
    """What went into one queue alone."""

    def publish_batch(
        self, events: Sequence[Event], *, queue: str | None = None
    ) -> list[Exception | None]:
        outcomes = [self.failure(event) for event in events]
        taken = self.published if queue is None else self.into.setdefault(queue, [])
        taken += [event for event, error in zip(events, outcomes, strict=True) if error is None]
        return outcomes
