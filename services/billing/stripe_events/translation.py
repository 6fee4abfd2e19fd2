"""From Stripe's events to ours: one table, one small function a kind, and the reason beside each line.

Pure: the same stored payload always gives the same events, so an event can be translated again after an upgrade.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.billing.domain.paying import OWN_POINTING_PREFIX, OWN_RETRY_PREFIX
from services.billing.domain.portal import PortalConfiguration
from services.billing.stripe_events import payloads
from services.billing.stripe_events.payloads import (
    StripeEvent,
    Unreadable,
    decode_object,
    moment,
    ref_id,
    usable_id,
)
from services.billing.stripe_events.portal_configurations import (
    CONFIGURATION_TYPES,
    configuration_of,
)
from services.billing.stripe_events.subscription_payload import Subscription
from services.billing.stripe_events.subscriptions import (
    PLANNED_ENDS,
    RELEVANT_SUBSCRIPTION_CHANGES,
    subscription_data,
)
from shared import events
from shared.outbox import Outgoing


class Status(enum.StrEnum):
    """What became of a Stripe event in the inbox."""

    TRANSLATED = "translated"
    IGNORED = "ignored"
    """Stored and acknowledged; nothing in it concerns us."""
    QUARANTINED = "quarantined"
    """Stored and acknowledged, but it should have been understood: somebody has to look."""
    CONNECTED = "connected"
    """Stored and acknowledged; it happened on a connected account, which is not ours to act on."""
    THIN = "thin"
    """Stored and acknowledged; it only names what happened, which is read from Stripe's log soon after."""


@dataclass(frozen=True)
class EventDraft:
    """An event of ours to be, and the key under which it is said only once."""

    data: events.Data
    dedupe_key: str
    again_key: str | None = None
    """See `shared.outbox.Outgoing`."""


@dataclass(frozen=True)
class Translation:
    """What one Stripe event means to us."""

    status: Status
    reason: str | None = None
    outgoing: tuple[Outgoing, ...] = ()
    configuration: PortalConfiguration | None = None
    """What Stripe's portal lets customers do from now on."""


def translate(event: StripeEvent, *, livemode: bool) -> Translation:
    """What a stored Stripe event means. `livemode` is the mode of our own key.

    Never raises: an event that can't be read is quarantined with the reason. A 4xx would make Stripe repeat it
    for days and then switch the endpoint off.
    """
    # First of all, and whatever its mode: a live endpoint for connected accounts gets their test events, too.
    # https://docs.stripe.com/connect/webhooks
    if event.account:
        return Translation(Status.CONNECTED, f"of the connected account {event.account}")
    if event.livemode is not None and event.livemode != livemode:
        return Translation(
            Status.QUARANTINED, f"wrong mode: {_mode(event.livemode)} event, {_mode(livemode)} key"
        )
    if event.thin and event.type.removeprefix("v1.") in WANTED:
        return Translation(Status.THIN, "it holds nothing of what it is about; Stripe's log does")
    if event.thin or event.type not in WANTED:
        return Translation(Status.IGNORED, "type not handled")
    if event.livemode is None:
        return Translation(Status.QUARANTINED, "the event has no `livemode`")
    try:
        if event.type in CONFIGURATION_TYPES:
            return Translation(Status.TRANSLATED, configuration=configuration_of(event))
        route = ROUTES[event.type]
        occurred_at = event.occurred_at()
        outgoing = tuple(
            Outgoing(
                events.Event(
                    id=f"{event.id}/{draft.data.type}",
                    occurred_at=occurred_at,
                    correlation_id=event.id,
                    data=draft.data,
                ),
                draft.dedupe_key,
                draft.again_key,
            )
            for draft in route(event)
        )
    except Unreadable as error:
        return Translation(Status.QUARANTINED, str(error))
    if not outgoing:
        return Translation(Status.IGNORED, "nothing in it concerns us")
    return Translation(Status.TRANSLATED, None, outgoing)


