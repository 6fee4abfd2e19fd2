"""What billing's RPC methods take and answer. Times in UTC, `2026-03-03T17:00:00+00:00`; amounts in the currency's minor unit."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Final, Literal, get_args

from msgspec import UNSET, UnsetType

from shared.contracts.invoices import InvoiceStatus
from shared.contracts.payments import Decline, MethodKind, PaymentMethod, told_method
from shared.contracts.prices import Lasts, Pricing
from shared.contracts.rpc import base
from shared.contracts.rpc.base import Method, Timeline, one_of
from shared.contracts.rpc.errors import (
    AccountControlled,
    AccountNotConnected,
    AccountOfOtherMode,
    BusinessObserves,
    CodeRefused,
    ConnectNotSetUp,
    InvoiceClosed,
    NotCollectable,
    NotQuarantined,
    NotRepublished,
    PaymentUnderWay,
    PortalConfigurationMissing,
    ReconciliationRunning,
    StripeRefused,
    StripeUnavailable,
    UnknownInboxEvent,
    UnknownInvoice,
    UnknownStripeCustomer,
    UnknownSubscription,
)

PortalFlow = Literal["payment_method_update"]
InboxStatus = Literal["translated", "ignored", "quarantined", "closed", "connected", "thin"]
DeadLetterAction = Literal["replayed", "discarded"]
StateSource = Literal["stripe", "webhooks"]
PAY_OUTCOMES: Final = (
    "unknown",
    "paid",
    "already_paid",
    "processing",
    "declined",
    "authentication_required",
    "already_tried",
    "closed",
    "refused",
    "not_allowed",
    "not_charged",
    "capped",
    "observed",
)
"""What becomes of a try to pay an invoice."""


# --- answers ---------------------------------------------------------------------------------------------------------


class Answer(base.Answer, frozen=True, kw_only=True):
    """An answer of billing's."""

    utc: ClassVar[str] = "+00:00"


class PortalSession(base.SecretAnswer, frozen=True, kw_only=True):
    """A fresh Billing Portal session. A secret that dies within minutes: use it at once, never keep or log it."""

    url: str
    """Stripe's page."""


class HostedInvoice(base.SecretAnswer, frozen=True, kw_only=True):
    """Stripe's hosted page of an invoice. A secret: redirect to it at once, never keep or log it."""

    url: str
    """Stripe's page."""


class InvoiceDecline(Answer, frozen=True, kw_only=True):
    """Why the last charge failed."""

    reason: Annotated[str, one_of(*Decline)] | None = None
    """As far as a person can do something about it; everything else is `declined`."""
    needs_new_method: bool = False
    """Stripe charges nothing more before there is another payment method."""


class Card(Answer, frozen=True, kw_only=True):
    """What may be shown of a card."""

    brand: str | None = None
    """As Stripe writes it: `visa`."""
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


class ChargedMethod(Answer, frozen=True, kw_only=True):
    """What may be shown of a payment method. What isn't known is null."""

    kind: Annotated[str, one_of(*MethodKind)] = MethodKind.OTHER.value
    """What its owner would call it."""
    type: str | None = None
    """Stripe's word for it: `card`, `us_bank_account`, `paypal`, …"""
    brand: str | None = None
    """Of a card, as Stripe writes it: `visa`."""
    bank: str | None = None
    """The name of the bank that keeps the account."""
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None

    def shown(self) -> PaymentMethod:
        """As it may be shown and stored."""
        return told_method(
            PaymentMethod(
                type=self.type,
                brand=self.brand,
                bank=self.bank,
                last4=self.last4,
                exp_month=self.exp_month,
                exp_year=self.exp_year,
            )
        )


