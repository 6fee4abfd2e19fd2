"""The events that Portico's services and a host application exchange: the wire contract.

Every message on a topic exchange is one JSON object, an *envelope*:

    {"id": "evt_1Qx…/invoice.payment_failed",  # unique; a consumer acts once on it
     "type": "invoice.payment_failed",         # also the routing key
     "version": 1,                             # of the shape of `data`
     "occurred_at": "2026-11-23T21:04:05Z",    # UTC, when Stripe says it happened
     "correlation_id": "evt_1Qx…",             # one thread from webhook to email
     "traceparent": "00-4bf9…-00f0…-01",       # W3C's; only while tracing is on
     "data": {...}}                            # one of the structs below

The exchange is ``<source service>.events`` (type topic, durable). Within a version fields are only ever
added, with a default; consumers ignore fields that they don't know. A change of meaning is a new version.
`docs/events.md` is generated from this module.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, TypeGuard, TypeVar

import msgspec

from shared import tracing
from shared.text import decode_json


class EventError(ValueError):
    """The message is not an event of this contract: unknown type or version, or a field of the wrong shape."""


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What happened. `type` is the event's name and routing key, `source` the service that publishes it."""

    type: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    lane: ClassVar[str] = "events"
    """Which of a consumer's queues it travels through: `portal.billing-events`. A lane of its own keeps an event away from
    replicas of the release before, which share the queue and would give a type up that they don't know."""

    account: str = ""
    """The connected Stripe account that the Stripe ids in it belong to, `acct_…`; empty: the installation's own."""


class InvoiceData(Data, frozen=True, kw_only=True):
    """A Stripe invoice as it stood at the event. Amounts are in the currency's minor unit (cents; whole yen)."""

    source: ClassVar[str] = "billing"

    invoice_id: str
    """Stripe's id, `in_…`."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    on_behalf_of: str = ""
    """The connected account, `acct_…`, on whose behalf a platform charges it; empty: nobody's."""
    status: str
    """`draft`, `open`, `paid`, `void` or `uncollectible`."""
    currency: str
    """ISO 4217, lower case, as Stripe writes it."""
    amount_due: int
    """What the invoice asks for, in minor units."""
    amount_remaining: int
    """What is still to be paid, in minor units."""
    amount_paid: int = 0
    """What has been paid so far, in minor units."""
    amount_credited: int = 0
    """What credit notes took off before it was paid, in minor units. Forgiven, not paid."""
    attempt_count: int = 0
    """Attempts of the retry schedule; a person's own try does not raise it."""
    attempted: bool = False
    """Whether Stripe has tried to charge it at all."""
    collection_method: str = "charge_automatically"
    """`charge_automatically` (autopay) or `send_invoice`."""
    billing_reason: str | None = None
    """Why the invoice exists, Stripe's word: `subscription_create`, `subscription_cycle`, `subscription_threshold`,
    `subscription_update`, `subscription`, `automatic_pending_invoice_item_invoice`, `quote_accept`, `upcoming` or `manual`."""
    number: str | None = None
    """The number printed on the invoice."""
    subscription_id: str | None = None
    """Stripe's id, `sub_…`; None for an invoice of its own."""
    purpose: str | None = None
    """What it is for, one line of at most 120 characters: what Stripe's invoice says on its first line (a product's name, or
    the business's own words). None where the event does not say."""
    purpose_more: Annotated[int, msgspec.Meta(ge=0, le=99_999)] = 0
    """How many other things it is for."""
    next_payment_attempt: dt.datetime | None = None
    """UTC. None means *not known yet*, not *never* (Stripe may set it in a later `invoice.updated`), unless
    `schedule_changed`."""
    schedule_changed: bool = False
    """The event is about a change of `next_payment_attempt`: None means that Stripe withdrew the date."""
    auto_advance: bool | None = None
    """Whether Stripe goes on collecting the invoice by itself; None where the event does not say."""
    finalized_at: dt.datetime | None = None
    """UTC, when the invoice was finalized: a first payment that fails minutes later fails at checkout."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""
    own_retry: bool = False
    """True when Portico's own retry with a new card caused the event."""


