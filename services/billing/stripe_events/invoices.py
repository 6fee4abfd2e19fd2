"""What Stripe's events about invoices and their payments mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from services.billing.domain.paying import OWN_RETRY_PREFIX
from services.billing.stripe_events import payloads
from services.billing.stripe_events.drafts import EventDraft, dedupe_key
from services.billing.stripe_events.payloads import StripeEvent, decode_object, moment, ref_id
from services.billing.stripe_events.payment_methods import (
    DEFAULTS,
    new_default,
    payment_method_changed,
)
from services.billing.stripe_events.seen import PAID, paying_seen
from shared import events
from shared.contracts.invoices import SENT, settlement


def own_retry_key(event: StripeEvent) -> str | None:
    key = event.idempotency_key
    return key if key and key.startswith(OWN_RETRY_PREFIX) else None


def read_invoice(event: StripeEvent) -> payloads.Invoice:
    """The invoice that an event is about. Raises Unreadable."""
    return decode_object(event.content().object, payloads.Invoice)


def invoice_data(
    event: StripeEvent, invoice: payloads.Invoice, cls: type[events.InvoiceData]
) -> events.InvoiceData:
    """What the contract tells of an invoice. Pure; raises Unreadable for a time that is none."""
    content = event.content()
    transitions, purpose = invoice.status_transitions, invoice.purpose
    return cls(
        invoice_id=invoice.id,
        stripe_customer_id=ref_id(invoice.customer) or "",
        on_behalf_of=ref_id(invoice.on_behalf_of) or "",
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
        account=event.account,
        livemode=bool(event.livemode),
        own_retry=own_retry_key(event) is not None,
    )


def attempt_failed(cls: type[events.InvoiceData]) -> Callable[[StripeEvent], Iterator[EventDraft]]:
    """An attempt to collect that did not succeed."""

    def drafts(event: StripeEvent) -> Iterator[EventDraft]:
        data = invoice_data(event, read_invoice(event), cls)
        key = dedupe_key(data, data.invoice_id, data.attempt_count, own_retry_key(event))
        yield EventDraft(data, key, again_key=f"{key}:{event.id}")

    return drafts


def invoice_ended(cls: type[events.InvoiceData]) -> Callable[[StripeEvent], Iterator[EventDraft]]:
    """A state that an invoice reaches once."""

    def drafts(event: StripeEvent) -> Iterator[EventDraft]:
        data = invoice_data(event, read_invoice(event), cls)
        yield EventDraft(data, dedupe_key(data, data.invoice_id))

    return drafts


def invoice_paid(event: StripeEvent) -> Iterator[EventDraft]:
    """Nothing is owed on it any more; and where money came in, somebody pays."""
    invoice = read_invoice(event)
    data = invoice_data(event, invoice, events.InvoicePaid)
    yield EventDraft(data, dedupe_key(data, data.invoice_id))
    if not settlement(data).is_waived:
        yield from paying_seen(
            event,
            ref_id(invoice.customer),
            PAID,
            invoice.id,
            email=invoice.customer_email,
            name=invoice.customer_name,
            on_behalf_of=ref_id(invoice.on_behalf_of) or "",
        )


AMOUNTS: Final = frozenset({"amount_due", "amount_remaining"})
RELEVANT_INVOICE_CHANGES: Final = AMOUNTS | {
    "next_payment_attempt",
    "status",
    "collection_method",
    "auto_advance",
}


def invoice_finalized(event: StripeEvent) -> Iterator[EventDraft]:
    """An invoice asks for money from now on. One that Stripe charges is news once that failed; one that is sent waits for its customer."""
    data = invoice_data(event, read_invoice(event), events.InvoiceUpdated)
    if data.status == "open" and data.collection_method == SENT:
        yield EventDraft(data, dedupe_key(data, data.invoice_id, event.id))


def invoice_updated(event: StripeEvent) -> Iterator[EventDraft]:
    yield from _invoice_method_changed(event)
    changed = event.content().previous_attributes or {}
    if RELEVANT_INVOICE_CHANGES.isdisjoint(changed):
        return
    data = invoice_data(event, read_invoice(event), events.InvoiceUpdated)
    # Of what was given up a part may still be paid, or forgiven.
    given_up = data.status == "uncollectible" and not AMOUNTS.isdisjoint(changed)
    sent = data.collection_method == SENT or "collection_method" in changed
    if (data.attempted and given_up) or (data.status == "open" and (data.attempted or sent)):
        yield EventDraft(data, dedupe_key(data, data.invoice_id, event.id))


def payment_processing(event: StripeEvent) -> Iterator[EventDraft]:
    """A bank has been asked for money. Nobody but the payment says so: on the invoice nothing need change."""
    intent = decode_object(event.content().object, payloads.PaymentIntent)
    stripe_customer_id, invoice_id = ref_id(intent.customer), intent.invoice_id
    if stripe_customer_id and invoice_id:
        data = events.InvoiceUpdated(
            invoice_id=invoice_id,
            stripe_customer_id=stripe_customer_id,
            on_behalf_of=ref_id(intent.on_behalf_of) or "",
            status="open",
            currency=intent.currency,
            amount_due=intent.amount,
            amount_remaining=intent.amount,
            attempted=True,
            account=event.account,
            livemode=bool(event.livemode),
            own_retry=own_retry_key(event) is not None,
            processing=True,
        )
        yield EventDraft(data, dedupe_key(data, invoice_id, event.id))


def _invoice_method_changed(event: StripeEvent) -> Iterator[EventDraft]:
    """Somebody said what this one invoice is to be charged to; one that was not tried yet Stripe charges by itself."""
    content = event.content()
    changes = content.previous_attributes or {}
    if DEFAULTS.isdisjoint(changes):
        return
    invoice = decode_object(content.object, payloads.Invoice)
    if invoice.status == "open" and invoice.attempted:
        yield from payment_method_changed(
            event,
            ref_id(invoice.customer) or "",
            new_default(changes, invoice.default_payment_method, invoice.default_source),
            invoice.subscription_id,
            invoice.id,
            on_behalf_of=ref_id(invoice.on_behalf_of) or "",
        )