class InvoiceState(Answer, frozen=True, kw_only=True):
    """An invoice as it stands."""

    invoice_id: str | None = None
    """Stripe's id, `in_…`."""
    dashboard_url: str | None = None
    """The invoice in the business's Stripe dashboard, for the business alone."""
    status: Annotated[str, one_of(*InvoiceStatus)] | None = None
    amount_due: int | None = None
    """What it asks for."""
    amount_remaining: int | None = None
    """What is still to be paid."""
    amount_paid: int | None = None
    """Money that came in."""
    amount_credited: int | None = None
    """What credit notes took off before it was paid."""
    currency: str | None = None
    """ISO 4217, lower case."""
    number: str | None = None
    """The number printed on it."""
    purpose: str | None = None
    """What it is for, one line."""
    purpose_more: int = 0
    """How many other things it is for."""
    next_payment_attempt: dt.datetime | None = None
    """When Stripe tries again; null: no date is known."""
    collection_method: Annotated[str, one_of("charge_automatically", "send_invoice")] | None = None
    auto_advance: bool | None = None
    """Whether Stripe goes on collecting it by itself."""
    processing: bool = False
    """A payment of all that is due is under way, whose outcome takes days."""
    decline: InvoiceDecline | None = None
    """null where Stripe tells of none."""
    charge_id: str | None = None
    """The charge that failed last, `ch_…`."""
    payment_method_id: str | None = None
    """What it was made to, `pm_…`."""
    method: ChargedMethod | None = None
    """What was charged, as far as it may be shown."""
    card: Card | None = None
    """The same of cards alone, for callers of releases that knew nothing else."""
    next_method: ChargedMethod | None = None
    """What Stripe charges next, as things stand."""
    subscription_status: str | None = None
    """Stripe's word: `incomplete`, `incomplete_expired`, `trialing`, `active`, `past_due`, `unpaid`, `paused` or `canceled`."""
    subscription_end_reason: str | None = None
    """Stripe's word: `payment_failed`, `cancellation_requested`, `payment_disputed` or `canceled_by_retention_policy`."""
    subscription_ended_at: dt.datetime | None = None

    def charged(self) -> PaymentMethod | None:
        """What was charged, as it may be shown; of a billing of an older release a card alone."""
        if self.method is not None:
            return self.method.shown()
        if self.card is None:
            return None
        return ChargedMethod.of(self.card, type="card").shown()

    def next_charged(self) -> PaymentMethod | None:
        """What Stripe charges next, as it may be shown."""
        return self.next_method.shown() if self.next_method else None


class SourcedInvoiceState(InvoiceState, frozen=True, kw_only=True):
    """An invoice as it stands, and who says so."""

    source: Annotated[str, one_of(*get_args(StateSource))] = "stripe"
    """`stripe`: read just now. `webhooks`: what was told of it; then there is no method, and of declines only
    `authentication_required` is known."""
    own_try_refused_at: dt.datetime | None = None
    """UTC, when the last try of our own to pay it with a new payment method ended with no bank asked: Stripe would not try, does not let
    a platform do it, or it was tried just before or too often. null: there was no such try, or a later one came further."""


class CollectedInvoice(Answer, frozen=True, kw_only=True):
    """What became of a charge that a person asked for."""

    invoice_id: str
    """Stripe's id, `in_…`."""
    outcome: Annotated[str, one_of(*PAY_OUTCOMES)]
    detail: str | None = None
    """Why a charge was declined, Stripe's word."""
    amount: int
    """What was asked for."""
    currency: str
    """ISO 4217, lower case."""
    was: Annotated[str, one_of(*InvoiceStatus)]
    """The invoice's status before."""


class PlannedEnd(Answer, frozen=True, kw_only=True):
    """A subscription that ends with its current period."""

    subscription_id: str | None = None
    """Stripe's id, `sub_…`."""
    status: str | None = None
    """Stripe's word, as `subscription_status` of an invoice's state."""
    ends_at: dt.datetime | None = None
    """When it ends, or ended; null: Stripe does not say."""
    changed: bool = False
    """False: it was to end anyway, or had ended; or it was left as it is, see `dashboard_url`."""
    dashboard_url: str | None = None
    """Set where Stripe does not let us plan the end, since we act as a platform that did not make the subscription: where the
    business does it itself. Nothing was changed then."""


class CustomerRights(Answer, frozen=True, kw_only=True):
    """What a business's customers may do on Stripe's page by themselves."""

    cancel: bool
    """Cancel a subscription."""
    pause: bool = False
    """Pause one."""


class InboxEvent(Answer, frozen=True, kw_only=True):
    """A stored Stripe event, without its body."""

    event_id: str
    """Stripe's id, `evt_…`."""
    type: str
    """Stripe's, `invoice.payment_failed`."""
    api_version: str | None = None
    """In whose shape it came."""
    livemode: bool | None = None
    account: str | None = None
    """The connected account on which it happened, `acct_…`; null: our own."""
    created: int | None = None
    """When it happened, in seconds since 1970."""
    received_at: dt.datetime
    status: Annotated[str, one_of(*get_args(InboxStatus))]
    reason: str | None = None
    """Why it was not translated."""
    closed_at: dt.datetime | None = None
    """When a person last closed it."""
    closed_reason: str | None = None
    """The person's words."""