class InvoicePaymentFailed(InvoiceData, frozen=True, kw_only=True):
    """A charge for an invoice failed: declined, expired, no card."""

    type: ClassVar[str] = "invoice.payment_failed"


class InvoicePaymentActionRequired(InvoiceData, frozen=True, kw_only=True):
    """The bank wants the customer to confirm the payment (SCA)."""

    type: ClassVar[str] = "invoice.payment_action_required"


class InvoicePaid(InvoiceData, frozen=True, kw_only=True):
    """The invoice is paid, or was marked as paid outside Stripe."""

    type: ClassVar[str] = "invoice.paid"


class InvoiceVoided(InvoiceData, frozen=True, kw_only=True):
    """The business cancelled the invoice; nothing is owed."""

    type: ClassVar[str] = "invoice.voided"


class InvoiceMarkedUncollectible(InvoiceData, frozen=True, kw_only=True):
    """The business gave the invoice up as a bad debt; it is not asked for any more."""

    type: ClassVar[str] = "invoice.marked_uncollectible"


class InvoiceUpdated(InvoiceData, frozen=True, kw_only=True):
    """Something about an open, attempted invoice changed: usually the date of the next attempt is known now. Or, with
    `processing`, a payment of it has begun. Or an amount of one that was given up changed: a part was paid, or forgiven. Or an invoice
    that is sent to its customer (`send_invoice`) was finalized or changed while it is open."""

    type: ClassVar[str] = "invoice.updated"

    processing: bool = False
    """True: a payment whose outcome takes time (a bank debit) has begun, and the event tells that alone. It is told by the
    payment: `amount_due` and `amount_remaining` are what is being debited, and counts, dates and what it is for are not known."""


class InvoiceImported(InvoiceData, frozen=True, kw_only=True):
    """An open invoice as an import from Stripe found it. What the page shows as owed follows from it, and nothing else: it is no news,
    so nobody is written to for it. `occurred_at` is when it was read."""

    type: ClassVar[str] = "invoice.imported"
    lane: ClassVar[str] = "imported"


class CustomerLinked(Data, frozen=True, kw_only=True):
    """What releases up to this one published where `customer.evidence_changed` is now. It does not say whether a stranger
    could have written what it tells, so it is no evidence: the portal counts it and does nothing. Not published any more."""

    type: ClassVar[str] = "customer.linked"
    source: ClassVar[str] = "billing"

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    customer_id: str
    """Portico's customer id, or the host application's own id (then `business_id` says whose)."""
    business_id: str | None = None
    """The business whose own id `customer_id` is; None when it is Portico's."""
    evidence: str
    """`customer.metadata`, `checkout.session` or `subscription.metadata`."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class CustomerEvidenceChanged(Data, frozen=True, kw_only=True):
    """A Stripe object names one of our customers as its Stripe customer's, or another one than before, or nobody any more;
    or a Checkout session brought a reference. The portal decides what follows (docs/adr/0013-evidence-with-a-rank.md), by
    `occurred_at` and not by arrival; hosts hear of that by `customer.link_changed`."""

    type: ClassVar[str] = "customer.evidence_changed"
    source: ClassVar[str] = "billing"
    lane: ClassVar[str] = "evidence"

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    object_id: str
    """The Stripe object that says it: `cus_…`, `sub_…` or `cs_…`."""
    evidence: str
    """`customer.metadata`, `subscription.metadata` or `checkout.session`."""
    customer_id: str | None = None
    """Whom metadata names now: Portico's customer id, or the host application's own id, of `business_id`. None: nobody."""
    business_id: str | None = None
    """The business whose own id `customer_id` is; None when it is Portico's."""
    previous_customer_id: str | None = None
    """Whom the same metadata named before this event; the same when the event changed nothing about it."""
    previous_business_id: str | None = None
    """The business that it named before."""
    on_behalf_of: str = ""
    """Of a subscription: the connected account on whose behalf a platform charges it. It speaks for customers of the business with
    this `on_behalf_of` alone; a Stripe customer's metadata speaks for those of businesses that have none."""
    reference: str | None = None
    """A Checkout session's `client_reference_id` as it came: anybody may have written it. Only the portal can tell."""
    session_created: dt.datetime | None = None
    """UTC, when that Checkout session began."""
    imported: bool = False
    """An import found it in what stood at Stripe already; whoever is linked by it is mailed about nothing past."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class CustomerLinkData(Data, frozen=True, kw_only=True):
    """Which Stripe customer one of our customers is, by the evidence that the portal has."""

    source: ClassVar[str] = "portal"

    customer_id: str
    """Portico's customer id."""
    external_id: str
    """The host application's own id of the customer."""
    business_id: str
    """The host application's own id of the business."""
    on_behalf_of: str = ""
    """Where the business is on a platform's account: the connected account on whose behalf that charges."""