def dedupe_key(data: events.Data, *parts: object) -> str:
    """The key under which the outbox says a thing only once: event type, object id, what tells occasions apart.

    The inbox already drops a Stripe event that is delivered twice. But Stripe may also make *two* events for one
    change (`invoice.paid` and `invoice.payment_succeeded`; the same type twice, which its documentation warns
    of), with different ids. Without this key one payment would be announced twice. So:

    - a failure has a key of its invoice and attempt. A second event of the same attempt may tell of the same charge, or
      of another one (a bank debit fails days after it was made, and raises no count): it is said under a key with the
      event's id in it, and the notifier tells by the charge whether it is news;
    - an end (paid, void, uncollectible, deleted) happens once to an object;
    - a *change back and forth* (a date, a default card) is news each time, so there the Stripe event's id is
      part of the key.
    """
    return ":".join([data.type, *("" if part is None else str(part) for part in parts)])


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"


# --- invoices ------------------------------------------------------------------------------------------------


def _own_retry_key(event: StripeEvent) -> str | None:
    key = event.idempotency_key
    return key if key and key.startswith(OWN_RETRY_PREFIX) else None


def _invoice(event: StripeEvent, cls: type[events.InvoiceData]) -> events.InvoiceData:
    content = event.content()
    invoice: payloads.Invoice = decode_object(content.object, payloads.Invoice)
    transitions, purpose = invoice.status_transitions, invoice.purpose
    return cls(
        invoice_id=invoice.id,
        stripe_customer_id=ref_id(invoice.customer) or "",
        status=invoice.status,
        currency=invoice.currency,
        amount_due=invoice.amount_due,
        amount_remaining=invoice.amount_remaining,
        amount_paid=invoice.amount_paid,
        amount_credited=invoice.pre_payment_credit_notes_amount,
        attempt_count=invoice.attempt_count,
        attempted=invoice.attempted,
        collection_method=invoice.collection_method,
        billing_reason=invoice.billing_reason,
        number=invoice.number and invoice.number[:100],
        subscription_id=invoice.subscription_id,
        purpose=purpose.text,
        purpose_more=purpose.more,
        next_payment_attempt=moment(invoice.next_payment_attempt),
        schedule_changed="next_payment_attempt" in (content.previous_attributes or {}),
        auto_advance=invoice.auto_advance,
        finalized_at=moment(transitions.finalized_at) if transitions else None,
        livemode=bool(event.livemode),
        own_retry=_own_retry_key(event) is not None,
    )


def _attempt(cls: type[events.InvoiceData]) -> Callable[[StripeEvent], Iterator[EventDraft]]:
    """An attempt to collect that did not succeed."""

    def drafts(event: StripeEvent) -> Iterator[EventDraft]:
        data = _invoice(event, cls)
        occasion = (data.invoice_id, data.attempt_count, _own_retry_key(event))
        yield EventDraft(
            data,
            dedupe_key(data, *occasion),
            again_key=dedupe_key(data, *occasion, event.id),
        )

    return drafts


def _end(cls: type[events.InvoiceData]) -> Callable[[StripeEvent], Iterator[EventDraft]]:
    """A state that an invoice reaches once."""

    def drafts(event: StripeEvent) -> Iterator[EventDraft]:
        data = _invoice(event, cls)
        yield EventDraft(data, dedupe_key(data, data.invoice_id))

    return drafts


RELEVANT_INVOICE_CHANGES: Final = frozenset(
    {
        "next_payment_attempt",
        "status",
        "amount_remaining",
        "amount_due",
        "collection_method",
        "auto_advance",
    }
)


def _invoice_updated(event: StripeEvent) -> Iterator[EventDraft]:
    yield from _invoice_method_changed(event)
    changed = event.content().previous_attributes or {}
    if RELEVANT_INVOICE_CHANGES.isdisjoint(changed):
        return
    data = _invoice(event, events.InvoiceUpdated)
    if data.status == "open" and data.attempted:
        yield EventDraft(data, dedupe_key(data, data.invoice_id, event.id))