class PublishedEvent(Answer, frozen=True, kw_only=True):
    """An event of ours that was made of a Stripe event."""

    event_id: str
    """`<Stripe's id>/<type>`."""
    type: str
    """See [events.md](events.md)."""
    created_at: dt.datetime
    published_at: dt.datetime | None = None
    """null: it waits."""
    attempts: int = 0
    """Tries to publish it that failed."""
    last_error: str | None = None


class InboxEventDetails(Answer, frozen=True, kw_only=True):
    """One stored Stripe event, and what was published of it."""

    account: str | None = None
    """The connected account on which it happened, `acct_…`; null: our own."""

    event_id: str
    """Stripe's id, `evt_…`."""
    type: str
    """Stripe's, `invoice.payment_failed`."""
    about: str | None = None
    """Stripe's id of the object that it is about."""
    stripe_customer_id: str | None = None
    api_version: str | None = None
    """In whose shape it came."""
    livemode: bool | None = None
    created: int | None = None
    """When it happened, in seconds since 1970."""
    received_at: dt.datetime
    deliveries: int = 0
    """How often it came; 0: it was found in Stripe's log."""
    status: Annotated[str, one_of(*get_args(InboxStatus))]
    reason: str | None = None
    """Why it was not translated."""
    replays: int = 0
    """How often it was translated again by hand."""
    closed_at: dt.datetime | None = None
    """When a person last closed it."""
    closed_reason: str | None = None
    """The person's words."""
    closed_by: str | None = None
    """Who that was, as they were named."""
    published: list[PublishedEvent]
    payload: str | UnsetType = UNSET
    """The body as it came, where it was asked for (personal data); empty where none is kept."""


class ReplayedEvent(Answer, frozen=True, kw_only=True):
    """A stored event after it was translated again."""

    event_id: str
    """Stripe's id, `evt_…`."""
    status: Annotated[str, one_of(*get_args(InboxStatus))]
    reason: str | None = None
    """Why it was not translated."""
    queued: list[str]
    """Types of the events of ours that are published now."""


class ClosedEvent(Answer, frozen=True, kw_only=True):
    """A quarantined event that a person has closed."""

    event_id: str
    """Stripe's id, `evt_…`."""
    type: str
    """Stripe's, `invoice.payment_failed`."""
    status: Annotated[str, one_of(*get_args(InboxStatus))]
    reason: str | None = None
    """Why it was quarantined."""
    closed_at: dt.datetime | None = None
    """When it was closed first."""
    closed_reason: str | None = None
    """Why it was, in the person's words."""
    closed_by: str | None = None
    """Who that was, as they were named."""


class DeadLetterNote(Answer, frozen=True, kw_only=True):
    """What was noted."""

    event_id: str
    """The event's id, as it was given."""


class RepublishedPage(Answer, frozen=True, kw_only=True):
    """What came of one page."""

    events: int
    """How many went into the queue; with `dry_run`, how many would in all."""
    next: int | None = None
    """`after` of the next page; null: this was the last."""


class Reconciliation(Answer, frozen=True, kw_only=True):
    """What a look at Stripe's log found: how many."""

    seen: int
    """Events in Stripe's log."""
    new: int
    """Those new to us."""
    swept: int
    """Unpaid invoices that nobody had been told about."""
    older: int = 0
    """Those that were unpaid before Portico ran here, told to nobody."""


class RecoveryAttempt(Answer, frozen=True, kw_only=True):
    """One try of our own to pay with a new payment method."""

    account: str = ""
    """The connected account of all its ids, `acct_…`; empty: our own."""

    stripe_customer_id: str
    invoice_id: str
    """Stripe's id, `in_…`."""
    payment_method_id: str | None = None
    """What was charged, `pm_…`."""
    change_id: str | None = None
    """Stripe's id of the event that told of the change first, the same for all its tries; null in rows of releases that did
    not know changes."""
    attempt: int
    """From 1."""
    outcome: Annotated[str, one_of(*PAY_OUTCOMES)]
    """`unknown`: still being found out."""
    detail: str | None = None
    """Why a charge was declined or refused, Stripe's word."""
    at: dt.datetime


