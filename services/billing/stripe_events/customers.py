"""What Stripe's events about customers mean: whose they are, what they are charged to, their end."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from services.billing.stripe_events import payloads
from services.billing.stripe_events.drafts import EventDraft, dedupe_key
from services.billing.stripe_events.payloads import (
    StripeEvent,
    decode_object,
    moment,
    ref_id,
    usable_id,
)
from services.billing.stripe_events.payment_methods import (
    changed_fields,
    new_default,
    payment_method_changed,
)
from services.billing.stripe_events.seen import customer_seen
from shared import events


def metadata_evidence(
    event: StripeEvent,
    object_id: str,
    stripe_customer_id: str,
    metadata: payloads.Metadata | None,
    evidence: str,
    changes: dict[str, msgspec.Raw],
    on_behalf_of: str = "",
    imported: bool = False,
) -> Iterator[EventDraft]:
    """Whom an object's metadata names, and whom it named before: what is new each time, what is unchanged once. On whose behalf a
    subscription is charged is part of what it says."""
    now = metadata or payloads.Metadata()
    new = event.type.endswith(".created")
    before = payloads.Metadata() if new else now.before(changed_fields(changes, "metadata"))
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
        on_behalf_of=on_behalf_of,
        imported=imported,
        account=event.account,
        livemode=bool(event.livemode),
    )
    changed = previous != now.names or "on_behalf_of" in changes
    whose = (on_behalf_of,) if on_behalf_of else ()
    occasion = (event.id,) if changed else (customer_id, business_id, *whose)
    yield EventDraft(data, dedupe_key(data, object_id, *occasion))


def customer_changed(event: StripeEvent) -> Iterator[EventDraft]:
    content = event.content()
    customer = decode_object(content.object, payloads.Customer)
    changes = content.previous_attributes or {}
    yield from metadata_evidence(
        event, customer.id, customer.id, customer.metadata, "customer.metadata", changes
    )
    settings = customer.invoice_settings
    changed = {*changed_fields(changes, "invoice_settings"), *changes}
    method = new_default(
        changed, settings.default_payment_method if settings else None, customer.default_source
    )
    yield from payment_method_changed(event, customer.id, method)
    yield from customer_seen(event, customer, changed, method)


def customer_deleted(event: StripeEvent) -> Iterator[EventDraft]:
    customer = decode_object(event.content().object, payloads.DeletedCustomer)
    data = events.CustomerDeleted(
        stripe_customer_id=customer.id, account=event.account, livemode=bool(event.livemode)
    )
    yield EventDraft(data, dedupe_key(data, customer.id))


def checkout_completed(event: StripeEvent) -> Iterator[EventDraft]:
    session = decode_object(event.content().object, payloads.CheckoutSession)
    stripe_customer_id, reference = ref_id(session.customer), usable_id(session.client_reference_id)
    if stripe_customer_id and reference:
        data = events.CustomerEvidenceChanged(
            stripe_customer_id=stripe_customer_id,
            object_id=session.id,
            evidence="checkout.session",
            reference=reference,
            session_created=moment(session.created),
            account=event.account,
            livemode=bool(event.livemode),
        )
        yield EventDraft(data, dedupe_key(data, session.id))
