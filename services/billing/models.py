"""The tables of billing: what Stripe told us, what we tell others, what we tried, which page customers get."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    or_,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.database import KeyedByAccount, UtcDateTime, partial_index
from shared.outbox import BigId, OutboxColumns
from shared.schema import owner_table


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can find it again on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dt.datetime: UtcDateTime}  # noqa: RUF012 (SQLAlchemy's own spelling)


SCHEMA_OWNER: Final = owner_table(Base.metadata, "billing")


class InboxEvent(KeyedByAccount, Base):
    """A Stripe event as it was delivered, once."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_received_at", "received_at"),
        Index("ix_inbox_object_id", "object_id"),
        Index("ix_inbox_stripe_customer_id", "stripe_customer_id"),
        # What somebody has to look at: few rows of many.
        partial_index("ix_inbox_quarantined", "received_at", where="status = 'quarantined'"),
        # What waits for its account to be served.
        partial_index("ix_inbox_connected", "account", "received_at", where="status = 'connected'"),
    )

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Stripe's id of the event."""
    type: Mapped[str] = mapped_column(String(255))
    api_version: Mapped[str | None] = mapped_column(String(255))
    livemode: Mapped[bool | None]
    created: Mapped[int | None] = mapped_column(BigInteger)
    """Stripe's own time, in seconds since the epoch, as it came."""
    received_at: Mapped[dt.datetime]
    status: Mapped[str] = mapped_column(String(16))
    """A `translation.Status`."""
    reason: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    """The body, byte for byte as it was signed; empty for the types whose payload holds a secret link."""
    object_id: Mapped[str | None] = mapped_column(String(255))
    """What it is about: the invoice where one is named. For looking back."""
    stripe_customer_id: Mapped[str | None] = mapped_column(String(255))
    deliveries: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    """How often Stripe delivered it; only the first delivery had an effect."""
    last_delivered_at: Mapped[dt.datetime | None]
    """Of the deliveries after the first."""
    replays: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How often somebody had it translated again."""
    replayed_at: Mapped[dt.datetime | None]
    closed_at: Mapped[dt.datetime | None]
    """When a person last closed it. Whether it still is says `status`: a replay opens it again."""
    closed_reason: Mapped[str | None] = mapped_column(Text)
    closed_by: Mapped[str | None] = mapped_column(String(100))


def inbox_account_is(account: str) -> ColumnElement[bool]:
    """Whether a stored event is of this account. Replicas of before accounts were named write NULL for the own one, which lasts
    until `migrate --after-roll` has filled it in. Each of the two terms is found by the primary key; `coalesce` would not be."""
    same = InboxEvent.account == account
    return same if account else or_(same, InboxEvent.account.is_(None))


class OutboxEvent(OutboxColumns, Base):
    """An event of ours that must be published; the relay does."""


class StripeAccount(Base):
    """An account beside the installation's own, which has no row: it is there as long as its key is."""

    __tablename__ = "stripe_accounts"

    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Stripe's id, `acct_…`."""
    state: Mapped[str] = mapped_column(String(20))
    """A `domain.AccountState`."""
    livemode: Mapped[bool]
    changed_at: Mapped[dt.datetime]
    """When its state last changed."""
    said_at: Mapped[dt.datetime | None]
    """When that happened, by Stripe's clock, where a webhook of Stripe's told it; NULL where we changed it ourselves."""
    watched_until: Mapped[dt.datetime | None]
    """Until then a payment that failed there may be open, so that it is worth a read what its webhooks did not bring."""


class KeyedAccount(Base):
    """An account that works, or worked, with a key of its own, as the others were last told of it. The key is in a file alone."""

    __tablename__ = "keyed_accounts"

    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Stripe's id, `acct_…`."""
    state: Mapped[str] = mapped_column(String(20))
    """A `domain.AccountState`: connected while its key is there, else disconnected."""
    livemode: Mapped[bool]
    changed_at: Mapped[dt.datetime]
    """When its state last changed."""


class StripeRead(KeyedByAccount, Base):
    """How many reads Stripe has answered of an account on a day (UTC). A row that is older than the allowance's month only tells."""

    __tablename__ = "stripe_reads"

    day: Mapped[dt.date] = mapped_column(Date, primary_key=True, index=True)
    own_key: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    """Whether with a key of the account's own, which has an allowance of its own; else the platform's is used."""
    reads: Mapped[int] = mapped_column(BigInteger)


