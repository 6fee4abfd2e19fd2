"""What the HTTP API for host applications takes and answers, beside the structs that it shares with RPC. `docs/openapi-v1.yaml` is made
from it.

As on the RPC wire, answers only ever get new fields, which hosts pass over.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from shared.contracts.rpc.base import (
    ONE_BY_ONE,
    Answer,
    Arguments,
    InAccount,
    one_of,
    spelled,
)
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    ContactBusiness,
    ExportedCustomer,
    OwedInvoice,
)

MOST_OF_A_PAGE: Final = 100
MOST_IN_BULK: Final = 1000
REPEATED_WITHIN: Final = dt.timedelta(hours=24)
"""How long a request with an `Idempotency-Key` may be sent again and is done once, in every service. Later it is a new one."""

Something = Annotated[str, spelled(r"\S+", "a text without spaces")]
"""A text that is empty or has spaces in it is refused, as it is for one customer: a CSV's cell it isn't, of which spaces are taken away, and
which clears, or says nothing, when none is left."""


# --- arguments -------------------------------------------------------------------------------------------------------


class PageArguments(Arguments, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OF_A_PAGE)] = 10
    """How many at most, 1 to 100."""
    starting_after: str | None = None
    """The id of the last one that you have; omitted: from the beginning."""


class CustomerPageArguments(PageArguments, frozen=True, kw_only=True):
    """Which customers."""

    business_id: str | None = None
    """The host's own id of the business. A key of one business may omit it."""
    external_id: str | None = None
    """Only the one with this id of the host's."""
    stripe_customer_id: str | None = None
    """Only the one that is linked with this Stripe customer."""


class AppointmentsArguments(Arguments, frozen=True, kw_only=True):
    """A customer's appointments, by the host's own ids."""

    appointments: Annotated[list[AppointmentArgument], msgspec.Meta(max_length=500)]
    """Others stay as they are."""


class CustomerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of many customers. What is omitted stays as it is, null clears it."""

    external_id: str
    """The host's own id of the customer, 1 to 100 characters without spaces."""
    name: str | UnsetType = UNSET
    """1 to 200 characters; a new one needs it."""
    email: str | UnsetType = UNSET
    """A new one needs it."""
    locale: Something | UnsetType | None = UNSET
    """`en`, `es_MX`; null: the business's."""
    timezone: Something | UnsetType | None = UNSET
    """IANA; null: the business's."""
    platform_stripe_customer_id: Something | UnsetType = UNSET
    """Stripe's id, `cus_…`: your word that they are this Stripe customer. To take it back, upsert the one customer."""


class CustomersArguments(Arguments, frozen=True, kw_only=True):
    """Many customers of one business."""

    business_id: str
    """The host's own id of the business."""
    customers: Annotated[
        list[CustomerEntry], msgspec.Meta(max_length=MOST_IN_BULK, extra={ONE_BY_ONE: True})
    ]
    """At most 1,000. Of two with one id the later one counts."""


class StripeLinkArguments(Arguments, frozen=True, kw_only=True):
    """The host's word on who is whose."""

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""


class StripeUnlinkArguments(Arguments, frozen=True, kw_only=True):
    """The host's word on who is not whose."""

    stripe_customer_id: str | None = None
    """Which one is not theirs; omitted: the one that they are linked with."""
    withdraw_only: bool = False
    """Only take back what you said of them: metadata and references decide again."""


class ErasureArguments(Arguments, frozen=True, kw_only=True):
    """Where to go on forgetting."""

    after: Annotated[str, msgspec.Meta(min_length=1, max_length=300)] | None = None
    """The `after` of the answer before, where it was 202."""


class IncidentPageArguments(PageArguments, frozen=True, kw_only=True):
    """Which incidents; `starting_after` is the last one's `invoice_id`."""

    business_id: str | None = None
    """The host's own id of the business. A key of one business may omit it."""
    customer_id: str | None = None
    """Only this customer's, by Portico's id."""
    open: bool | None = None
    """`true`: only what is still open; `false`: only what isn't any more."""


