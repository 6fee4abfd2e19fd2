"""What the HTTP API for host applications takes and answers, beside the structs that it shares with RPC. `docs/openapi-v1.yaml` is made
from it.

As on the RPC wire, answers only ever get new fields, which hosts pass over.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from shared.contracts.rpc.base import Answer, Arguments
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    ContactBusiness,
    ExportedCustomer,
    OwedInvoice,
)

MOST_OF_A_PAGE: Final = 100
MOST_IN_BULK: Final = 1000

Something = Annotated[str, msgspec.Meta(min_length=1)]
"""An empty text is refused, as it is for one customer: a CSV's empty cell it isn't, which clears, or says nothing."""


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
    name: str
    """1 to 200 characters."""
    email: str
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
    customers: Annotated[list[CustomerEntry], msgspec.Meta(max_length=MOST_IN_BULK)]
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


class NoArguments(Arguments, frozen=True, kw_only=True):
    """Nothing."""


# --- answers ---------------------------------------------------------------------------------------------------------


class Business(ContactBusiness, frozen=True, kw_only=True):
    """A business, each field as it was given; those that were not have their defaults."""


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


class PaymentState(Answer, frozen=True, kw_only=True):
    """What a customer owes, by the rules that their page goes by."""

    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""
    customer_id: str
    """Portico's id."""
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody, so nothing is known."""
    can_manage_billing: bool = False
    """Whether their page has the button to Stripe's."""
    owed: list[OwedInvoice]


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
