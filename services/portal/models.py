"""The portal's tables."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.portal.domain.enrolment import Enrolment
from services.portal.domain.snapshot import LONGEST_NOTE, LONGEST_STATEMENT
from shared.contracts.accounts import Account, Merchant
from shared.contracts.invoices import LONGEST_PURPOSE
from shared.database import InAccount, KeyedByAccount, UtcDateTime, partial_index
from shared.mode import LIVE
from shared.outbox import BigId, OutboxColumns
from shared.schema import owner_table

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

UNKNOWN_LINKS: Final = (
    "platform_stripe_customer_id IS NOT NULL AND (link_source IS NULL OR link_source = 'unknown')"
)
"""Customers whose link nothing but its being there speaks for."""


class Base(DeclarativeBase):
    """All tables of the portal."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {dt.datetime: UtcDateTime}  # noqa: RUF012 (SQLAlchemy's own spelling)


SCHEMA_OWNER: Final = owner_table(Base.metadata, "portal")


def _by_email(name: str) -> Index:
    """The rows of an account by their address, whatever its case. In SQLite, whose tables are small and written anew by migrations, none."""
    return Index(name, "account", func.lower(text("email"))).ddl_if(dialect="postgresql")


class BusinessRow(InAccount, Base):
    """A business that uses Portico."""

    __tablename__ = "businesses"
    # By it a behalf is found that a business names (`queries/behalves.py`).
    __table_args__ = (Index(None, "account", "on_behalf_of"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    business_id: Mapped[str] = mapped_column(String(100), unique=True)
    """The host application's own id."""
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """The connected account whose brand and invoices its customers see, where `account` is a platform's; empty: nobody's."""
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(320))
    phone: Mapped[str | None] = mapped_column(String(50))
    website: Mapped[str | None] = mapped_column(String(500))
    logo_url: Mapped[str | None] = mapped_column(String(500))
    color: Mapped[str | None] = mapped_column(String(7))
    locale: Mapped[str] = mapped_column(String(35))
    timezone: Mapped[str] = mapped_column(String(64))
    sender_email: Mapped[str | None] = mapped_column(String(320))
    """The address that its customers' emails come from, where SendGrid has verified it."""
    service_note: Mapped[str | None] = mapped_column(String(LONGEST_NOTE))
    """One sentence of its own on what becomes of the service while something is owed."""
    charged_as: Mapped[str | None] = mapped_column(String(LONGEST_STATEMENT))
    """What a statement of the customer's bank calls the business's charges; NULL: not said."""
    currency: Mapped[str | None] = mapped_column(String(3))
    """The currency that its figures are shown in first, ISO 4217 in lower case; NULL: none before the others."""
    reminder_policy: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """When its customers are reminded of an unpaid invoice; NULL: the notifier's default."""
    mode: Mapped[str] = mapped_column(String(10), server_default=LIVE)
    """`live` or `observe`; where the installation observes, it does so whatever this says."""
    live_since: Mapped[dt.datetime | None]
    """The line: no mail that nobody asked for is sent of what happened before; NULL: none is drawn."""
    may_cancel: Mapped[bool | None]
    """Whether Stripe's page lets this business's customers cancel by themselves; None: not known yet."""
    may_cancel_checked_at: Mapped[dt.datetime | None]
    """When billing was last asked."""
    enrolment: Mapped[str] = mapped_column(String(20), server_default=Enrolment.BY_HOST)
    """Where its customers come from (`domain.enrolment.Enrolment`)."""
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class CustomerRow(InAccount, Base):
    """A business's customer. No link is stored: it is made from `public_id` and `link_generation`."""

    __tablename__ = "customers"
    __table_args__ = (
        UniqueConstraint("business_pk", "external_id"),
        # The id second: by it and the account a customer is found, whatever the third is.
        UniqueConstraint("account", "platform_stripe_customer_id", "on_behalf_of"),
        partial_index("ix_customers_unknown_links", "id", where=UNKNOWN_LINKS),
        # By it it is found whose address somebody gave at Stripe.
        _by_email("ix_customers_account_email"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(22), unique=True)
    business_pk: Mapped[int] = mapped_column(ForeignKey("businesses.id"))
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """That of the business: on a platform's account one Stripe customer may be a customer of several businesses."""
    external_id: Mapped[str] = mapped_column(String(100))
    """The host application's own id."""
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    locale: Mapped[str | None] = mapped_column(String(35))
    timezone: Mapped[str | None] = mapped_column(String(64))
    platform_stripe_customer_id: Mapped[str | None] = mapped_column(String(255))
    """What the standing evidence decides (`link_evidence`); kept here for the page."""
    link_source: Mapped[str | None] = mapped_column(String(20))
    """Whose word decided: `host`, `metadata`, `reference`, `enrolled` or `unknown`. NULL beside a link: it is of a release that kept no
    evidence, so `unknown`."""
    link_generation: Mapped[int] = mapped_column(BigInteger, default=1)
    fresh_link_at: Mapped[dt.datetime | None]
    """When a fresh link was last mailed on request."""
    billing_opened_at: Mapped[dt.datetime | None]
    """When Stripe's page was last opened from here."""
    enrolled_at: Mapped[dt.datetime | None]
    """When Portico made them of what Stripe tells; NULL: the host told of them, or has claimed them since."""
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class CustomerAliasRow(Base):
    """A customer who was enrolled and is merged into the host's: their links, and their id in calls, lead to that one."""

    __tablename__ = "customer_aliases"

    public_id: Mapped[str] = mapped_column(String(22), primary_key=True)
    """The id of the customer who was merged."""
    customer_pk: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    link_generation: Mapped[int] = mapped_column(BigInteger)
    """That of their links that work."""
    customer_generation: Mapped[int] = mapped_column(BigInteger)
    """That of the customer's own links for as long as those work: raising it revokes them too."""


class StripeProfileRow(KeyedByAccount, Base):
    """What Stripe tells of one of its customers: kept where a business enrols from Stripe, and where the address is a customer's.
    Nobody has verified the address."""

    __tablename__ = "stripe_profiles"
    __table_args__ = (_by_email("ix_stripe_profiles_account_email"),)

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), primary_key=True, server_default="")
    """On whose behalf they were charged; empty: what is told of the Stripe customer itself, and what they paid to nobody else."""
    email: Mapped[str | None] = mapped_column(String(320))
    name: Mapped[str | None] = mapped_column(String(200))
    locale: Mapped[str | None] = mapped_column(String(35))
    told_at: Mapped[dt.datetime | None]
    """When the three were so at Stripe; NULL: only `pays` is known."""
    firm: Mapped[bool] = mapped_column(server_default=false())
    """The three are of the Stripe customer, and not a copy on something that they paid."""
    pays: Mapped[str | None] = mapped_column(String(20))
    """How they first showed to be a paying customer (`domain.profiles.Pays`); NULL: not yet."""
    pays_at: Mapped[dt.datetime | None]