def _payment_processing(event: StripeEvent) -> Iterator[EventDraft]:
    """A bank has been asked for money. Nobody but the payment says so: on the invoice nothing need change."""
    intent: payloads.PaymentIntent = decode_object(event.content().object, payloads.PaymentIntent)
    stripe_customer_id, invoice_id = ref_id(intent.customer), intent.invoice_id
    if stripe_customer_id and invoice_id:
        data = events.InvoiceUpdated(
            invoice_id=invoice_id,
            stripe_customer_id=stripe_customer_id,
            status="open",
            currency=intent.currency,
            amount_due=intent.amount,
            amount_remaining=intent.amount,
            attempted=True,
            livemode=bool(event.livemode),
            own_retry=_own_retry_key(event) is not None,
            processing=True,
        )
        yield EventDraft(data, dedupe_key(data, invoice_id, event.id))


def _invoice_method_changed(event: StripeEvent) -> Iterator[EventDraft]:
    """Somebody said what this one invoice is to be charged to; one that was not tried yet Stripe charges by itself."""
    content = event.content()
    changes = content.previous_attributes or {}
    if _DEFAULTS.isdisjoint(changes):
        return
    invoice: payloads.Invoice = decode_object(content.object, payloads.Invoice)
    if invoice.status == "open" and invoice.attempted:
        yield from _payment_method_changed(
            event,
            ref_id(invoice.customer) or "",
            _new_default(changes, invoice.default_payment_method, invoice.default_source),
            invoice.subscription_id,
            invoice.id,
        )


# --- customers -----------------------------------------------------------------------------------------------


def _evidence(
    event: StripeEvent,
    object_id: str,
    stripe_customer_id: str,
    metadata: payloads.Metadata | None,
    evidence: str,
    changes: dict[str, msgspec.Raw],
) -> Iterator[EventDraft]:
    """Whom an object's metadata names, and whom it named before: what is new each time, what is unchanged once."""
    now = metadata or payloads.Metadata()
    new = event.type.endswith(".created")
    before = payloads.Metadata() if new else now.before(_changed_fields(changes, "metadata"))
    (customer_id, business_id), previous = now.names, before.names
    if customer_id is None and previous[0] is None:
        return
    data = events.CustomerEvidenceChanged(
        stripe_customer_id=stripe_customer_id,
        object_id=object_id,
        evidence=evidence,
        customer_id=customer_id,
        business_id=business_id,
        previous_customer_id=previous[0],
        previous_business_id=previous[1],
        livemode=bool(event.livemode),
    )
    changed = previous != now.names
    occasion = (event.id,) if changed else (customer_id, business_id)
    yield EventDraft(data, dedupe_key(data, object_id, *occasion))


def _changed_fields(changes: dict[str, msgspec.Raw], name: str) -> dict[str, Any]:
    """The nested `previous_attributes.<name>` as a dict; empty when it is absent or null."""
    raw = changes.get(name)
    return {} if raw is None else decode_object(raw, dict[str, Any] | None) or {}


def _customer(event: StripeEvent) -> Iterator[EventDraft]:
    content = event.content()
    customer: payloads.Customer = decode_object(content.object, payloads.Customer)
    changes = content.previous_attributes or {}
    yield from _evidence(
        event, customer.id, customer.id, customer.metadata, "customer.metadata", changes
    )
    settings = customer.invoice_settings
    changed = {*_changed_fields(changes, "invoice_settings"), *changes}
    method = settings.default_payment_method if settings else None
    yield from _payment_method_changed(
        event, customer.id, _new_default(changed, method, customer.default_source)
    )


def _subscription(event: StripeEvent) -> Iterator[EventDraft]:
    content = event.content()
    subscription: Subscription = decode_object(content.object, Subscription)
    stripe_customer_id = ref_id(subscription.customer) or ""
    changes = content.previous_attributes or {}
    yield from _subscription_evidence(event, subscription, changes)
    yield from _subscription_changed(event, subscription, changes)
    if (event.idempotency_key or "").startswith(OWN_POINTING_PREFIX):
        return
    method = _new_default(changes, subscription.default_payment_method, subscription.default_source)
    yield from _payment_method_changed(event, stripe_customer_id, method, subscription.id)