class CustomerLinkChanged(CustomerLinkData, frozen=True, kw_only=True):
    """A customer is linked with another Stripe customer than before, for the first time, or no more. The notifier writes to them
    about what failed while nobody knew them. The host hears its own word, too: then `evidence` is `host`."""

    type: ClassVar[str] = "customer.link_changed"

    stripe_customer_id: str | None = None
    """Stripe's id, `cus_…`; None: the customer is linked with nobody now."""
    previous_stripe_customer_id: str | None = None
    """With whom the customer was linked before; None: with nobody."""
    evidence: str | None = None
    """Whose word decides now: `host`, `metadata`, `reference`, `enrolled` (nobody's: Portico made the customer of what Stripe
    tells) or `unknown`; None without a link."""
    imported: bool = False
    """An import from Stripe brought this about, as it may for many at once: the notifier writes to them about nothing past."""


class CustomerLinkRefused(CustomerLinkData, frozen=True, kw_only=True):
    """Evidence that a customer is a Stripe customer was refused, because evidence of the same rank says otherwise: somebody
    has to look at it (`portico customers evidence`). Said once while the conflict lasts."""

    type: ClassVar[str] = "customer.link_refused"

    stripe_customer_id: str
    """Stripe's id, `cus_…`, which the customer was not linked with."""
    reason: str
    """`stripe_customer_taken` (it is another customer's), `customer_has_another` (Stripe customer), or `said_at_once`: the
    two were said in the same second, and nobody is linked."""
    evidence: str
    """Whose word was refused: `metadata` or `reference`."""


