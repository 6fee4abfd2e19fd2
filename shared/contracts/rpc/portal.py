"""What the portal's RPC methods take and answer. Times in UTC, `2026-03-03T17:00:00Z`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from shared.contracts.invoices import InvoiceStatus, Retry, Stop
from shared.contracts.rpc.api_keys import API_KEYS, CREATE_API_KEY, REVOKE_API_KEY
from shared.contracts.rpc.base import (
    Answer,
    Arguments,
    InAccount,
    Method,
    SecretAnswer,
    TimelineStep,
    one_of,
    spelled,
)
from shared.contracts.rpc.enrolment import ACCEPT_PROPOSALS, LINK_PROPOSALS, REFUSE_PROPOSALS
from shared.contracts.rpc.errors import (
    ConnectNotSetUp,
    LinkInvalid,
    LinkReplaced,
    NotFound,
    RequestClosed,
    StripeCustomerConflict,
    UnknownCustomer,
)
from shared.contracts.rpc.modes import BUSINESSES_MODES, OBSERVED, SET_MODE
from shared.contracts.rpc.recipients import RECIPIENTS

Clock = Annotated[str, spelled("(?:[01][0-9]|2[0-3]):[0-5][0-9]", "a time of day like 21:00")]
EnrolmentWord = Literal["by_host", "from_stripe"]
AppointmentStatus = Literal["scheduled", "cancelled", "completed"]
EVIDENCE_SOURCES: Final = ("host", "metadata", "reference", "enrolled", "unknown")
"""Whose word it is, the strongest first."""


# --- arguments -------------------------------------------------------------------------------------------------------


class AppointmentArgument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One appointment of `upsert_appointments`. Times carry their offset from UTC. What is omitted stays as it is, null clears it."""

    external_id: str
    """The host's own id of it."""
    title: str | UnsetType = UNSET
    """1 to 200 characters; a new one needs it."""
    starts_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | UnsetType = UNSET
    """A new one needs it."""
    ends_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | UnsetType | None = UNSET
    """After `starts_at`; null: none is known. One that is kept goes when `starts_at` moves past it."""
    location: str | UnsetType | None = UNSET
    """At most 200 characters; null or blank: none."""
    status: AppointmentStatus | UnsetType | None = UNSET
    """null: `scheduled`."""


class ReminderPolicyArgument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When customers are reminded of an unpaid invoice; given as a whole, so what is omitted in it has its default. Quiet hours are
    on the customer's wall clock, `21:00`."""

    interval_days: Annotated[int, msgspec.Meta(ge=1, le=30)] = 3
    """Days between two reminders at least, 1 to 30."""
    quiet_from: Clock | None = None
    """From then on nobody is written to; both ends are given, or neither."""
    quiet_until: Clock | None = None