class StripeImport(Base):
    """How far the import of an account has come; one row an account, of its last run."""

    __tablename__ = "stripe_imports"

    account: Mapped[str] = mapped_column(String(255), primary_key=True, server_default="")
    """Stripe's id, `acct_…`; empty: the installation's own."""
    run: Mapped[str] = mapped_column(String(32))
    """Names this run in the ids of its events: in one run a thing is said once, and the next run says it again."""
    what: Mapped[str] = mapped_column(String(20))
    """The list that is being read, a `stripe_events.imports.Listed`; `done` after the last one."""
    cursor: Mapped[str | None] = mapped_column(String(255))
    """The last object of that list that was taken in; None: none yet."""
    customers: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    subscriptions: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    invoices: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    events: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Of ours, that were queued."""
    reads: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Pages that were taken in."""
    holder: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[dt.datetime | None]
    began_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]


class StripeImportCustomer(Base):
    """A Stripe customer that the last import of its account met, for its report."""

    __tablename__ = "stripe_import_customers"
    __table_args__ = (Index("ix_stripe_import_customers_account", "account", "email_digest"),)

    account: Mapped[str] = mapped_column(String(255), primary_key=True, server_default="")
    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    email_digest: Mapped[str | None] = mapped_column(String(32))
    """Equal for equal addresses of one run, whatever their case; None: it has none, or the run has ended."""
    findings: Mapped[str | None] = mapped_column(String(100))
    """What is worth telling, words of `stripe_events.imports.Finding` with spaces between them."""
    met_at: Mapped[dt.datetime]


class SpentCode(Base):
    """A code of Stripe's OAuth that was spent, or is about to be: sent a second time it would take the connection away."""

    __tablename__ = "spent_codes"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Its SHA-256."""
    spent_at: Mapped[dt.datetime] = mapped_column(index=True)


class DeadLetterAction(Base):
    """What a person did with a dead letter: it is gone from its queue, so this is all that is left of it."""

    __tablename__ = "dead_letter_actions"
    __table_args__ = (Index("ix_dead_letter_actions_event_id", "event_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    queue: Mapped[str] = mapped_column(String(255))
    event_id: Mapped[str] = mapped_column(String(512))
    action: Mapped[str] = mapped_column(String(16))
    """`replayed` or `discarded`."""
    reason: Mapped[str] = mapped_column(Text)
    """Why it had been given up."""
    attempts: Mapped[int]
    at: Mapped[dt.datetime]


class RecoveryLease(KeyedByAccount, Base):
    """One customer at a time: who is trying a new card for it, and until when that is believed."""

    __tablename__ = "recovery_leases"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[dt.datetime]


class PaymentMethodChange(KeyedByAccount, Base):
    """One wish that a card be charged from now on, and how far we are with it: open until it has run to its end."""

    __tablename__ = "payment_method_changes"
    __table_args__ = (
        Index("ix_payment_method_changes_customer_card", "stripe_customer_id", "payment_method_id"),
        # What somebody still has to go on with: few rows of many.
        partial_index("ix_payment_method_changes_open", "due_at", where="closed_at IS NULL"),
    )

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Stripe's id of the event that opened it; our idempotency keys name it."""
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    payment_method_id: Mapped[str] = mapped_column(String(255))
    set_at: Mapped[dt.datetime]
    """By Stripe's clock: when the card was set, for the last time before it was first tried; a renewal by its bank sets none."""
    opened_at: Mapped[dt.datetime]
    tried_at: Mapped[dt.datetime | None]
    """When the card was first tried, or found to have nothing to pay."""
    runs: Mapped[int] = mapped_column(Integer, default=0)
    """How often somebody has worked on it."""
    due_at: Mapped[dt.datetime]
    """When somebody goes on with it, if nobody has closed it by then."""
    closed_at: Mapped[dt.datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(32))
    """Once it is closed: `done`, `no_card`, `gone` or `observed`."""


class PaymentMethodChangeEvent(KeyedByAccount, Base):
    """A Stripe event that told of a change: delivered again, it changes nothing."""

    __tablename__ = "payment_method_change_events"
    __table_args__ = (Index("ix_payment_method_change_events_change_id", "change_id"),)

    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    change_id: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(255))
    """Stripe's type of the event."""
    scope: Mapped[str] = mapped_column(String(255))
    """Empty for the customer's default, else the one subscription."""
    joined_at: Mapped[dt.datetime]