class StripeCustomerSeen(Data, frozen=True, kw_only=True):
    """A Stripe customer as Stripe has it: made, changed in what it is called or where it is written to, about to pay by itself, gone, or come
    upon by an import. It says nothing of whose it is, and nobody is mailed for it; the portal keeps it for businesses
    that enrol their customers from Stripe. Of two, that of the later `occurred_at` holds."""

    type: ClassVar[str] = "customer.seen"
    source: ClassVar[str] = "billing"
    lane: ClassVar[str] = "profiles"

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    email: str | None = None
    """The address that Stripe has, which Stripe does not verify: anybody may have given it. At most 512 characters. With `paid` that of the
    invoice, which keeps the address that the customer had when it was finalized: good where none is known, and no news of a change.
    None: with `pays`, the object that told it does not say; else Stripe has none."""
    name: str | None = None
    """What the customer is called, on one line, cut at 200 characters. With `paid` and None as with `email`."""
    locale: str | None = None
    """The first of the customer's preferred languages at Stripe, as Stripe writes it (`fr`, `pt-BR`), known here or not; at most
    20 characters. None as with `email`."""
    pays: str | None = None
    """What makes it somebody who pays by itself: `paid` (an invoice), `saved_method` (a payment method is kept), `subscribed`. None:
    just seen, which withdraws nothing."""
    on_behalf_of: str = ""
    """With `pays`: the connected account, `acct_…`, on whose behalf a platform charges it; empty: nobody's."""
    imported: bool = False
    """True where an import came upon it: then `occurred_at` is when it was read."""
    deleted: bool = False
    """True: Stripe has deleted it, and nothing else is known of it."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class CustomerDeleted(Data, frozen=True, kw_only=True):
    """The Stripe customer is gone: the portal unlinks it and the button disappears."""

    type: ClassVar[str] = "customer.deleted"
    source: ClassVar[str] = "billing"

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class PaymentMethodChanged(Data, frozen=True, kw_only=True):
    """What a customer, or one of its subscriptions or invoices, is to be charged from now on is a new payment method."""

    type: ClassVar[str] = "customer.payment_method_changed"
    source: ClassVar[str] = "billing"

    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    payment_method_id: str | None = None
    """The new default, `pm_…` (`card_…`, `ba_…`, `src_…` of the API before payment methods), where the event names it."""
    subscription_id: str | None = None
    """Set when one subscription's own default changed."""
    invoice_id: str | None = None
    """Set when one invoice's own default changed; `subscription_id` is then that of its subscription."""
    renewed: bool | None = None
    """True when the bank renewed the card behind the same id and nobody chose anything; None where the event does not say."""
    on_behalf_of: str = ""
    """Where one subscription's or invoice's own default changed: the connected account on whose behalf a platform charges it."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class StripeAccountChanged(Data, frozen=True, kw_only=True):
    """A Stripe account beside the installation's own let us in, shut us out, or was restricted by Stripe; or its own key came or went."""

    type: ClassVar[str] = "stripe_account.changed"
    source: ClassVar[str] = "billing"
    lane: ClassVar[str] = "accounts"

    state: str
    """`connected`, `restricted` (Stripe lets nothing be charged there) or `disconnected`."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class SubscriptionData(Data, frozen=True, kw_only=True):
    """A Stripe subscription as it stood at the event. Amounts are in the currency's minor unit."""

    source: ClassVar[str] = "billing"

    subscription_id: str
    """Stripe's id, `sub_…`."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    on_behalf_of: str = ""
    """The connected account, `acct_…`, on whose behalf a platform charges it; empty: nobody's."""
    status: str
    """Stripe's word: `active`, `trialing`, `past_due`, `unpaid`, `paused`, `canceled`, `incomplete`, …"""
    cancel_at_period_end: bool = False
    """It ends with its current period."""
    ends_at: dt.datetime | None = None
    """UTC, when it will end or has ended; None while no end is planned."""
    end_reason: str | None = None
    """Why it ends, Stripe's word: `payment_failed` when Stripe gave up, `cancellation_requested`, `payment_disputed` or
    `canceled_by_retention_policy`; None where that is not known."""
    current_period_end: dt.datetime | None = None
    """UTC, when the current period ends."""
    description: str | None = None
    """What the business calls the subscription at Stripe, where it gave it a name."""
    pricing: str | None = None
    """How its amount comes about: `fixed` (`amount` each interval), `fixed_and_usage`, `usage`, or `other` (tiers, packages,
    tax on top, mixed intervals: Stripe works it out). None, from a release before: not known, so `amount` may be wrong."""
    discounted: bool | None = None
    """Whether a discount stands on it or on one of its items, which `amount` leaves out. A customer's own discount does not
    show here. None: the event does not say."""
    amount: int | None = None
    """The fixed part of one interval before discounts, in minor units; None where there is none."""
    currency: str | None = None
    """ISO 4217, lower case, of `amount`."""
    interval: str | None = None
    """`day`, `week`, `month` or `year`, of `amount`."""
    interval_count: int = 1
    """How many of them make one interval."""
    collection_paused: bool | None = None
    """Whether no payment is collected for now (Stripe's `pause_collection`); None: the event does not say."""
    collection_resumes_at: dt.datetime | None = None
    """UTC, when collection goes on by itself, where that is planned."""
    trial_ends_at: dt.datetime | None = None
    """UTC, when its trial ends or has ended; None where it has none."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""
    requested: bool = False
    """True when Portico planned the end, because the business approved the customer's request."""
    end_changed: bool = False
    """The event is about a change of the planned end: then `ends_at` None means that it was withdrawn."""


class SubscriptionUpdated(SubscriptionData, frozen=True, kw_only=True):
    """A subscription began, or something about it changed that a customer can see."""

    type: ClassVar[str] = "subscription.updated"