class BusinessArguments(Arguments, frozen=True, kw_only=True):
    """A business. What is omitted stays as it is, null clears it."""

    business_id: str
    """The host's own id, 1 to 100 characters without spaces."""
    name: str | UnsetType = UNSET
    """1 to 200 characters, as customers know it; a new one needs it."""
    email: str | UnsetType | None = UNSET
    """Where its customers' answers go, and where it is asked to approve a cancellation; null: nowhere."""
    phone: str | UnsetType | None = UNSET
    """As people write it, at most 50 characters; null or blank: none."""
    website: str | UnsetType | None = UNSET
    """`https://…`; null or blank: none."""
    logo_url: str | UnsetType | None = UNSET
    """`https://…`, shown on the page and in emails; null or blank: none."""
    color: str | UnsetType | None = UNSET
    """`#rrggbb`, of buttons; null: Portico's own."""
    locale: str | UnsetType | None = UNSET
    """Language of customers whose own is not known: `en`, `es_MX`; null: `en`."""
    timezone: str | UnsetType | None = UNSET
    """IANA, `America/Los_Angeles`; null: `UTC`."""
    reminder_policy: ReminderPolicyArgument | UnsetType | None = UNSET
    """When its customers are reminded of an unpaid invoice; null: every three days at most, at any hour."""
    sender_email: str | UnsetType | None = UNSET
    """The address that its customers' emails come from, once SendGrid has authenticated the domain; until then, and with null,
    they come from MAIL_FROM."""
    service_note: str | UnsetType | None = UNSET
    """One plain sentence of at most 200 characters on what becomes of the service while something is owed, shown on the page
    and in emails as it is given; null or blank: nothing is said."""
    charged_as: str | UnsetType | None = UNSET
    """What a bank or card statement of its customers calls its charges, at most 80 characters, where that is not its name: a platform's
    charge, `PORTICO* SUNRISE`. Page and emails say so; null or blank: nothing is said."""
    currency: str | UnsetType | None = UNSET
    """The currency that its figures are shown in first, ISO 4217, `usd`; null: none before the others. Nothing is converted."""
    stripe_account: str | UnsetType | None = UNSET
    """The Stripe account that its customers pay through, `acct_…`, once Portico works on it; null: the installation's own. No
    other business may have it, except with an `on_behalf_of` of its own."""
    on_behalf_of: str | UnsetType | None = UNSET
    """Where that account is a platform's: the connected account, `acct_…`, on whose behalf the platform charges for this business.
    Its customers see the invoices and subscriptions with this `on_behalf_of` alone; null: those without one."""
    enrolment: EnrolmentWord | UnsetType | None = UNSET
    """Where its customers come from. `by_host`: you tell of each. `from_stripe`: besides, whoever pays an invoice, saves a payment
    method or starts a subscription on its Stripe account, and has an e-mail there that no customer of the business has, becomes one. Of the
    businesses that share an account one alone may have it. null: `by_host`."""
    release_links: bool = False
    """Whether customers may lose the Stripe customer that they are linked with when one of the two changes. Without it, the change
    is refused while any is linked."""


class CustomerArguments(Arguments, frozen=True, kw_only=True):
    """A customer. What is omitted stays as it is, null clears it."""

    business_id: str
    """The host's own id of the business."""
    external_id: str
    """The host's own id of the customer, 1 to 100 characters without spaces."""
    name: str | UnsetType = UNSET
    """1 to 200 characters; a new one needs it."""
    email: str | UnsetType = UNSET
    """A new one needs it."""
    locale: str | UnsetType | None = UNSET
    """`en`, `es_MX`; null: the business's."""
    timezone: str | UnsetType | None = UNSET
    """IANA; null: the business's."""
    platform_stripe_customer_id: str | UnsetType | None = UNSET
    """Stripe's id, `cus_…`: your word that they are this Stripe customer. null takes back the id that you gave; then what Stripe's
    metadata and Checkout references say decides. What `unlink_customer` has said stays."""


class CustomerLine(msgspec.Struct, frozen=True, array_like=True):
    """One customer of `import_customers`, as an array in this order. An array can't leave a place out, so null stands for what is
    omitted and keeps what is there; "" clears it."""

    external_id: str
    """The host's own id."""
    name: str | None
    """1 to 200 characters; a new one needs it, and nothing clears it."""
    email: str | None
    """The same."""
    locale: str | None = None
    """`en`, `es_MX`."""
    timezone: str | None = None
    """IANA."""
    platform_stripe_customer_id: str | None = None
    """Stripe's id, `cus_…`; "" keeps what is there, too: an empty cell is how a file says that it isn't known."""


# --- answers ---------------------------------------------------------------------------------------------------------


class BusinessReference(Answer, frozen=True, kw_only=True):
    """A business, by name."""

    business_id: str
    """The host's own id."""


class UpsertedCustomer(InAccount, frozen=True, kw_only=True):
    """A customer who was made or changed."""

    customer_id: str
    """Portico's id, 22 characters: other methods take it, and it never changes."""
    created: bool
    """Whether this call made the customer."""
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked now, by whoever's word."""


class LinkedCustomer(InAccount, frozen=True, kw_only=True):
    """With which Stripe customer a customer is linked now."""

    customer_id: str
    """Portico's id."""
    platform_stripe_customer_id: str | None = None
    """Stripe's id, `cus_…`; null: linked with nobody."""


class AppointmentCounts(Answer, frozen=True, kw_only=True):
    """What became of the appointments that were given: how many."""

    created: int
    updated: int
    unchanged: int