class ObservedCharge(Answer, frozen=True, kw_only=True):
    """What would have been charged to a new payment method, had its business not observed. It never is: going live charges none of it."""

    account: str = ""
    """The connected account of all its ids, `acct_…`; empty: our own."""
    on_behalf_of: str = ""
    """On a platform's account: the connected account on whose behalf it is charged; empty: nobody's."""
    stripe_customer_id: str
    invoice_id: str
    """Stripe's id, `in_…`."""
    payment_method_id: str
    """What would have been charged, `pm_…`."""
    change_id: str
    """The change of payment method, as in `recoveries`. Another change of the same customer tells the same invoice again."""
    amount: int
    """What was to be paid then."""
    currency: str
    """ISO 4217, lower case."""
    at: dt.datetime
    """When it would have been charged."""
    number: str | None = None
    """The number printed on the invoice; this and what follows as its webhooks have told by now, null where none is kept."""
    invoice_status: Annotated[str, one_of(*InvoiceStatus)] | None = None
    """What became of the invoice."""
    amount_paid: int | None = None
    """Money that came in."""
    amount_credited: int | None = None
    """What credit notes took off before it was paid."""
    amount_remaining: int | None = None
    """What is still to be paid."""


class ObservedCharges(Answer, frozen=True, kw_only=True):
    """Some of what would have been charged."""

    charges: list[ObservedCharge]
    """The oldest first."""
    next: str | None = None
    """`starting_after` of the following call; null: these were the last."""


class StripeAccountState(Answer, frozen=True, kw_only=True):
    """How a Stripe account stands to this installation."""

    account: str = ""
    """Stripe's id, `acct_…`; empty: the installation's own."""
    way: Annotated[str, one_of("own", "connected", "own_key")] | None = None
    """How we act on it: `own` with the installation's own key; `connected` with the same, in the account's name; `own_key` with a key of
    the account's, from `STRIPE_ACCOUNTS_FILE`; null: not at all."""
    state: Annotated[str, one_of("connected", "restricted", "disconnected")] | None = None
    """`restricted`: Stripe lets nothing be charged there; `disconnected`: we were let in once, or it had a key of its own. null: of the own account, and of one that is
    not known."""
    livemode: bool | None = None
    """The mode in which it is worked on; null: it is not known."""
    served: bool
    """Whether anything is done on it."""
    reason: str | None = None
    """Why not, as what is said of the account: `is disconnected`."""
    reads: int | None = None
    """How often Stripe was read there in the last thirty days, with whatever key; null: it was not counted for this answer."""


class StripeReadPool(Answer, frozen=True, kw_only=True):
    """The allowance of reads that the installation's own key has for all accounts that it works on."""

    size: int
    """For thirty days: `STRIPE_READ_POOL`."""
    used: int
    """In the last thirty days."""
    own: int
    """Of those, on the installation's own account."""


class StripeAccountPage(Answer, frozen=True, kw_only=True):
    """Some of the accounts beside the installation's own."""

    accounts: list[StripeAccountState]
    """In the order of their ids."""
    has_more: bool = False
    """Whether others follow."""
    read_pool: StripeReadPool | None = None
    """As it is used; null: by a release that counts no reads."""


class ErasureRound(Answer, frozen=True, kw_only=True):
    """One round of forgetting."""

    emptied: int
    """Bodies of Stripe's events that were emptied."""
    deleted: int
    """Rows that were deleted."""
    next: str | None = None
    """`after` of the following round; null: all is done."""


class NextInvoice(Answer, frozen=True, kw_only=True):
    """Stripe's preview of a subscription's next invoice."""

    amount: int
    """What it will ask for, as things stand."""
    recurring: int | None = None
    """Of it, the fixed part with its discounts; null where that can't be told from the rest."""
    discount: Annotated[str, one_of(*Lasts)] | None = None
    """How long its discounts last; null: there are none."""
    until: dt.datetime | None = None
    """When a `repeating` discount ends."""


class NoNextInvoice(Answer, frozen=True, kw_only=True):
    """A subscription that has no next invoice: all that is told is `upcoming`."""

    upcoming: bool = False


