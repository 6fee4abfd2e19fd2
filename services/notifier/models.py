"""The notifier's tables. No row holds an address, a link or a rendered body."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Index, MetaData, String, Text, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.notifier.domain.vocabulary import Status
from shared.contracts.accounts import StripeCustomer, StripeId, stripe_customer, stripe_id
from shared.contracts.invoices import LONGEST_PURPOSE
from shared.database import InAccount, KeyedByAccount, UtcDateTime, brin_index, partial_index
from shared.outbox import BigId, OutboxColumns
from shared.schema import owner_table


class Base(DeclarativeBase):
    """The notifier's tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dt.datetime: UtcDateTime}  # noqa: RUF012 (SQLAlchemy's own spelling)


SCHEMA_OWNER: Final = owner_table(Base.metadata, "notifier")


class Notification(InAccount, Base):
    """One email that was, will be, or deliberately will not be sent. The database is the schedule: `due_at`."""

    __tablename__ = "notifications"

    notification_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """Opaque and random; it goes to SendGrid as the only custom argument."""
    dedupe_key: Mapped[str] = mapped_column(String(255), unique=True)
    attempt_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    """Held by the one email of an attempt; NULL on rows that were suppressed from the start."""
    kind: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20), default=Status.PENDING)
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was suppressed or failed."""
    invoice_id: Mapped[str | None] = mapped_column(String(255), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    charge_id: Mapped[str | None] = mapped_column(String(255))
    """The charge whose failure it tells of, as looked up before it went out."""
    payment_method_id: Mapped[str | None] = mapped_column(String(255))
    """What that charge was made to."""
    next_payment_attempt: Mapped[dt.datetime | None]
    """The date that the failure's event named."""
    stripe_customer_id: Mapped[str | None] = mapped_column(String(255), index=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), default="", server_default="")
    """Whose customer that is, where the account is a platform's."""
    customer_id: Mapped[str | None] = mapped_column(String(64))
    """Portico's id, where the email was asked for by it (a fresh link)."""
    correlation_id: Mapped[str] = mapped_column(String(255), default="", index=True)
    created_at: Mapped[dt.datetime] = mapped_column(index=True)
    due_at: Mapped[dt.datetime]
    lease_until: Mapped[dt.datetime | None]
    lease_token: Mapped[str | None] = mapped_column(String(40))
    """Says which sender holds the lease; one that lost it does not post."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Tries that reached for SendGrid or the portal and failed, plus the one that worked."""
    lookups: Mapped[int] = mapped_column(default=0)
    """Times that the portal did not know the customer."""
    unconfirmed_since: Mapped[dt.datetime | None]
    """Set before the request to SendGrid, cleared by its answer: still set means "maybe sent"."""
    unconfirmed_posts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    provider_message_id: Mapped[str | None] = mapped_column(String(255))
    """SendGrid's name for the message. What it reports without our custom argument is known by it."""
    sent_at: Mapped[dt.datetime | None]
    delivered_at: Mapped[dt.datetime | None]
    occurred_at: Mapped[dt.datetime | None]
    """When it happened at Stripe, which may be another clock than ours (`domain.reminders.effective_time`)."""
    ready_at: Mapped[dt.datetime | None]
    """When the reminder policy last let it go, or SendGrid did that held it by a 429; NULL: neither ever held it. Giving up counts from here."""
    told_in: Mapped[str | None] = mapped_column(String(40), index=True)
    """The notification whose email tells of this one too."""
    finished_at: Mapped[dt.datetime | None]
    """When it was suppressed, observed or failed."""
    business_id: Mapped[str | None] = mapped_column(String(100))
    """Whose it was to be, by the host's id; of one that was observed, and of a welcome."""
    accepted_at: Mapped[dt.datetime | None]
    """When a person wanted it sent though it had been observed."""
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What whoever asked for it had to say; no address and no link."""
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """The work that wrote it down, where that is traced: sending it belongs to the same trace."""

    @property
    def invoice(self) -> StripeId | None:
        """The whole name of its invoice."""
        return stripe_id(self.account, self.invoice_id)

    @property
    def stripe_customer(self) -> StripeCustomer | None:
        """The whole name of its Stripe customer."""
        return stripe_customer(self.account, self.stripe_customer_id, self.on_behalf_of)

    __table_args__ = (
        partial_index("ix_notifications_due", "due_at", where="status IN ('pending', 'sending')"),
        partial_index(
            "ix_notifications_provider_message_id",
            "provider_message_id",
            where="provider_message_id IS NOT NULL",
        ),
        partial_index(
            "ix_notifications_observed",
            "business_id",
            "finished_at",
            "notification_id",
            where="status = 'observed'",
        ),
        partial_index(
            "ix_notifications_welcomes",
            "business_id",
            where="kind = 'welcome' AND status IN ('pending', 'sending')",
        ),
    )


class Welcome(Base):
    """A customer who is to be welcomed, or was: nobody twice, so it stays for as long as the customer does."""

    __tablename__ = "welcomes"

    welcome_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    """The order of the queue."""
    customer_id: Mapped[str] = mapped_column(String(64), unique=True)
    """Portico's id."""
    business_id: Mapped[str] = mapped_column(String(100))
    """The host's own id."""
    timezone: Mapped[str | None] = mapped_column(String(64))
    """The customer's, when it was asked for; NULL: the business's."""
    asked_at: Mapped[dt.datetime]
    released_at: Mapped[dt.datetime | None]
    """When the mail was written down to be sent, or they were taken off the queue; NULL: it waits for its turn."""
    notification_id: Mapped[str | None] = mapped_column(String(40))
    """By which they are told: of a customer who was merged into this one it may be that one's. NULL of who was taken off the queue."""

    __table_args__ = (
        Index("ix_welcomes_business_id", "business_id"),
        partial_index(
            "ix_welcomes_waiting",
            "business_id",
            "welcome_id",
            "timezone",
            where="released_at IS NULL",
        ),
    )