class Link(SecretAnswer, frozen=True, kw_only=True):
    """A customer's current link. A secret: mail it to the customer, log it nowhere."""

    customer_id: str
    """Portico's id."""
    url: str
    """The customer's own page."""
    token: str
    """The last part of the URL."""
    generation: int
    """From 1; raised when the link is replaced, and links of an earlier one stop working."""


class Business(Answer, frozen=True, kw_only=True):
    """A business as its customers see it; each field as `upsert_business` was given it."""

    business_id: str
    """The host's own id."""
    name: str
    email: str | None = None
    phone: str | None = None
    website: str | None = None
    logo_url: str | None = None
    color: str | None = None
    """`#rrggbb`."""
    locale: str = "en"
    timezone: str = "UTC"
    """IANA."""


class Appointment(Answer, frozen=True, kw_only=True):
    """An appointment of a customer."""

    external_id: str
    """The host's own id."""
    title: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None = None
    location: str | None = None
    status: Annotated[str, one_of("scheduled", "cancelled", "completed")] = "scheduled"


class OwedInvoice(Answer, frozen=True, kw_only=True):
    """An invoice that the page asks for, or says to be on its way."""

    invoice_id: str
    """Stripe's id, `in_…`."""
    state: Annotated[str, one_of("confirm", "still_declined", "declined", "pending", "settling")]
    """`confirm`: the bank wants a confirmation; `still_declined`: the new payment method failed too; `pending`: a payment is
    under way whose outcome takes days; `settling`: a new payment method is being charged."""
    amount_remaining: int
    """What is still to be paid, in the currency's minor unit."""
    currency: str
    """ISO 4217, lower case."""
    number: str | None = None
    """The number printed on it."""
    purpose: str | None = None
    """What it is for, one line."""
    purpose_more: int = 0
    """How many other things it is for."""
    since: dt.datetime | None = None
    """When it first failed."""
    next_payment_attempt: dt.datetime | None = None
    """When Stripe tries again; null: not known."""
    retrying_since: dt.datetime | None = None
    """Since when a new payment method is being tried; None: none is, nor one that came while the business observed."""


class CustomerSnapshot(InAccount, SecretAnswer, frozen=True, kw_only=True):
    """Whose a link is, with appointments and what is owed."""

    customer_id: str
    """Portico's id."""
    external_id: str
    """The host's own id."""
    name: str
    locale: str | None = None
    """null: the business's."""
    timezone: str | None = None
    """IANA; null: the business's."""
    business: Business
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody."""
    can_manage_billing: bool = False
    """Whether their page has the button to Stripe's."""
    appointments: list[Appointment]
    owed: list[OwedInvoice]


class ReminderPolicy(Answer, frozen=True, kw_only=True):
    """When customers of a business are reminded of an unpaid invoice."""

    interval_days: int = 3
    """Days between two reminders at least."""
    quiet_from: str | None = None
    """`21:00` on the customer's wall clock: from then on nobody is written to."""
    quiet_until: str | None = None


TOLD_AT_ENROLMENT: Final = dt.timedelta(hours=1)
"""How old a failure may be that is still told of when its customer is enrolled: their first payment may be what failed."""


class ContactBusiness(Business, frozen=True, kw_only=True):
    """The business in whose name a customer is written to."""

    reminder_policy: ReminderPolicy | None = None
    """null: the notifier's default."""
    sender_email: str | None = None
    """The address that emails come from, where SendGrid has authenticated the domain; null: the installation's."""
    service_note: str | None = None
    """What it says of the service while something is owed."""
    observed: bool = False
    """It observes, or the installation does: it and its customers get no mail that nobody asked for."""
    live_since: dt.datetime | None = None
    """The line that it has drawn: no mail that nobody asked for is sent of what happened before; null: it has drawn none. For a
    customer who was enrolled from Stripe, claimed by the host since or not, an hour before that, where it is later."""
    charged_as: str | None = None
    """What a statement of the customer's bank calls its charges; null: not said."""