class LinkProposalRow(InAccount, Base):
    """What a person decided about a proposal that a Stripe customer is a customer. Those that are open are not rows: they follow from
    the profiles and the customers (`handlers/proposals.py`). And which enrolled customers an address waits for that is another's
    (`queries/waiting_addresses.py`)."""

    __tablename__ = "link_proposals"
    __table_args__ = (
        UniqueConstraint("account", "stripe_customer_id", "customer_id"),
        Index(None, "customer_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    customer_id: Mapped[str] = mapped_column(String(22))
    """The public id of the customer."""
    why: Mapped[str] = mapped_column(String(20))
    """Why it was proposed: `equal_email`. Where an address waits: `address_taken`."""
    state: Mapped[str] = mapped_column(String(20))
    """`accepted` or `refused`; `address_waits`: the address that Stripe told."""
    decided_at: Mapped[dt.datetime]
    """Where an address waits: when the customer was last changed, so that a change of their profile since is known."""
    decided_by: Mapped[str] = mapped_column(String(200))
    """Who, as the caller says; nobody, where an address waits."""


def merchant_of(row: BusinessRow | CustomerRow) -> Merchant:
    """Whose customers at Stripe a business's customers are."""
    return Merchant(Account(row.account), row.on_behalf_of)


class AppointmentRow(Base):
    """A visit of the business, as the host application tells it."""

    __tablename__ = "appointments"
    __table_args__ = (
        UniqueConstraint("customer_pk", "external_id"),
        Index(None, "customer_pk", "starts_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    customer_pk: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    external_id: Mapped[str] = mapped_column(String(100))
    title: Mapped[str] = mapped_column(String(200))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime | None]
    location: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    updated_at: Mapped[dt.datetime]


def _open_index(name: str, condition: str) -> Index:
    """The few open invoices for which a condition holds, by their last failure."""
    return partial_index(name, "last_failed_at", where=f"status = 'open' AND ({condition})")


class InvoiceRow(KeyedByAccount, Base):
    """What is known of a Stripe invoice; kept for unknown Stripe customers too, since the link may come later."""

    __tablename__ = "invoices"
    __table_args__ = (
        Index(None, "stripe_customer_id", "status"),
        # What billing is asked about, one for each way to come to that (`queries/billing_sync.py`).
        _open_index(
            "ix_invoices_failure_to_ask",
            "card_of_failure IS NULL OR card_of_failure <> last_failed_at",
        ),
        _open_index("ix_invoices_method_to_ask", "method_changed_at IS NOT NULL"),
        _open_index(
            "ix_invoices_try_to_ask",
            "as_of > last_failed_at AND (method_type IS NULL OR method_type <> 'card')",
        ),
        partial_index(
            "ix_invoices_first_failed_at",
            "first_failed_at",
            "invoice_id",
            where="first_failed_at IS NOT NULL",
        ),
    )

    invoice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    status: Mapped[str] = mapped_column(String(20))
    currency: Mapped[str] = mapped_column(String(3))
    amount_due: Mapped[int] = mapped_column(BigInteger)
    amount_remaining: Mapped[int] = mapped_column(BigInteger)
    amount_paid: Mapped[int] = mapped_column(BigInteger, server_default="0")
    amount_credited: Mapped[int] = mapped_column(BigInteger, server_default="0")
    attempt_count: Mapped[int]
    collection_method: Mapped[str] = mapped_column(String(30))
    billing_reason: Mapped[str | None] = mapped_column(String(50))
    number: Mapped[str | None] = mapped_column(String(100))
    subscription_id: Mapped[str | None] = mapped_column(String(255))
    purpose: Mapped[str | None] = mapped_column(String(LONGEST_PURPOSE))
    purpose_more: Mapped[int] = mapped_column(server_default="0")
    finalized_at: Mapped[dt.datetime | None]
    as_of: Mapped[dt.datetime | None]
    next_payment_attempt: Mapped[dt.datetime | None]
    schedule_as_of: Mapped[dt.datetime | None]
    schedule_changed: Mapped[bool] = mapped_column(server_default=false())
    auto_advance: Mapped[bool | None]
    auto_advance_as_of: Mapped[dt.datetime | None]
    was_advancing: Mapped[bool] = mapped_column(server_default=false())
    first_failed_at: Mapped[dt.datetime | None]
    last_failed_at: Mapped[dt.datetime | None]
    last_failure_own: Mapped[bool]
    action_required_at: Mapped[dt.datetime | None]
    closed_at: Mapped[dt.datetime | None]
    method_changed_at: Mapped[dt.datetime | None]
    method_type: Mapped[str | None] = mapped_column(String(50))
    card_brand: Mapped[str | None] = mapped_column(String(30))
    card_last4: Mapped[str | None] = mapped_column(String(4))
    card_exp_month: Mapped[int | None]
    card_exp_year: Mapped[int | None]
    bank_name: Mapped[str | None] = mapped_column(String(60))
    bank_last4: Mapped[str | None] = mapped_column(String(4))
    decline_reason: Mapped[str | None] = mapped_column(String(30))
    card_of_failure: Mapped[dt.datetime | None]
    needs_new_method: Mapped[bool] = mapped_column(server_default=false())
    under_way_since: Mapped[dt.datetime | None]
    under_way_amount: Mapped[int | None] = mapped_column(BigInteger)
    ask_again_at: Mapped[dt.datetime | None]
    refused_since: Mapped[dt.datetime | None]


class MethodChangeRow(KeyedByAccount, Base):
    """When the payment method of a Stripe customer, or of one of its subscriptions, was last replaced.

    Kept apart from the invoices, because the change may be heard of before the failure that it answers.
    """

    __tablename__ = "method_changes"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    subscription_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Empty for the customer's own default; an invoice's id for that of one invoice."""
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """Of a subscription or an invoice."""
    changed_at: Mapped[dt.datetime]


class DeletedStripeCustomerRow(KeyedByAccount, Base):
    """A Stripe customer that is gone. Stripe never uses an id again, so neither do we."""

    __tablename__ = "deleted_stripe_customers"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    deleted_at: Mapped[dt.datetime]


class LinkEvidenceRow(InAccount, Base):
    """Somebody's word on whose a Stripe customer is, as long as it is remembered. What stands decides
    (`services/portal/domain/linking.py`); the order in which rows came says nothing."""

    __tablename__ = "link_evidence"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255), index=True)
    source: Mapped[str] = mapped_column(String(20))
    """`host`, `metadata`, `reference`, `enrolled` or `unknown`."""
    object_id: Mapped[str] = mapped_column(String(255), index=True)
    """What says it: the Stripe object (`cus_…`, `sub_…`, `cs_…`), else the customer's public id."""
    customer_ref: Mapped[str | None] = mapped_column(String(255), index=True)
    """Whom it names: a public id, or the host's own id of `business_ref`. NULL: nobody (any more)."""
    business_ref: Mapped[str | None] = mapped_column(String(255))
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """For customers of which business on a platform's account it speaks: as in `businesses`."""
    previous_customer_ref: Mapped[str | None] = mapped_column(String(255))
    """Whom the same object named before: for the order of changes within one second."""
    previous_business_ref: Mapped[str | None] = mapped_column(String(255))
    denies: Mapped[bool] = mapped_column(default=False)
    """The host says that the two do *not* belong together."""
    refused: Mapped[str | None] = mapped_column(String(30))
    """Why it never was evidence, one word: a reference that is not signed, or too old. Kept for explaining."""
    event_id: Mapped[str | None] = mapped_column(String(255))
    """Stripe's event that told it."""
    said_at: Mapped[dt.datetime]
    """Stripe's time, in whole seconds; ours for the host's word."""
    noted_at: Mapped[dt.datetime]
    """When it came here."""
    withdrawn_at: Mapped[dt.datetime | None]
    """Since when it does not stand any more."""


class OutboxEvent(OutboxColumns, Base):
    """An event of the portal's own that must be published; the relay does."""


class PendingLinkRow(KeyedByAccount, Base):
    """What releases before evidence was kept have waiting for a customer. Only their replicas read and write it."""

    __tablename__ = "waiting_links"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    customer_ref: Mapped[str] = mapped_column(String(255), index=True)
    business_ref: Mapped[str | None] = mapped_column(String(255))
    evidence: Mapped[str] = mapped_column(String(50))
    seen_at: Mapped[dt.datetime]


class LinkConflictRow(InAccount, Base):
    """A link that was refused, since evidence of the same rank says otherwise: somebody has to look at it."""

    __tablename__ = "link_conflicts"
    __table_args__ = (UniqueConstraint("account", "stripe_customer_id", "customer_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    customer_id: Mapped[str] = mapped_column(String(22))
    """The public id of the customer that Stripe named."""
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """As in `link_evidence`."""
    reason: Mapped[str] = mapped_column(String(40))
    """`stripe_customer_taken`, `customer_has_another` or `said_at_once`."""
    evidence: Mapped[str] = mapped_column(String(50))
    """Whose word was refused."""
    event_id: Mapped[str] = mapped_column(String(255))
    seen_at: Mapped[dt.datetime]
    resolved_at: Mapped[dt.datetime | None]
    """Since when the evidence is no longer in conflict."""


class SubscriptionRow(InAccount, Base):
    """What is known of a Stripe subscription; kept for unknown Stripe customers too, like the invoices."""

    __tablename__ = "subscriptions"
    __table_args__ = (UniqueConstraint("account", "subscription_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    subscription_id: Mapped[str] = mapped_column(String(255))
    stripe_customer_id: Mapped[str] = mapped_column(String(255), index=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    status: Mapped[str] = mapped_column(String(30))
    """Stripe's word, or `unknown` where only `method_kept` was told."""
    ends_at: Mapped[dt.datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(50))
    """Stripe's word for why it ended."""
    current_period_end: Mapped[dt.datetime | None]
    description: Mapped[str | None] = mapped_column(String(200))
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(3))
    interval: Mapped[str | None] = mapped_column(String(10))
    interval_count: Mapped[int]
    as_of: Mapped[dt.datetime]
    """When this was true at Stripe."""
    pricing: Mapped[str | None] = mapped_column(String(20))
    """How the amount comes about (`shared.contracts.prices.Pricing`)."""
    discounted: Mapped[bool | None]
    collection_paused: Mapped[bool | None]
    collection_resumes_at: Mapped[dt.datetime | None]
    trial_ends_at: Mapped[dt.datetime | None]
    terms_as_of: Mapped[dt.datetime | None]
    """The `as_of` that the columns from `pricing` on belong to. Another one: a release that doesn't know them wrote after it."""
    previewed_at: Mapped[dt.datetime | None]
    """When Stripe last told of the next invoice; what follows is of then."""
    next_amount: Mapped[int | None] = mapped_column(BigInteger)
    """What the next invoice will ask for; None: there will be none."""
    next_recurring: Mapped[int | None] = mapped_column(BigInteger)
    """The fixed part of it, with its discounts."""
    next_discount: Mapped[str | None] = mapped_column(String(10))
    """How long the discount lasts (`shared.contracts.prices.Lasts`)."""
    next_discount_until: Mapped[dt.datetime | None]
    discount_seen: Mapped[bool | None]
    """Whether there was a discount when Stripe was last asked, be it the customer's own: outlives the preview."""
    method_kept: Mapped[bool | None]
    """It is charged to another payment method than the customer's new one, since a platform may not change that."""
    method_kept_as_of: Mapped[dt.datetime | None]


class CancellationRequestRow(InAccount, Base):
    """A customer asked the business to end a subscription. The row is the schedule of what follows from it."""

    __tablename__ = "cancellation_requests"
    __table_args__ = (
        # One open request a subscription, whoever presses twice.
        partial_index(
            "uq_cancellation_requests_open_in_account",
            "account",
            "subscription_id",
            where="status = 'open'",
            unique=True,
        ),
        partial_index(
            "ix_cancellation_requests_due", "next_try_at", where="next_try_at IS NOT NULL"
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    request_id: Mapped[str] = mapped_column(String(22), unique=True)
    """Random and public: what links and mails speak of."""
    customer_pk: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    subscription_id: Mapped[str] = mapped_column(String(255), index=True)
    status: Mapped[str] = mapped_column(String(20))
    """`open`, `approved`, `declined`, or `overtaken`: the subscription ends, or has ended, anyway."""
    asked_at: Mapped[dt.datetime]
    decided_at: Mapped[dt.datetime | None]
    """Of one that is open: when it was approved by a business that observed before the end was planned."""
    business_told_at: Mapped[dt.datetime | None]
    carried_out_at: Mapped[dt.datetime | None]
    """When billing planned the end."""
    ends_at: Mapped[dt.datetime | None]
    """When the subscription will end, as billing answered."""
    by_hand_at: Mapped[dt.datetime | None]
    """When Stripe did not let us end it: then only the business can, and it is carried out once Stripe says that it ends."""
    dashboard_url: Mapped[str | None] = mapped_column(String(500))
    """Where the business does that."""
    by_hand_told_at: Mapped[dt.datetime | None]
    """When the business was asked to."""
    by_hand_reminded_at: Mapped[dt.datetime | None]
    """And again."""
    customer_told_at: Mapped[dt.datetime | None]
    next_try_at: Mapped[dt.datetime | None]
    """When the next step is due; None: nothing is left to do."""
    tries: Mapped[int]
    """Failed tries of the present step."""
    last_error: Mapped[str | None] = mapped_column(String(200))


class ApiKeyRow(Base):
    """A key of the HTTP API. The key itself is nowhere: it was shown once, to the one who had it made."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key_id: Mapped[str] = mapped_column(String(30), unique=True)
    """`key_…`: what names it in logs and on the command line."""
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of the key, in hexadecimal."""
    hint: Mapped[str] = mapped_column(String(30))
    """How it begins and ends."""
    name: Mapped[str] = mapped_column(String(100))
    business_pk: Mapped[int | None] = mapped_column(ForeignKey("businesses.id"), index=True)
    """The one business that it is for; NULL: the whole installation."""
    scopes: Mapped[str] = mapped_column(String(500))
    """What it may do, words separated by spaces."""
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]


class IdempotentRequestRow(Base):
    """A request of the HTTP API that came with an `Idempotency-Key`: what it was answered, for whoever sends it again."""

    __tablename__ = "idempotent_requests"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of whose it is (the API key), method, address and `Idempotency-Key`."""
    body_digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of its body: another one under the same key is refused."""
    began_at: Mapped[dt.datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    """HTTP status of its answer; NULL: it is not answered yet."""
    answer: Mapped[str | None] = mapped_column(Text)
    """The answer, JSON; NULL as well where it opens something: that is made anew."""


class HostEventRow(InAccount, Base):
    """Something that happened, as hosts list it over HTTP."""

    __tablename__ = "host_events"
    __table_args__ = (
        Index(None, "business_pk", "position"),
        Index(None, "customer_id"),
        Index(None, "stripe_customer_id"),
        Index(None, "position", unique=True),
        partial_index("ix_host_events_unplaced", "id", where="position IS NULL"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(80))
    occurred_at: Mapped[dt.datetime]
    """When it happened at Stripe."""
    noted_at: Mapped[dt.datetime]
    position: Mapped[int | None] = mapped_column(BigInteger)
    """Its place in the order in which hosts read; NULL: it has none yet (`queries/host_events.py`)."""
    business_pk: Mapped[int | None] = mapped_column(ForeignKey("businesses.id"))
    """Whose customer it was about when it came; NULL: nobody's that was known."""
    customer_id: Mapped[str | None] = mapped_column(String(22))
    """The public id of the customer."""
    stripe_customer_id: Mapped[str | None] = mapped_column(String(255))
    invoice_id: Mapped[str | None] = mapped_column(String(255))
    subscription_id: Mapped[str | None] = mapped_column(String(255))


class ConnectionRow(Base):
    """A way for a business to connect its Stripe account: a link of Portico's, and what became of following it. Secrets are here as
    SHA-256 alone."""

    __tablename__ = "connections"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    business_pk: Mapped[int] = mapped_column(ForeignKey("businesses.id"), index=True)
    link_digest: Mapped[str] = mapped_column(String(64), unique=True)
    """Of the secret in the link."""
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)
    """When the link is good for nothing any more; a newer one of the business ends it, too."""
    state_digest: Mapped[str | None] = mapped_column(String(64), unique=True)
    """Of OAuth's `state`, of the latest time that somebody went to Stripe by the link."""
    browser_digest: Mapped[str | None] = mapped_column(String(64))
    """Of the cookie of the browser in which that was."""
    state_expires_at: Mapped[dt.datetime | None]
    state_spent_at: Mapped[dt.datetime | None]
    """When that browser, or another one, came back with it: once."""
    outcome: Mapped[str | None] = mapped_column(String(20))
    """What came of it (`domain.connecting.Outcome`)."""
    connected_account: Mapped[str | None] = mapped_column(String(255))
    """The account that was connected, `acct_…`."""


class AccountStateRow(Base):
    """How a Stripe account beside the installation's own stands, as billing last told."""

    __tablename__ = "account_states"

    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    """`connected`, `restricted` or `disconnected`."""
    as_of: Mapped[dt.datetime]


class ProcessedEventRow(Base):
    """An event whose effect is committed; the same event again does nothing."""

    __tablename__ = "processed_events"

    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    processed_at: Mapped[dt.datetime] = mapped_column(index=True)


class ActivityRow(Base):
    """What a customer did on the page, counted: looks by the hour, everything else by the second.

    So a customer leaves at most two dozen rows of looks a day, however often a mail scanner fetches the link.
    """

    __tablename__ = "visits"
    __table_args__ = (UniqueConstraint("customer_id", "what", "bucket"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(22))
    """The public id of the customer."""
    what: Mapped[str] = mapped_column(String(30))
    """`page`, `page_from_mail`, `billing_session`, `billing_unavailable`, `fresh_link`."""
    bucket: Mapped[dt.datetime]
    first_at: Mapped[dt.datetime] = mapped_column(index=True)
    last_at: Mapped[dt.datetime]
    count: Mapped[int]