class WelcomeRun(Base):
    """How fast a business's customers are welcomed, and when the next are."""

    __tablename__ = "welcome_runs"

    business_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    per_hour: Mapped[int]
    asked_at: Mapped[dt.datetime]
    """When customers were last asked for."""
    due_at: Mapped[dt.datetime]
    """When the next is released, or it is looked whether it can be."""
    held: Mapped[str | None] = mapped_column(String(40))
    """Why nothing was released when it was last due (`domain.welcomes.Held`); NULL: something was."""
    finished_at: Mapped[dt.datetime | None]
    """Since when nobody waits."""


class IncidentRow(KeyedByAccount, Base):
    """The story of one invoice; see `domain.Incident`."""

    __tablename__ = "incidents"

    invoice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255), index=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), default="", server_default="")
    status: Mapped[str] = mapped_column(String(20))
    attempt_count: Mapped[int] = mapped_column("last_attempt", default=0)
    currency: Mapped[str] = mapped_column(String(3), default="")
    """The amounts below are in its minor unit, and pass 32 bits (50 million rupiah do)."""
    amount_due: Mapped[int] = mapped_column(BigInteger, default=0)
    amount_remaining: Mapped[int | None] = mapped_column(BigInteger)
    amount_paid: Mapped[int] = mapped_column(BigInteger, default=0)
    amount_credited: Mapped[int] = mapped_column(BigInteger, server_default="0")
    collection_method: Mapped[str] = mapped_column(String(30), server_default="")
    billing_reason: Mapped[str | None] = mapped_column(String(50))
    number: Mapped[str | None] = mapped_column(String(255))
    subscription_id: Mapped[str | None] = mapped_column(String(255))
    purpose: Mapped[str | None] = mapped_column(String(LONGEST_PURPOSE))
    purpose_more: Mapped[int] = mapped_column(default=0, server_default="0")
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
    last_failure_own: Mapped[bool] = mapped_column(server_default=false())
    action_required_at: Mapped[dt.datetime | None]
    opened_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    closed_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    last_mailed_at: Mapped[dt.datetime | None]
    asked_at: Mapped[dt.datetime | None]
    failure_heard_at: Mapped[dt.datetime | None]
    end_noted: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        partial_index(
            "ix_incidents_without_end",
            "failure_heard_at",
            where="closed_at IS NULL AND NOT end_noted",
        ),
    )


class ProcessedEvent(Base):
    """An event that was acted upon, or a host's request that may be repeated, with what came of it. Written in the same transaction as its
    effect."""

    __tablename__ = "processed_events"

    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    type: Mapped[str] = mapped_column(String(80))
    outcome: Mapped[str] = mapped_column(Text, default="")
    processed_at: Mapped[dt.datetime]

    __table_args__ = (brin_index("ix_processed_events_processed_at", "processed_at"),)


class DeletedCustomer(KeyedByAccount, Base):
    """A Stripe customer that is gone, kept since a failure of theirs may arrive after the deletion."""

    __tablename__ = "deleted_customers"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    deleted_at: Mapped[dt.datetime]


class SuppressedAddress(Base):
    """An address that gets no more email, by its hashes (`domain.AddressHash`)."""

    __tablename__ = "suppressed_addresses"

    address_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    address_hmac: Mapped[str | None] = mapped_column(String(64), index=True)
    """NULL: written without a key, or by a process of the release before; the notifier fills it."""
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[dt.datetime]
    notification_id: Mapped[str | None] = mapped_column(String(40))