def _subscription_evidence(
    event: StripeEvent, subscription: Subscription, changes: dict[str, msgspec.Raw]
) -> Iterator[EventDraft]:
    yield from _evidence(
        event,
        subscription.id,
        ref_id(subscription.customer) or "",
        subscription.metadata,
        "subscription.metadata",
        changes,
    )


def _subscription_changed(
    event: StripeEvent, subscription: Subscription, changes: dict[str, msgspec.Raw]
) -> Iterator[EventDraft]:
    """What a customer can see of it. A change back and forth is news each time."""
    created = event.type == "customer.subscription.created"
    if not created and RELEVANT_SUBSCRIPTION_CHANGES.isdisjoint(changes):
        return
    end_changed = not PLANNED_ENDS.isdisjoint(changes)
    ends = bool(subscription.cancel_at_period_end or subscription.cancel_at)
    cls = (
        events.SubscriptionCancellationScheduled
        if ends and end_changed
        else events.SubscriptionUpdated
    )
    data = subscription_data(event, subscription, cls, end_changed=end_changed)
    yield EventDraft(data, dedupe_key(data, data.subscription_id, event.id))


def _subscription_ended(event: StripeEvent) -> Iterator[EventDraft]:
    subscription: Subscription = decode_object(event.content().object, Subscription)
    # An end withdraws nothing: the Stripe customer, its cards and its invoices are still the same person's.
    yield from _subscription_evidence(event, subscription, {})
    data = subscription_data(event, subscription, events.SubscriptionEnded)
    yield EventDraft(data, dedupe_key(data, data.subscription_id))


_DEFAULTS: Final = frozenset({"default_payment_method", "default_source"})


def _new_default(
    changed: Collection[str],
    method: str | payloads.Reference | None,
    source: str | payloads.Reference | None,
) -> str | None:
    """The default that was set, if it is the one that is charged now: a payment method goes before a source. None also for one
    that was taken away, which leaves nothing new to pay with."""
    chosen = "default_source" if method is None else "default_payment_method"
    return ref_id(source if method is None else method) if chosen in changed else None


def _payment_method_changed(
    event: StripeEvent,
    stripe_customer_id: str,
    payment_method_id: str | None,
    subscription_id: str | None = None,
    invoice_id: str | None = None,
    *,
    renewed: bool = False,
) -> Iterator[EventDraft]:
    if payment_method_id is None:
        return
    data = events.PaymentMethodChanged(
        stripe_customer_id=stripe_customer_id,
        payment_method_id=payment_method_id,
        subscription_id=subscription_id,
        invoice_id=invoice_id,
        renewed=renewed,
        livemode=bool(event.livemode),
    )
    subject = invoice_id or subscription_id or stripe_customer_id
    yield EventDraft(data, dedupe_key(data, subject, event.id))


def _payment_method_updated(event: StripeEvent) -> Iterator[EventDraft]:
    method: payloads.PaymentMethod = decode_object(event.content().object, payloads.PaymentMethod)
    stripe_customer_id = ref_id(method.customer)
    if stripe_customer_id:
        yield from _payment_method_changed(event, stripe_customer_id, method.id, renewed=True)


_RENEWED: Final = frozenset({"exp_month", "exp_year", "fingerprint", "last4"})
"""What tells one plastic card from the one that its bank sends in its place."""


def _source_updated(event: StripeEvent) -> Iterator[EventDraft]:
    """A saved card of the API before payment methods has another date or number behind the same id. A name or an address says
    nothing to a bank."""
    content = event.content()
    changes = content.previous_attributes or {}
    if _RENEWED.isdisjoint({*_changed_fields(changes, "card"), *changes}):
        return
    source: payloads.Source = decode_object(content.object, payloads.Source)
    stripe_customer_id = ref_id(source.customer)
    if stripe_customer_id:
        yield from _payment_method_changed(event, stripe_customer_id, source.id, renewed=True)


