"""What billing needs of the outside, as roles. Each has a real adapter and a fake one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.billing.domain.accounts import Way
from services.billing.domain.list_sizes import ObjectPage
from services.billing.domain.paying import (
    Customer,
    HostedInvoice,
    Invoice,
    InvoiceLook,
    Payment,
    PaymentTrace,
    PriceLook,
    Subscription,
)
from services.billing.domain.portal import PortalConfiguration, PortalPolicy, PortalSession
from shared.contracts.accounts import Account, StripeCustomer
from shared.mode import counts


@dataclass(frozen=True, slots=True)
class BusinessMode:
    """How the business of a Stripe customer works."""

    observes: bool = False
    """It does, or the whole installation."""
    live_since: dt.datetime | None = None
    """Its line; None: it has drawn none."""

    def acts_on(self, wished_at: dt.datetime) -> bool:
        """Whether Stripe is written to for what was wished at this moment: not for what was wished before the line. Stripe's
        moments are whole seconds: of the line's own second all counts as before, for good."""
        return not self.observes and counts(wished_at, self.live_since)


class Businesses(Protocol):
    """Whose businesses only observe: for them nothing is written to Stripe."""

    all_observe: bool
    """Whether the whole installation observes."""

    def modes(self, customers: Sequence[StripeCustomer]) -> list[BusinessMode]:
        """How the business of each customer works, in their order. Raises PortalUnavailable: write nothing now, and ask again."""
        ...


class PaymentGateways(Protocol):
    """Stripe. Nothing can be asked of it before an account is named."""

    def at(self, account: Account) -> PaymentGateway:
        """Stripe on this account. Asks nothing of Stripe, and is cheap: call it for each use."""
        ...


WRITES: Final = frozenset({"set_subscription_default", "cancel_at_period_end", "pay"})
"""The methods of `PaymentGateway` that change what a business charges, or charge it. Who calls one asks `Businesses` before, and leaves it
where the business observes: `workflows/recovery.py` (a new card), `handlers/cancelling.py` (an approved request to cancel) and
`handlers/invoices.py` (a person at the business collects)."""
OPENS_PORTAL: Final = frozenset(
    {"create_portal_session", "create_configuration", "update_configuration"}
)
"""Those that write only what Stripe's Billing Portal needs to open for a customer who clicked, or a person who sets it up. They go on
while a business observes, as what a person does by hand: `portico stripe setup` and connecting an account."""


class ObjectLists(Protocol):
    """An account's lists of objects, a page at a time, newest first."""

    def page(
        self, what: str, after: str | None, *, before: dt.datetime | None = None
    ) -> ObjectPage:
        """Up to a hundred customers, subscriptions that are not over, or open invoices with their customers: those after the object
        `after`, or made before a moment. Raises StripeRateLimited, StripePermissionMissing, ObjectGone where there is no `after`."""
        ...