class Contact(SecretAnswer, frozen=True, kw_only=True):
    """Whom to write to, with their link and their business."""

    customer_id: str
    """Portico's id."""
    name: str
    email: str | None = None
    locale: str | None = None
    """null: the business's."""
    timezone: str | None = None
    """IANA; null: the business's."""
    link: str
    """The customer's own page. A secret."""
    next_appointment: dt.datetime | None = None
    """When the next scheduled one begins; null: there is none."""
    platform: str | None = None
    """What customers know this installation as."""
    disconnected: bool = False
    """The Stripe account of their business is connected no more: nobody is written to about its payments."""
    can_manage_billing: bool = False
    """Whether their page shows payments and has the button to Stripe's."""
    merged_ids: list[str] = msgspec.field(default_factory=list)
    """Portico's ids of enrolled customers who were merged into this one; told by `contact` with `customer_id` alone."""
    business: ContactBusiness
    external_id: str | None = None
    """The host's own id of the customer; null: not told, by a release before."""
    account: str = ""
    """Of which Stripe account and on whose behalf `stripe_customer_id` is."""
    on_behalf_of: str = ""
    stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with none, or a release before does not tell."""


class BusinessContact(Answer, frozen=True, kw_only=True):
    """A business that is written to about itself."""

    platform: str
    """What customers know this installation as."""
    business: ContactBusiness


class CheckoutReference(SecretAnswer, frozen=True, kw_only=True):
    """A signed `client_reference_id` of one customer."""

    reference: str
    """86 characters of `[A-Za-z0-9_-]`."""


class Evidence(InAccount, frozen=True, kw_only=True):
    """One piece of evidence for a link, or against it."""

    on_behalf_of: str = ""
    """For customers of which business on a platform's account it counts: that with this `on_behalf_of`."""
    stripe_customer_id: str
    """Whose Stripe customer it is about."""
    source: Annotated[str, one_of(*EVIDENCE_SOURCES)]
    """Whose word it is."""
    object_id: str
    """What says it: a Stripe object, or Portico's id of the customer for the host's word."""
    customer_id: str | None = None
    """Portico's id of the customer whom it names, where there is one."""
    names: str | None = None
    """The id as it stands there; null: the object names nobody."""
    business_id: str | None = None
    """The business whose own id `names` is; null: it is Portico's."""
    denies: bool = False
    """It says that the two do *not* belong together."""
    effect: Annotated[
        str,
        one_of(
            "decides",
            "agrees",
            "overruled",
            "conflict",
            "denied",
            "waits",
            "silent",
            "refused",
            "withdrawn",
        ),
    ]
    """What it does now. `waits`: for a customer whom the host has not told us of; `silent`: it names nobody any more;
    `refused`: it never was evidence, see `reason`."""
    reason: str | None = None
    """Why it was refused."""
    said_at: dt.datetime
    withdrawn_at: dt.datetime | None = None
    event_id: str | None = None
    """Stripe's id of the event that told of it."""


class EvidenceConflict(InAccount, frozen=True, kw_only=True):
    """Two that were not linked, because evidence of the same rank says otherwise."""

    on_behalf_of: str = ""
    """For customers of which business on a platform's account it counts: that with this `on_behalf_of`."""
    stripe_customer_id: str
    customer_id: str
    """Portico's id."""
    reason: Annotated[str, one_of("stripe_customer_taken", "customer_has_another", "said_at_once")]
    """As in the event `customer.link_refused`."""
    evidence: Annotated[str, one_of(*EVIDENCE_SOURCES)]
    """Whose word was refused."""
    event_id: str | None = None
    """Stripe's id of the event that told of it."""
    seen_at: dt.datetime


class EvidenceLink(InAccount, frozen=True, kw_only=True):
    """A link as it stands."""

    on_behalf_of: str = ""
    """For customers of which business on a platform's account it counts: that with this `on_behalf_of`."""
    customer_id: str
    """Portico's id."""
    stripe_customer_id: str
    source: Annotated[str, one_of(*EVIDENCE_SOURCES)]
    """Whose word decides."""


class LinkEvidence(Answer, frozen=True, kw_only=True):
    """Everything that speaks for or against a link, and whatever is decided together with it."""

    evidence: list[Evidence]
    """The newest 500, oldest first."""
    conflicts: list[EvidenceConflict]
    """Those that somebody has to look at."""
    links: list[EvidenceLink]