class PaymentTry(KeyedByAccount, Base):
    """One idempotency key with which an invoice was, or was about to be, paid at once. Written before Stripe is asked."""

    __tablename__ = "payment_tries"
    __table_args__ = (
        Index("ix_payment_tries_invoice_id", "invoice_id"),
        Index("ix_payment_tries_stripe_customer_id", "stripe_customer_id"),
        # What would have been charged: none, but for those who observe.
        partial_index("ix_payment_tries_observed", "at", where="outcome = 'observed'"),
    )

    change_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    invoice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Counts the keys within the change; a further one follows only when the one before brought no charge about."""
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    payment_method_id: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int]
    """The invoice's attempt count at the time."""
    since: Mapped[dt.datetime]
    """By Stripe's clock: a decline after this moment is the answer."""
    started_at: Mapped[dt.datetime]
    sent_at: Mapped[dt.datetime]
    """When Stripe was last asked with this key."""
    key_spent: Mapped[bool] = mapped_column(Boolean, default=False)
    """Stripe replays a server error to this key."""
    outcome: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    at: Mapped[dt.datetime]
    """When the outcome was learnt; before that, as `sent_at`."""
    amount: Mapped[int | None] = mapped_column(BigInteger)
    """What would have been charged, where the outcome is `observed`; else NULL, as the two that follow."""
    currency: Mapped[str | None] = mapped_column(String(3))
    on_behalf_of: Mapped[str | None] = mapped_column(String(255))


class PlatformRefusal(KeyedByAccount, Base):
    """A subscription that Stripe doesn't let us change as a platform, where that mattered: a new card that could not be set, an end
    that could not be planned. One a subscription."""

    __tablename__ = "platform_refusals"
    __table_args__ = (Index("ix_platform_refusals_stripe_customer_id", "stripe_customer_id"),)

    subscription_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    on_behalf_of: Mapped[str] = mapped_column(String(255), server_default="")
    """The connected account on whose behalf it is charged; empty: nobody's."""
    application: Mapped[str | None] = mapped_column(String(255))
    """Who made it, `ca_…`; NULL: the account itself."""
    payment_method_id: Mapped[str | None] = mapped_column(String(255))
    """The new card that it is not charged to, and that is tried when another one fails; NULL: there is none."""
    refused_at: Mapped[dt.datetime]
    """The last time, or when it was last seen that it is charged to another card."""


class RecoveryRun(KeyedByAccount, Base):
    """When a card was last tried on what a customer owes: one change an hour is enough."""

    __tablename__ = "recovery_runs"

    stripe_customer_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    payment_method_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    scope: Mapped[str] = mapped_column(String(255), primary_key=True, default="")
    """Empty for everything the customer owes, else the one subscription."""
    finished_at: Mapped[dt.datetime]
    """When a bank was last asked; releases before changes were rows wrote the end of the run."""


class Recovery(KeyedByAccount, Base):
    """What became of one invoice with one new card, as releases before `payment_tries` wrote it. Only read, until the
    rows are old and the table can go."""

    __tablename__ = "recoveries"
    __table_args__ = (Index("ix_recoveries_stripe_customer_id", "stripe_customer_id"),)

    invoice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    payment_method_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    """The invoice's attempt count at the time."""
    stripe_customer_id: Mapped[str] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    at: Mapped[dt.datetime]


class StoredConfiguration(KeyedByAccount, Base):
    """Which portal configuration customers get, for each mode."""

    __tablename__ = "portal_configurations"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    """`default` (Portico's own), `business:<id>`, or `dashboard`."""
    livemode: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    configuration_id: Mapped[str] = mapped_column(String(255))
    """Empty under `dashboard` where Stripe said that none was ever saved there."""
    recorded_at: Mapped[dt.datetime]


class PortalPermissions(KeyedByAccount, Base):
    """What a portal configuration lets customers do, as Stripe last said it."""

    __tablename__ = "portal_permissions"

    configuration_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    updated: Mapped[int] = mapped_column(BigInteger)
    """Stripe's own time of the last change, in seconds since the epoch: what is older says nothing."""
    content: Mapped[str] = mapped_column(Text)
    """A `domain.PortalConfiguration` as JSON."""
    learned_at: Mapped[dt.datetime]


class Reconciliation(KeyedByAccount, Base):
    """How far Stripe's log has been walked, and who walks it now: one row."""

    __tablename__ = "reconciliations"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    until: Mapped[dt.datetime]
    """Everything before this moment was seen."""
    holder: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[dt.datetime | None]