class PaymentGateway(Protocol):
    """Stripe on one account, as far as billing uses it. Every call goes over the network: never inside a transaction.

    Each may raise StripeUnavailable (worth trying again) or StripeRefused (not worth it), and what it names. What is neither in `WRITES`
    nor in `OPENS_PORTAL` only reads.
    """

    account: Account
    """Whose objects all ids are."""
    livemode: bool
    """The mode of our key."""
    dashboard_url: str
    """Where the business looks at its account in this mode, without a slash at the end."""
    way: Way | None
    """How we act on the account; None: it is our own."""
    application: str | None
    """What we are called as a platform, `ca_…`; None: we are none, or were not told."""

    def create_portal_session(
        self,
        stripe_customer_id: str,
        configuration_id: str | None,
        return_url: str,
        flow: str | None,
        locale: str,
        on_behalf_of: str = "",
    ) -> PortalSession:
        """A fresh Billing Portal session; its URL lives minutes and is never stored or logged. Without a configuration it is
        the account's default, saved in Stripe's dashboard. With `on_behalf_of` it shows what a platform charges on behalf of
        this connected account alone, under its brand (https://docs.stripe.com/api/customer_portal/sessions/create).

        Raises UnknownStripeCustomer, PortalConfigurationMissing, NoDefaultConfiguration (none was given, and none was ever
        saved), PortalFlowRefused (worth another try without `flow`).
        """
        ...

    def default_configuration(self) -> PortalConfiguration | None:
        """The one that is saved in Stripe's dashboard; None while none ever was."""
        ...

    def configuration(self, configuration_id: str) -> PortalConfiguration:
        """Raises PortalConfigurationMissing."""
        ...

    def find_configuration(self, key: str) -> PortalConfiguration | None:
        """The active configuration that carries our `key` in its metadata, the newest if there are several."""
        ...

    def create_configuration(self, key: str, policy: PortalPolicy) -> PortalConfiguration:
        """Make one that follows the policy. Two callers at once get the same one (idempotency key)."""
        ...

    def update_configuration(
        self, configuration_id: str, policy: PortalPolicy
    ) -> PortalConfiguration:
        """Make it follow the policy. Raises PortalConfigurationMissing."""
        ...

    def invoice(self, invoice_id: str) -> Invoice:
        """Raises UnknownInvoice."""
        ...

    def look(self, invoice_id: str) -> InvoiceLook:
        """An invoice with its last error and its subscription, in one request. Raises UnknownInvoice."""
        ...

    def hosted_invoice(self, invoice_id: str) -> HostedInvoice:
        """Stripe's hosted page of an invoice, fresh, asked while a customer waits. Raises UnknownInvoice."""
        ...

    def payment_trace(self, invoice_id: str) -> PaymentTrace:
        """What the invoice's payments show of the tries to pay it; nothing for an invoice that Stripe doesn't know."""
        ...

    def customer(self, stripe_customer_id: str) -> Customer:
        """Raises UnknownStripeCustomer, also when it was deleted."""
        ...

    def method_type(self, method_id: str) -> str | None:
        """Stripe's word for what a payment method is, `card`, `us_bank_account`; None where it can't be told."""
        ...

    def subscription(self, subscription_id: str) -> Subscription | None:
        """None when there is none of this id."""
        ...

    def price_look(self, subscription_id: str) -> PriceLook | None:
        """What a subscription's next invoice will be, and how it comes about, in one request; None when there will be none."""
        ...

    def subscriptions(self, stripe_customer_id: str) -> list[Subscription]:
        """The customer's subscriptions that are not over."""
        ...

    def set_subscription_default(self, subscription_id: str, payment_method: str) -> None:
        """Make `payment_method`, or a source, the subscription's own default, so that retries and the next cycle charge it.
        Raises PlatformMayNot.
        """
        ...

    def cancel_at_period_end(self, subscription_id: str, idempotency_key: str) -> Subscription:
        """Let the subscription end with its current period. Raises UnknownSubscription, PlatformMayNot."""
        ...

    def open_invoices(
        self, stripe_customer_id: str, subscription_id: str | None = None
    ) -> list[Invoice]:
        """Open invoices that are charged automatically; of one subscription when it is given."""
        ...

    def pay(self, invoice_id: str, payment_method: str | None, idempotency_key: str) -> Payment:
        """Try to pay now, without the customer present, with a payment method or a source; without one Stripe charges what it
        would choose itself. Declines and SCA are outcomes, not errors, and so is that a platform may not pay it.

        Raises StripeUnavailable when it is not known what happened: the same key makes trying again safe, for 24 hours.
        KeySpent says that it makes it useless, too: Stripe keeps the error that it answered first. What happened then
        shows in the invoice and its payments alone.
        """
        ...

    def events_since(
        self, since: dt.datetime, types: Sequence[str], most_pages: int
    ) -> Iterator[list[bytes]]:
        """Stripe's log of events of these types since a moment, as JSON, oldest first, a page at a time."""
        ...

    def unpaid_invoices(self, since: dt.datetime, most_pages: int) -> Iterator[list[Invoice]]:
        """Everybody's open invoices that are charged automatically, made since a moment, a page at a time."""
        ...

    def endpoints_off(self, path: str) -> bool:
        """Whether there are webhook endpoints whose address ends with `path`, and all of them are switched off."""
        ...