class UnknownLink(InAccount, frozen=True, kw_only=True):
    """A link that nobody has spoken for since evidence is kept."""

    customer_id: str
    """Portico's id."""
    external_id: str
    """The host's own id."""
    business_id: str
    """The host's own id of the business."""
    stripe_customer_id: str


class UnknownLinks(Answer, frozen=True, kw_only=True):
    """A page of them."""

    links: list[UnknownLink]
    next: int | None = None
    """`after` of the next page; null: this was the last."""


class CancellationLinks(SecretAnswer, frozen=True, kw_only=True):
    """Where the business answers a request to cancel. Secrets: ask for them when the mail is sent, store and log them nowhere."""

    approve: str
    """A URL."""
    decline: str
    """A URL."""


class RowError(Answer, frozen=True, kw_only=True):
    """A row that was not written."""

    row: int
    """Its place in the call, from 0."""
    error: str
    """What is wrong with it: `email: expected an email address`."""


class ImportResult(Answer, frozen=True, kw_only=True):
    """What became of the rows: how many."""

    created: int
    updated: int
    unchanged: int
    errors: list[RowError]
    """Rows that are wrong, by their place."""


class ExportedCustomer(SecretAnswer, frozen=True, kw_only=True):
    """A customer, with the columns that `import_customers` takes, and Portico's id."""

    external_id: str
    name: str
    email: str
    locale: str | None = None
    timezone: str | None = None
    platform_stripe_customer_id: str | None = None
    customer_id: str
    """Portico's id."""


class CustomerExport(Answer, frozen=True, kw_only=True):
    """A page of a business's customers."""

    customers: list[ExportedCustomer]
    next: int | None = None
    """`after` of the next page; null: this was the last."""
    total: int | None = None
    """How many there are in all; told on the first page alone."""