class SubscriptionPrice(Answer, frozen=True, kw_only=True):
    """What a subscription costs. Where `upcoming` is false, it is the only field: there is no next invoice."""

    upcoming: bool
    """Whether there is a next invoice."""
    pricing: Annotated[str, one_of(*Pricing)] | None = None
    """How its amount comes about; null: not known."""
    amount: int | None = None
    """Of one interval: the fixed part, before discounts."""
    currency: str | None = None
    """ISO 4217, lower case."""
    interval: Annotated[str, one_of("day", "week", "month", "year")] | None = None
    interval_count: int = 1
    """How many of them."""
    discounted: bool | None = None
    """Whether a discount stands; null: not known."""
    collection_paused: bool = False
    """Nothing is charged for now."""
    collection_resumes_at: dt.datetime | None = None
    """When it is again; null: not known."""
    trial_ends_at: dt.datetime | None = None
    next_invoice: NextInvoice | None = None


class ConnectedAccount(Answer, frozen=True, kw_only=True):
    """An account that a business has connected."""

    account: str
    """Stripe's id, `acct_…`."""
    livemode: bool
    """The mode in which it is connected: our key's."""
    fresh: bool
    """Whether it was not connected before."""


class DisconnectedAccount(Answer, frozen=True, kw_only=True):
    """An account that Portico works on no more."""

    account: str
    fresh: bool
    """Whether it was connected before."""


# --- methods ---------------------------------------------------------------------------------------------------------

STRIPE: Final = (StripeUnavailable, StripeRefused)

CANCEL_AT_PERIOD_END: Final = Method(
    "billing", "cancel_at_period_end", PlannedEnd, (UnknownSubscription, BusinessObserves, *STRIPE)
)
CLOSE_EVENT: Final = Method(
    "billing", "close_event", ClosedEvent, (UnknownInboxEvent, NotQuarantined)
)
COLLECT_INVOICE: Final = Method(
    "billing",
    "collect_invoice",
    CollectedInvoice,
    (UnknownInvoice, InvoiceClosed, NotCollectable, PaymentUnderWay, BusinessObserves, *STRIPE),
)
CONNECT_ACCOUNT: Final = Method(
    "billing",
    "connect_account",
    ConnectedAccount,
    (ConnectNotSetUp, CodeRefused, AccountOfOtherMode, *STRIPE),
)
CREATE_PORTAL_SESSION: Final = Method(
    "billing",
    "create_portal_session",
    PortalSession,
    (UnknownStripeCustomer, PortalConfigurationMissing, *STRIPE),
)
CUSTOMERS_MAY: Final = Method(
    "billing", "customers_may", CustomerRights, (PortalConfigurationMissing, *STRIPE)
)
DISCONNECT_ACCOUNT: Final = Method(
    "billing",
    "disconnect_account",
    DisconnectedAccount,
    (ConnectNotSetUp, AccountNotConnected, AccountControlled, *STRIPE),
)
ERASE_CUSTOMER: Final = Method("billing", "erase_customer", ErasureRound)
HOSTED_INVOICE_URL: Final = Method(
    "billing", "hosted_invoice_url", HostedInvoice, (UnknownInvoice, InvoiceClosed, *STRIPE)
)
INBOX_EVENT: Final = Method("billing", "inbox_event", InboxEventDetails, (UnknownInboxEvent,))
INBOX_EVENTS: Final = Method("billing", "inbox_events", list[InboxEvent])
INVOICE_STATE: Final = Method("billing", "invoice_state", InvoiceState, (UnknownInvoice, *STRIPE))
INVOICE_STATES: Final = Method("billing", "invoice_states", dict[str, SourcedInvoiceState])
NOTE_DEAD_LETTER: Final = Method("billing", "note_dead_letter", DeadLetterNote)
OBSERVED_CHARGES: Final = Method("billing", "observed_charges", ObservedCharges)
RECONCILE: Final = Method("billing", "reconcile", Reconciliation, (ReconciliationRunning, *STRIPE))
RECOVERIES: Final = Method("billing", "recoveries", list[RecoveryAttempt])
REPLAY: Final = Method("billing", "replay", ReplayedEvent, (UnknownInboxEvent,))
REPUBLISH: Final = Method("billing", "republish", RepublishedPage, (NotRepublished,))
STORY: Final = Method("billing", "story", Timeline)
STRIPE_ACCOUNT: Final = Method(
    "billing", "stripe_account", StripeAccountState, (StripeUnavailable,)
)
STRIPE_ACCOUNTS: Final = Method(
    "billing", "stripe_accounts", StripeAccountPage, (StripeUnavailable,)
)
SUBSCRIPTION_PRICES: Final = Method("billing", "subscription_prices", dict[str, SubscriptionPrice])