class SubscriptionCancellationScheduled(SubscriptionData, frozen=True, kw_only=True):
    """A subscription will end: the customer cancelled it on Stripe's page, or the business did."""

    type: ClassVar[str] = "subscription.cancellation_scheduled"


class SubscriptionEnded(SubscriptionData, frozen=True, kw_only=True):
    """A subscription is over; it never comes back under this id."""

    type: ClassVar[str] = "subscription.ended"


class SubscriptionImported(SubscriptionData, frozen=True, kw_only=True):
    """A subscription that is not over, or has an open invoice, as an import from Stripe found it: for pages alone, like
    `invoice.imported`."""

    type: ClassVar[str] = "subscription.imported"
    lane: ClassVar[str] = "imported"


class SubscriptionPaymentMethodKept(Data, frozen=True, kw_only=True):
    """A customer's new payment method could not be made that of a subscription, since Stripe lets a platform change only the
    subscriptions that it made: the next payment is still charged to the old one, until the business sets it in its dashboard.
    Portico tries the new one when that payment fails. With `over` that is past."""

    type: ClassVar[str] = "subscription.payment_method_kept"
    source: ClassVar[str] = "billing"

    subscription_id: str
    """Stripe's id, `sub_…`."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    on_behalf_of: str = ""
    """The connected account, `acct_…`, on whose behalf a platform charges it; empty: nobody's."""
    payment_method_id: str
    """The new one, `pm_…`."""
    over: bool = False
    """True: the subscription is charged to the new one now, or has ended, or yet another one took its place."""
    description: str | None = None
    """What the subscription is called at Stripe, where that was given."""
    dashboard_url: str | None = None
    """The subscription in the business's Stripe dashboard, for the business alone."""
    livemode: bool = False
    """True in Stripe's live mode, False in test mode."""


class NotificationUndeliverable(Data, frozen=True, kw_only=True):
    """An email of ours did not reach its customer and is not tried again: for the host application, which may know another
    way to reach them. The address itself is not told: the host gave it to us."""

    type: ClassVar[str] = "notification.undeliverable"
    source: ClassVar[str] = "notifier"

    notification_id: str
    """The notifier's id of the email, `ntf_…`."""
    kind: str
    """What the email said, one of the kinds of [emails.md](emails.md): `payment_failed`, `payment_reminder`, …"""
    reason: str
    """`bounced` (there is no such mailbox), `dropped` (SendGrid had reasons not to try) or `spam_report`."""
    stripe_customer_id: str | None = None
    """Stripe's id, `cus_…`, where the email was about an invoice."""
    invoice_id: str | None = None
    """The invoice that it was about."""
    customer_id: str | None = None
    """Portico's customer id, where the email was asked for by it (a fresh link)."""


class WebhookEndpointDisabled(Data, frozen=True, kw_only=True):
    """An endpoint for webhooks was switched off because it does not work: it gets nothing until somebody enables it again, and replays
    what it missed."""

    type: ClassVar[str] = "webhook_endpoint.disabled"
    source: ClassVar[str] = "notifier"

    endpoint_id: str
    """`whe_…`."""
    business_id: str | None = None
    """The host's own id of the business that it belongs to; null: the installation."""
    reason: str
    """`gone` (it answered 410) or `failing` (all has failed for five days)."""


EVENTS: Final[dict[tuple[str, int], type[Data]]] = {
    (cls.type, cls.version): cls
    for cls in (
        InvoicePaymentFailed,
        InvoicePaymentActionRequired,
        InvoicePaid,
        InvoiceVoided,
        InvoiceMarkedUncollectible,
        InvoiceUpdated,
        InvoiceImported,
        CustomerLinked,
        CustomerEvidenceChanged,
        StripeCustomerSeen,
        CustomerDeleted,
        PaymentMethodChanged,
        StripeAccountChanged,
        SubscriptionUpdated,
        SubscriptionCancellationScheduled,
        SubscriptionEnded,
        SubscriptionImported,
        SubscriptionPaymentMethodKept,
        NotificationUndeliverable,
        CustomerLinkChanged,
        CustomerLinkRefused,
        WebhookEndpointDisabled,
    )
}

