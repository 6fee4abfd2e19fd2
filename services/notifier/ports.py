"""What the notifier needs from others, as roles. Real adapters and the tests' fakes play them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hooks import Answered
from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import InvoiceNow
from services.notifier.domain.reminders import ReminderPolicy
from services.notifier.domain.sending import Outcome
from shared.contracts.accounts import StripeCustomer, StripeId
from shared.contracts.payments import PaymentMethod


class Unshown(msgspec.Struct, frozen=True):
    """What must not be seen in a log or a traceback. A struct: of dataclasses, which are frozen by being written to field by field, those of a
    mail took a twentieth of the notifier's CPU in a storm."""

    __repr__ = object.__repr__


class UnknownCustomer(Exception):
    """The portal knows no such customer (yet)."""


class RequestClosed(Exception):
    """The request is answered, withdrawn or unknown: there is nothing left to decide."""


class PortalUnavailable(Exception):
    """The portal did not answer; the question can be asked again."""


class Business(msgspec.Struct, frozen=True, kw_only=True):
    """The business in whose name an email goes out. `color` is `#rrggbb`, `logo_url` absolute."""

    business_id: str = ""
    """The host's own id."""
    name: str
    email: str | None = None
    phone: str | None = None
    website: str | None = None
    logo_url: str | None = None
    color: str | None = None
    locale: str = "en"
    timezone: str = "UTC"
    sender_email: str | None = None
    """The address that its customers' emails come from, where SendGrid has authenticated the domain."""
    service_note: str | None = None
    """What it says of the service while something is owed, in its own words."""
    charged_as: str | None = None
    """What the customer's statement calls its charges; None: not said."""
    reminders: ReminderPolicy = ReminderPolicy()
    observed: bool = False
    """It observes, or the installation does: nothing goes out that nobody asked for."""
    live_since: dt.datetime | None = None
    """Its line; None: it has drawn none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CancellationLinks:
    """Where the business answers a request to cancel: secret, single use, never stored here."""

    approve: str
    decline: str
    expires_at: dt.datetime | None = None


class Contact(Unshown, frozen=True, kw_only=True):
    """Whom to write to. Lives in memory only: address and link are never stored or logged."""

    customer_id: str
    name: str
    email: str | None
    locale: str | None
    timezone: str | None
    link: str
    """The customer's own page, an absolute URL."""
    business: Business
    next_appointment: dt.datetime | None = None
    """When the next one begins; None: there is none, or it is not known."""
    platform: str | None = None
    """What customers know this installation as; None: a portal of the release before, which does not tell."""
    disconnected: bool = False
    """The Stripe account of their business is connected no more."""
    has_payments: bool = False
    """Their page shows payments, and has the button to Stripe's. False also where a portal of the release before does not tell."""
    merged_ids: tuple[str, ...] = ()
    """Portico's ids of customers who were merged into this one; told where it was asked for by Portico's id."""
    stripe_customer: StripeCustomer | None = None
    """With whom they are linked at Stripe; None: with nobody, or a portal of the release before does not tell."""


class InvoiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Billing's fresh view of an invoice."""

    now: InvoiceNow
    method: PaymentMethod | None = None
    """What was charged, as far as a customer may be told."""
    dashboard_url: str | None = None
    """The invoice in the business's Stripe dashboard, for the business alone."""
    next_method: PaymentMethod | None = None
    """What Stripe charges next, as things stand; None: not known."""


class Mail(Unshown, frozen=True, kw_only=True):
    """One finished email."""

    notification_id: str
    kind: Kind
    to: str
    to_name: str
    from_name: str
    reply_to: str | None
    subject: str
    text: str
    html: str
    sender_email: str | None = None
    """The address to send from, where SendGrid lets us; None: the installation's."""
    platform: str | None = None
    """Who sends from the installation's address for whoever `from_name` names; None: it is not said."""


class Mailer(Protocol):
    """Hands emails to the provider."""

    def send(self, mail: Mail) -> Outcome:
        """Send one email. Never raises for what the network or the provider does: the outcome says it."""
        ...


class Businesses(Protocol):
    """The portal, asked about a business."""

    def business(self, business_id: str) -> Contact:
        """The contact of a business about itself, by the host's id: no customer is in it. Raises UnknownCustomer, PortalUnavailable."""
        ...


class Contacts(Businesses, Protocol):
    """The portal, asked who a customer is."""

    def ask(self, stripe_customer: StripeCustomer) -> Callable[[], Contact]:
        """Ask who a Stripe customer is, and go on: what to call for their contact, which waits for it. That raises UnknownCustomer,
        PortalUnavailable."""
        ...

    def contact(self, customer_id: str) -> Contact:
        """The contact of one customer, by Portico's id. Raises UnknownCustomer, PortalUnavailable."""
        ...

    def cancellation_links(self, request_id: str) -> CancellationLinks:
        """The links that answer a request to cancel. Raises RequestClosed, PortalUnavailable."""
        ...


class Invoices(Protocol):
    """Billing, asked how an invoice stands right now."""

    def report(self, invoice: StripeId) -> InvoiceReport | None:
        """None when billing can't say: the email must not depend on it."""
        ...


@dataclass(frozen=True)
class Owner:
    """Whose a customer is: the host's own ids."""

    business_id: str
    customer_id: str | None


class Owners(Protocol):
    """The portal, asked whose customers are."""

    def owners(
        self, stripe_customers: Collection[StripeCustomer], customer_ids: Collection[str]
    ) -> tuple[Mapping[StripeCustomer, Owner], Mapping[str, Owner]]:
        """By Stripe's ids, of each merchant, and by the portal's own; who is missing is not known. Raises PortalUnavailable."""
        ...


@dataclass(frozen=True)
class Mode:
    """How a business works."""

    observes: bool = False
    """It does, or the whole installation."""
    live_since: dt.datetime | None = None
    """Its line; None: it has drawn none."""


class Modes(Protocol):
    """The portal, asked who is live. "Observes" is true at this moment; "live" was, two seconds ago at most."""

    def of_business(self, business_id: str) -> Mode:
        """How a business works, by the host's id; one that is gone observes. Raises PortalUnavailable."""
        ...

    def of_customer(self, stripe_customer: StripeCustomer) -> Mode:
        """How the business of a Stripe customer works; of one whom nobody knows, those whose customer it can be. Raises
        PortalUnavailable."""
        ...


class Hosts(Protocol):
    """Hosts' endpoints."""

    def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Post once. Never raises for what the network or the host does: the answer says it."""
        ...