class IncidentArguments(Arguments, frozen=True, kw_only=True):
    """Whose incident."""

    business_id: str | None = None
    """The host's own id of the business. A key of one business may omit it."""


class EventPageArguments(Arguments, frozen=True, kw_only=True):
    """Which events."""

    business_id: str | None = None
    """Only this business's, by the host's own id. Omitted, a key of the installation lists those of all, and those of nobody that is
    known."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OF_A_PAGE)] = 10
    """How many at most, 1 to 100."""
    since: Annotated[str, spelled("[0-9]{1,18}", "the `next` of an answer")] | None = None
    """The `next` of the answer before; omitted: everything that is kept, which is 90 days."""


class NoArguments(Arguments, frozen=True, kw_only=True):
    """Nothing."""


# --- answers ---------------------------------------------------------------------------------------------------------


class Business(ContactBusiness, frozen=True, kw_only=True):
    """A business, each field as it was given; those that were not have their defaults."""

    stripe_account: str | None = None
    """The Stripe account that its customers pay through, `acct_…`; null: the installation's own."""
    on_behalf_of: str | None = None
    """On whose behalf that account, a platform's, charges; null: on nobody's."""
    currency: str | None = None
    """The currency that its figures are shown in first, `usd`; null: none before the others."""
    enrolment: Annotated[str, one_of("by_host", "from_stripe")] = "by_host"
    """Where its customers come from."""


class BusinessPage(Answer, frozen=True, kw_only=True):
    """Businesses, in the order in which they were made."""

    data: list[Business]
    has_more: bool
    """Whether there are others after these: go on with `starting_after`, the last one's `business_id`."""


class Customer(ExportedCustomer, frozen=True, kw_only=True):
    """A customer."""

    business_id: str
    """The host's own id of the business."""
    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""
    created_at: dt.datetime
    updated_at: dt.datetime


class CustomerPage(Answer, frozen=True, kw_only=True):
    """Customers, in the order in which they were made."""

    data: list[Customer]
    has_more: bool
    """Whether there are others after these: go on with `starting_after`, the last one's `customer_id`."""


class DeletedAppointment(Answer, frozen=True, kw_only=True):
    """An appointment that is not there any more."""

    external_id: str
    deleted: bool
    """Whether it was there before."""


class PaymentState(InAccount, frozen=True, kw_only=True):
    """What a customer owes of automatic payments that failed, by the rules that their page goes by. Invoices that are sent, to be paid by
    hand, are not among them: of those Stripe tells too little."""

    customer_id: str
    """Portico's id."""
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody, so nothing is known."""
    can_manage_billing: bool = False
    """Whether their page has the button to Stripe's."""
    owed: list[OwedInvoice]


class ErasedCustomer(Answer, frozen=True, kw_only=True):
    """What was forgotten of a customer by this request."""

    customer_id: str
    """Portico's id."""
    erased: bool
    """Whether all is done; false: send the request again, with `after`."""
    portal_rows: int
    """Rows of the portal: the customer, appointments, invoices, evidence, visits, events."""
    notifier_rows: int
    """Rows of the notifier: emails and invoices. Of an address that bounced a hash stays, so that it is not written to again."""
    billing_rows: int
    """Rows of billing."""
    webhook_bodies: int
    """Stripe's events whose bodies were emptied. What names the address alone, and neither id, goes only with a key of the installation,
    else after 90 days: another business may have a customer with the same one."""
    after: str | None = None
    """Where to go on; null: all is done."""
    same_email: list[str] = msgspec.field(default_factory=list)
    """Stripe customers with the same address who are none of your customers, as Stripe told of them: delete them at Stripe too where the
    business enrols from there, or their next event may enrol a customer with that address. With a business's key only where no other
    business is on the account."""