def _customer_deleted(event: StripeEvent) -> Iterator[EventDraft]:
    customer: payloads.DeletedCustomer = decode_object(
        event.content().object, payloads.DeletedCustomer
    )
    data = events.CustomerDeleted(stripe_customer_id=customer.id, livemode=bool(event.livemode))
    yield EventDraft(data, dedupe_key(data, customer.id))


def _checkout_completed(event: StripeEvent) -> Iterator[EventDraft]:
    session: payloads.CheckoutSession = decode_object(
        event.content().object, payloads.CheckoutSession
    )
    stripe_customer_id, reference = ref_id(session.customer), usable_id(session.client_reference_id)
    if stripe_customer_id and reference:
        data = events.CustomerEvidenceChanged(
            stripe_customer_id=stripe_customer_id,
            object_id=session.id,
            evidence="checkout.session",
            reference=reference,
            session_created=moment(session.created),
            livemode=bool(event.livemode),
        )
        yield EventDraft(data, dedupe_key(data, session.id))


EVIDENCE_TYPES: Final = (
    "checkout.session.completed",
    "customer.created",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.updated",
    "customer.updated",
)
"""What may tell whose a Stripe customer is."""

ROUTES: Final[dict[str, Callable[[StripeEvent], Iterator[EventDraft]]]] = {
    # The reason for this product: an autopay charge was declined, the customer must hear of it.
    "invoice.payment_failed": _attempt(events.InvoicePaymentFailed),
    # The bank wants the customer; comes with or without payment_failed, so both are read.
    "invoice.payment_action_required": _attempt(events.InvoicePaymentActionRequired),
    # Ends the story. Two Stripe types for one fact: `paid` also covers "marked as paid outside Stripe", some
    # endpoints subscribe only to the older name. One of ours.
    "invoice.paid": _end(events.InvoicePaid),
    "invoice.payment_succeeded": _end(events.InvoicePaid),
    # Nothing is owed any more: no reminder may follow.
    "invoice.voided": _end(events.InvoiceVoided),
    "invoice.marked_uncollectible": _end(events.InvoiceMarkedUncollectible),
    # The date of the next attempt is often null in payment_failed and set here a moment later. And somebody may say what this
    # one invoice is to be charged to.
    "invoice.updated": _invoice_updated,
    # A bank debit is under way, whoever began it: nothing on the invoice need say so, and nobody is asked for what is on its way.
    "payment_intent.processing": _payment_processing,
    # Whose a Stripe customer is, by metadata: writing it needs the secret key.
    "customer.created": _customer,
    # The same, set later; and the heart of the loop: Stripe's portal changes the customer's default card here.
    "customer.updated": _customer,
    # The button must disappear: it could only fail.
    "customer.deleted": _customer_deleted,
    # Hosts that tag the subscription instead of the customer.
    "customer.subscription.created": _subscription,
    # Retries charge the subscription's own card first: a new one there pays what is open, too. And the customer
    # may cancel on Stripe's page, where the business allows it: the page and the business hear of it.
    "customer.subscription.updated": _subscription,
    # Nothing more will be charged: the page says so, and the business is told.
    "customer.subscription.deleted": _subscription_ended,
    # Hosts that know Stripe only by Checkout. Anybody can set a client_reference_id: the portal looks whether it is signed.
    "checkout.session.completed": _checkout_completed,
    # The bank replaced a card and told Stripe: the customer need do nothing.
    "payment_method.automatically_updated": _payment_method_updated,
    # The same of a card that was saved before there were payment methods.
    "customer.source.updated": _source_updated,
}
"""Stripe type to translation into events of ours."""

WANTED: Final = frozenset((*ROUTES, *CONFIGURATION_TYPES))
"""Every type that a webhook endpoint has to deliver. Any other is stored as `ignored`."""
