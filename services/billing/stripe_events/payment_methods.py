"""What Stripe's events about payment methods mean: a new default, a card that the bank replaced."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from services.billing.stripe_events import payloads
from services.billing.stripe_events.drafts import EventDraft, dedupe_key
from services.billing.stripe_events.payloads import StripeEvent, decode_object, ref_id
from shared import events


def changed_fields(changes: dict[str, msgspec.Raw], name: str) -> dict[str, Any]:
    """The nested `previous_attributes.<name>` as a dict; empty when it is absent or null."""
    raw = changes.get(name)
    return {} if raw is None else payloads.decode(raw, dict[str, Any] | None, "data.object") or {}


DEFAULTS: Final = frozenset({"default_payment_method", "default_source"})


def new_default(
    changed: Collection[str],
    method: str | payloads.Reference | None,
    source: str | payloads.Reference | None,
) -> str | None:
    """The default that was set, if it is the one that is charged now: a payment method goes before a source. None also for one
    that was taken away, which leaves nothing new to pay with."""
    chosen = "default_source" if method is None else "default_payment_method"
    return ref_id(source if method is None else method) if chosen in changed else None


def payment_method_changed(
    event: StripeEvent,
    stripe_customer_id: str,
    payment_method_id: str | None,
    subscription_id: str | None = None,
    invoice_id: str | None = None,
    *,
    renewed: bool = False,
    on_behalf_of: str = "",
) -> Iterator[EventDraft]:
    if payment_method_id is None:
        return
    data = events.PaymentMethodChanged(
        stripe_customer_id=stripe_customer_id,
        payment_method_id=payment_method_id,
        subscription_id=subscription_id,
        invoice_id=invoice_id,
        renewed=renewed,
        on_behalf_of=on_behalf_of,
        account=event.account,
        livemode=bool(event.livemode),
    )
    subject = invoice_id or subscription_id or stripe_customer_id
    yield EventDraft(data, dedupe_key(data, subject, event.id))


def payment_method_updated(event: StripeEvent) -> Iterator[EventDraft]:
    method = decode_object(event.content().object, payloads.PaymentMethod)
    stripe_customer_id = ref_id(method.customer)
    if stripe_customer_id:
        yield from payment_method_changed(event, stripe_customer_id, method.id, renewed=True)


_RENEWED: Final = frozenset({"exp_month", "exp_year", "fingerprint", "last4"})
"""What tells one plastic card from the one that its bank sends in its place."""


def source_updated(event: StripeEvent) -> Iterator[EventDraft]:
    """A saved card of the API before payment methods has another date or number behind the same id. A name or an address says
    nothing to a bank."""
    content = event.content()
    changes = content.previous_attributes or {}
    if _RENEWED.isdisjoint({*changed_fields(changes, "card"), *changes}):
        return
    source = decode_object(content.object, payloads.Source)
    stripe_customer_id = ref_id(source.customer)
    if stripe_customer_id:
        yield from payment_method_changed(event, stripe_customer_id, source.id, renewed=True)