class IncidentEmail(Answer, frozen=True, kw_only=True):
    """An email about an incident that was, will be, or deliberately was not sent."""

    notification_id: str
    """`ntf_…`."""
    kind: str
    """What it says: `payment_failed`, `payment_reminder`, …"""
    status: str
    """`pending`, `sending`, `sent`, `delivered`, `bounced`, `suppressed` (not sent on purpose), `observed` (not sent, since the business was not live) or `failed`."""
    reason: str | None = None
    """Why it was not sent, in words."""
    created_at: dt.datetime
    sent_at: dt.datetime | None = None
    """When SendGrid accepted it."""
    delivered_at: dt.datetime | None = None
    """When the mailbox took it."""


class Incident(InAccount, frozen=True, kw_only=True):
    """An invoice whose payment failed, and what became of it. Amounts in the currency's minor unit."""

    invoice_id: str
    """Stripe's id, `in_…`."""
    business_id: str
    """The host's own id of the business."""
    customer_id: str
    """Portico's id."""
    external_id: str
    """The host's own id of the customer."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    subscription_id: str | None = None
    """Stripe's id, `sub_…`; null: an invoice of its own."""
    status: str
    """`open`, `paid`, `void` or `uncollectible`."""
    number: str | None = None
    """The number printed on it."""
    purpose: str | None = None
    """What it is for, one line."""
    currency: str
    """ISO 4217, lower case."""
    amount_due: int
    """What it asks for."""
    amount_remaining: int
    """What is still to be paid."""
    amount_paid: int
    """What has been paid so far."""
    amount_credited: int
    """What credit notes took off. Forgiven, not paid."""
    attempt_count: int
    """Tries of Stripe's schedule so far."""
    first_failed_at: dt.datetime
    last_failed_at: dt.datetime | None = None
    next_payment_attempt: dt.datetime | None = None
    """When Stripe tries again; null: not known, or not any more."""
    closed_at: dt.datetime | None = None
    """Since when it is not open any more."""
    emails: list[IncidentEmail]
    """Newest first."""


class IncidentPage(Answer, frozen=True, kw_only=True):
    """Incidents, newest first by when they first failed."""

    data: list[Incident]
    has_more: bool
    """Whether there are others after these: go on with `starting_after`, the last one's `invoice_id`."""


class HostEvent(Answer, frozen=True, kw_only=True):
    """Something that happened. Which of two events of one object is newer `version` says."""

    id: str
    """The same one is the same event, also by webhook: `evh_…`."""
    event_id: str
    """Its id on the exchanges of RabbitMQ, for hosts that listen there as well."""
    type: str
    """`invoice.payment_failed`, `invoice.paid`, `customer.link_changed`, …: docs/events.md. New ones may come: pass over those that you
    don't know."""
    occurred_at: dt.datetime
    """When it happened at Stripe."""
    version: int
    """Of the object that it is about, as in its webhook: the larger one is the newer one."""
    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""
    business_id: str | None = None
    """The host's own id of the business whose customer it is about; null: of nobody that was known then. When they are,
    `customer.link_changed` says so."""
    customer_id: str | None = None
    """Portico's id."""
    stripe_customer_id: str | None = None
    """Stripe's id, `cus_…`."""
    invoice_id: str | None = None
    """Stripe's id, `in_…`."""
    subscription_id: str | None = None
    """Stripe's id, `sub_…`."""


class EventPage(Answer, frozen=True, kw_only=True):
    """Events, in the order in which they can be read: later requests only ever find others after these."""

    data: list[HostEvent]
    has_more: bool
    """Whether there are others already."""
    next: str
    """`since` of the next request."""


class FieldProblem(Answer, frozen=True, kw_only=True):
    """What is wrong with one field."""

    field: str
    """`email`, `appointments[2].starts_at`."""
    detail: str


class Problem(Answer, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it (`application/problem+json`). Nothing was written."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str
    """What is wrong, for people."""
    code: str
    """What is wrong, for programs: one of a few words, which don't change."""
    errors: list[FieldProblem] = msgspec.field(default_factory=list)
    """Which field is wrong, where one is."""