class FoundCustomer(InAccount, SecretAnswer, frozen=True, kw_only=True):
    """Whom a reference means."""

    customer_id: str
    """Portico's id."""
    business_id: str
    """The host's own id of the business."""
    external_id: str
    """The host's own id of the customer."""
    email: str
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody."""
    only_on_behalf_of: str | None = None
    """Set where that, a platform's, is another business's customer too: theirs is only what is charged on this behalf (empty: nobody's)."""
    merged_ids: list[str] = msgspec.field(default_factory=list)
    """Portico's ids of enrolled customers who were merged into this one: what was written down before that names those."""


class CustomerErasure(Answer, frozen=True, kw_only=True):
    """What was forgotten."""

    customer: bool
    """Whether there was a customer."""
    rows: int
    """How many rows went, the customer's own among them."""
    same_email: list[str] = msgspec.field(default_factory=list)
    """Stripe customers (`cus_…`) of the account with the customer's address who are nobody's: what was kept of them went too. Stripe still
    has them; where a business enrols from Stripe, their next event may enrol a customer with that address, unless Stripe has deleted
    them."""


class InvoiceStanding(InAccount, frozen=True, kw_only=True):
    """Where an invoice stands, by the rules that the page goes by. Amounts in the currency's minor unit."""

    invoice_id: str
    """Stripe's id, `in_…`."""
    number: str | None = None
    """The number printed on it."""
    status: Annotated[str, one_of(*InvoiceStatus)]
    currency: str
    """ISO 4217, lower case."""
    due: int
    """What it asked for."""
    remaining: int
    """What is still to be paid."""
    paid: int
    """Money that came in."""
    forgiven: int
    """What a credit note took off before it was paid."""
    attempt_count: int
    """Attempts of Stripe's retry schedule."""
    stopped: Annotated[str, one_of(*Stop)] | None = None
    """Why it is collected no more, although it failed; null: it is."""
    needs_confirmation: bool = False
    """The customer's bank wants a confirmation."""
    retry: Annotated[str, one_of(*Retry)] = Retry.UNKNOWN.value
    """Whether Stripe charges it again by itself."""
    next_charge: dt.datetime | None = None
    """When, with `scheduled`."""
    under_way: bool = False
    """A payment whose outcome takes days has begun: nothing is tried before that is known."""


class TimelineCustomer(InAccount, frozen=True, kw_only=True):
    """Whose a time line is."""

    customer_id: str
    """Portico's id."""
    external_id: str
    """The host's own id."""
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody."""
    link_generation: int
    """Of the link that works."""


class Timeline(Answer, frozen=True, kw_only=True):
    """What the portal knows."""

    standing: list[InvoiceStanding] = msgspec.field(default_factory=list)
    """The invoice, or each that the customer owes."""
    steps: list[TimelineStep]
    """In order of time."""
    customer: TimelineCustomer | None = None
    """null: nobody whom we know."""
    stripe_customers: list[str] = msgspec.field(default_factory=list)
    """Stripe's ids of customers, `cus_…`, that the steps are about."""


class ConnectLink(SecretAnswer, frozen=True, kw_only=True):
    """Where a business connects its Stripe account."""

    url: str
    expires_at: dt.datetime
    """Until when it works."""


class BusinessAccount(Answer, frozen=True, kw_only=True):
    """On which Stripe account a business is."""

    business_id: str
    """The host's own id."""
    name: str
    account: str = ""
    """`acct_…`; empty: the installation's own."""
    on_behalf_of: str = ""
    """Where the account is a platform's: the connected account whose customers it has; empty: nobody's."""
    currency: str | None = None
    """The currency that its figures are shown in first, ISO 4217 in lower case; null: none before the others."""


# --- methods ---------------------------------------------------------------------------------------------------------

__all__ = [
    "ACCEPT_PROPOSALS",
    "API_KEYS",
    "BUSINESSES_MODES",
    "CREATE_API_KEY",
    "LINK_PROPOSALS",
    "OBSERVED",
    "RECIPIENTS",
    "REFUSE_PROPOSALS",
    "REVOKE_API_KEY",
    "SET_MODE",
]
"""Those of modules of their own."""

BEGIN_CONNECTING: Final = Method(
    "portal", "begin_connecting", ConnectLink, (NotFound, ConnectNotSetUp)
)
BUSINESS_ACCOUNTS: Final = Method("portal", "business_accounts", list[BusinessAccount], (NotFound,))
CANCELLATION_LINKS: Final = Method(
    "portal", "cancellation_links", CancellationLinks, (NotFound, RequestClosed)
)
CHECKOUT_REFERENCE: Final = Method("portal", "checkout_reference", CheckoutReference, (NotFound,))
BUSINESS_CONTACT: Final = Method("portal", "business_contact", BusinessContact, (NotFound,))
CONTACT: Final = Method("portal", "contact", Contact, (UnknownCustomer,))
CONTACTS: Final = Method("portal", "contacts", dict[str, Contact])
ERASE_CUSTOMER: Final = Method("portal", "erase_customer", CustomerErasure)
EXPORT_CUSTOMERS: Final = Method("portal", "export_customers", CustomerExport, (NotFound,))
FIND_CUSTOMER: Final = Method("portal", "find_customer", FoundCustomer, (NotFound,))
IMPORT_CUSTOMERS: Final = Method("portal", "import_customers", ImportResult, (NotFound,))
LINK: Final = Method("portal", "link", Link, (NotFound,))
LINK_CUSTOMER: Final = Method(
    "portal", "link_customer", LinkedCustomer, (NotFound, StripeCustomerConflict)
)
LINK_EVIDENCE: Final = Method("portal", "link_evidence", LinkEvidence, (NotFound,))
LOOKUP: Final = Method("portal", "lookup", CustomerSnapshot, (LinkInvalid, LinkReplaced))
ROTATE_LINK: Final = Method("portal", "rotate_link", Link, (NotFound,))
STORY: Final = Method("portal", "story", Timeline)
UNKNOWN_LINKS: Final = Method("portal", "unknown_links", UnknownLinks, (NotFound,))
UNLINK_CUSTOMER: Final = Method("portal", "unlink_customer", LinkedCustomer, (NotFound,))
UPSERT_APPOINTMENTS: Final = Method("portal", "upsert_appointments", AppointmentCounts, (NotFound,))
UPSERT_BUSINESS: Final = Method("portal", "upsert_business", BusinessReference)
UPSERT_CUSTOMER: Final = Method(
    "portal", "upsert_customer", UpsertedCustomer, (NotFound, StripeCustomerConflict)
)