class SendGridEvent(Base):
    """An event of SendGrid's Event Webhook that was acted upon. Up to 46 copies of one were reported."""

    __tablename__ = "sendgrid_events"

    sg_event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    notification_id: Mapped[str] = mapped_column(String(40), index=True)
    event: Mapped[str] = mapped_column(String(40))
    occurred_at: Mapped[dt.datetime]
    received_at: Mapped[dt.datetime]

    __table_args__ = (brin_index("ix_sendgrid_events_received_at", "received_at"),)


class OutboxEvent(OutboxColumns, Base):
    """An event of the notifier's own that must be published; its relay does."""


class HookEndpoint(Base):
    """Where a host wants to hear of events: of one business, or of the whole installation. Its secret is derived, not stored."""

    __tablename__ = "hook_endpoints"

    endpoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    business_id: Mapped[str | None] = mapped_column(String(100), index=True)
    """The host's own id of the business; NULL: the installation's, which hears of all."""
    url: Mapped[str] = mapped_column(Text)
    """May hold a secret in its path or query: logs name the host alone."""
    event_types: Mapped[list[str]] = mapped_column(JSON)
    """Empty: all."""
    enabled: Mapped[bool]
    disabled_because: Mapped[str | None] = mapped_column(String(20))
    disabled_at: Mapped[dt.datetime | None]
    generation: Mapped[int] = mapped_column(default=1)
    """Of its secret."""
    rotated_at: Mapped[dt.datetime | None]
    """When this generation began; NULL: with the endpoint."""
    rotated_by: Mapped[str | None] = mapped_column(String(64))
    """By which request, where it said so: the same one does not rotate again."""
    created_at: Mapped[dt.datetime]
    failures: Mapped[int] = mapped_column(default=0)
    """In a row."""
    failing_since: Mapped[dt.datetime | None]
    paused_until: Mapped[dt.datetime | None]


class HookEvent(InAccount, Base):
    """An event that hosts may hear of, in the form in which they do. Its deliveries are made when it is known whose it is."""

    __tablename__ = "hook_events"

    hook_event_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(512))
    type: Mapped[str] = mapped_column(String(80))
    occurred_at: Mapped[dt.datetime]
    object_type: Mapped[str] = mapped_column(String(40))
    object_id: Mapped[str] = mapped_column(String(255))
    version: Mapped[int] = mapped_column(BigInteger)
    stripe_customer_id: Mapped[str | None] = mapped_column(String(255), index=True)
    on_behalf_of: Mapped[str] = mapped_column(String(255), default="", server_default="")
    portal_customer_id: Mapped[str | None] = mapped_column(String(64), index=True)
    business_id: Mapped[str | None] = mapped_column(String(100))
    customer_id: Mapped[str | None] = mapped_column(String(100))
    """The host's own id of the customer."""
    livemode: Mapped[bool | None]
    correlation_id: Mapped[str] = mapped_column(String(255))
    traceparent: Mapped[str] = mapped_column(String(55))
    received_at: Mapped[dt.datetime] = mapped_column(index=True)
    due_at: Mapped[dt.datetime | None]
    """When it is looked at whose it is; NULL: its deliveries are made."""
    lookups: Mapped[int] = mapped_column(default=0)

    __table_args__ = (partial_index("ix_hook_events_due", "due_at", where="due_at IS NOT NULL"),)


class HookDelivery(Base):
    """One event on its way to one endpoint. The database is the schedule, as with notifications."""

    __tablename__ = "hook_deliveries"

    endpoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hook_event_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)
    status: Mapped[str] = mapped_column(String(20))
    due_at: Mapped[dt.datetime]
    lease_token: Mapped[str | None] = mapped_column(String(40))
    attempts: Mapped[int] = mapped_column(default=0)
    """Since it was made, or asked for again."""
    created_at: Mapped[dt.datetime] = mapped_column(index=True)
    finished_at: Mapped[dt.datetime | None]
    replayed_at: Mapped[dt.datetime | None]
    """When a person last asked for it once more."""

    __table_args__ = (
        partial_index(
            "ix_hook_deliveries_due", "endpoint_id", "due_at", where="status = 'pending'"
        ),
    )


class HookAttempt(Base):
    """One request to an endpoint, and what it ended with."""

    __tablename__ = "hook_attempts"

    attempt_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    endpoint_id: Mapped[str] = mapped_column(String(40))
    hook_event_id: Mapped[str] = mapped_column(String(40), index=True)
    at: Mapped[dt.datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    milliseconds: Mapped[int]
    error: Mapped[str | None] = mapped_column(String(40))

    __table_args__ = (Index("ix_hook_attempts_endpoint_id", "endpoint_id", "attempt_id"),)