CONSUMERS: Final[dict[str, tuple[type[Data], ...]]] = {
    "portal": (
        InvoicePaymentFailed,
        InvoicePaymentActionRequired,
        InvoicePaid,
        InvoiceVoided,
        InvoiceMarkedUncollectible,
        InvoiceUpdated,
        InvoiceImported,
        CustomerLinked,
        CustomerEvidenceChanged,
        StripeCustomerSeen,
        CustomerDeleted,
        PaymentMethodChanged,
        StripeAccountChanged,
        SubscriptionUpdated,
        SubscriptionCancellationScheduled,
        SubscriptionEnded,
        SubscriptionImported,
        SubscriptionPaymentMethodKept,
    ),
    "billing": (PaymentMethodChanged,),
    "notifier": (
        InvoicePaymentFailed,
        InvoicePaymentActionRequired,
        InvoicePaid,
        InvoiceVoided,
        InvoiceMarkedUncollectible,
        InvoiceUpdated,
        CustomerDeleted,
        SubscriptionUpdated,
        SubscriptionCancellationScheduled,
        SubscriptionEnded,
        PaymentMethodChanged,
        SubscriptionPaymentMethodKept,
        CustomerLinkChanged,
        CustomerLinkRefused,
    ),
}
"""Who hears what. Publisher and consumers declare the queues from this one table, so an event that is
published before a consumer ever ran waits for it. A type that nobody here hears is for the host application alone, and is
published whether or not the host listens (docs/adr/0007-events-for-the-host.md)."""

D = TypeVar("D", bound=Data)
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    D_co = TypeVarWithDefault("D_co", bound=Data, covariant=True, default=Data)
else:
    D_co = TypeVar("D_co", bound=Data, covariant=True)


class Event(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """One event in its envelope, parsed. `Event[InvoiceData]` is one whose data is known to be about an invoice: `carries`
    tells a type checker so. On the wire all are alike."""

    id: str
    occurred_at: dt.datetime
    correlation_id: str
    data: D_co
    traceparent: str = msgspec.field(default_factory=tracing.here)
    """The work that made it, for whoever traces; empty when nobody does."""

    @property
    def type(self) -> str:
        return self.data.type


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    version: int
    occurred_at: dt.datetime
    correlation_id: str = ""
    traceparent: str = ""
    data: msgspec.Raw


_decoder = msgspec.json.Decoder(_Envelope)
_data_decoders = {key: msgspec.json.Decoder(cls) for key, cls in EVENTS.items()}
_encoder = msgspec.json.Encoder()


def carries(event: Event, kind: type[D]) -> TypeGuard[Event[D]]:
    """Whether the event's data is a `kind`."""
    return isinstance(event.data, kind)


def encode(event: Event) -> bytes:
    """The event as the JSON that goes over the wire."""
    return _encoder.encode(
        {
            "id": event.id,
            "type": event.data.type,
            "version": event.data.version,
            "occurred_at": event.occurred_at,
            "correlation_id": event.correlation_id,
            **({"traceparent": event.traceparent} if event.traceparent else {}),
            "data": event.data,
        }
    )


def decode(body: bytes | str | dict[str, Any]) -> Event:
    """Parse one message; raises EventError that names the field which is wrong."""
    try:
        if isinstance(body, dict):
            body = _encoder.encode(body)
        envelope = decode_json(_decoder, body)
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"not an event envelope: {error}") from None
    decoder = _data_decoders.get((envelope.type, envelope.version))
    if decoder is None:
        raise EventError(f"unknown event: {envelope.type[:100]!r} of version {envelope.version}")
    try:
        data = decoder.decode(envelope.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"{envelope.type} v{envelope.version}: {error}") from None
    return Event(
        id=envelope.id,
        occurred_at=envelope.occurred_at,
        # Both end in columns, and nothing depends on them.
        correlation_id=envelope.correlation_id[:255],
        traceparent=envelope.traceparent if len(envelope.traceparent) <= 55 else "",
        data=data,
    )
