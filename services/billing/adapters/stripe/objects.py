"""From Stripe's objects to ours, field by field. The objects come as the gateway got them; nothing is imported
from the library here, so this can be read and tested without it.

A `StripeObject` is no dict: attributes that Stripe did not send raise AttributeError, hence `attribute`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from services.billing.adapters.stripe.attributes import id_of, moment_of
from services.billing.adapters.stripe.payment_objects import to_payment_method, to_payment_problem
from services.billing.domain.paying import (
    HostedInvoice,
    Invoice,
    InvoiceLook,
    NextMethod,
    Subscription,
)
from services.billing.domain.portal import PortalPolicy
from services.billing.stripe_events.payloads import attribute
from services.billing.stripe_events.purposes import Line, Lines, Purpose, purpose_of
from shared.contracts.payments import ChargeDefaults, SavedMethod, charged_method

CANCELLATION_REASONS = (
    "too_expensive",
    "missing_features",
    "switched_service",
    "unused",
    "customer_service",
    "too_complex",
    "low_quality",
    "other",
)
PATH_WORDS = (
    "v1",
    "billing_portal",
    "configurations",
    "create_preview",
    "customers",
    "events",
    "invoice_payments",
    "invoices",
    "pay",
    "payment_methods",
    "sessions",
    "subscriptions",
    "webhook_endpoints",
)
"""The parts of Stripe's paths that are no ids: what a trace may tell."""


def to_invoice(invoice: Any) -> Invoice:
    """Either shape: the subscription moved under `parent` with 2025-03-31.basil."""
    purpose = _purpose(invoice)
    return Invoice(
        id=attribute(invoice, "id"),
        stripe_customer_id=id_of(attribute(invoice, "customer")) or "",
        on_behalf_of=id_of(attribute(invoice, "on_behalf_of")) or "",
        status=attribute(invoice, "status") or "draft",
        currency=attribute(invoice, "currency"),
        amount_remaining=invoice.amount_remaining,
        attempted=bool(attribute(invoice, "attempted")),
        attempt_count=attribute(invoice, "attempt_count") or 0,
        collection_method=attribute(invoice, "collection_method") or "charge_automatically",
        number=attribute(invoice, "number"),
        subscription_id=id_of(attribute(invoice, "parent", "subscription_details", "subscription"))
        or id_of(attribute(invoice, "subscription")),
        purpose=purpose.text,
        purpose_more=purpose.more,
        next_payment_attempt=moment_of(attribute(invoice, "next_payment_attempt")),
        amount_due=attribute(invoice, "amount_due") or 0,
        amount_paid=attribute(invoice, "amount_paid") or 0,
        amount_credited=attribute(invoice, "pre_payment_credit_notes_amount") or 0,
        auto_advance=attribute(invoice, "auto_advance"),
        finalized_at=moment_of(attribute(invoice, "status_transitions", "finalized_at")),
        billing_reason=attribute(invoice, "billing_reason"),
        defaults=to_defaults(invoice),
    )


def to_defaults(one: Any) -> ChargeDefaults:
    """What an invoice or a subscription is to be charged to, where it says so itself."""
    types = attribute(one, "payment_settings", "payment_method_types")
    return ChargeDefaults(
        to_saved(attribute(one, "default_payment_method")),
        to_saved(attribute(one, "default_source")),
        frozenset(types or ()),
    )


def to_customers_defaults(customer: Any) -> ChargeDefaults:
    """The same of a customer."""
    return ChargeDefaults(
        to_saved(attribute(customer, "invoice_settings", "default_payment_method")),
        to_saved(attribute(customer, "default_source")),
    )


def to_saved(value: Any) -> SavedMethod | None:
    """A field that names a payment method or a source, expanded or not."""
    id = id_of(value)
    shown = to_payment_method(value)
    return SavedMethod(id, shown.type if shown else None) if id else None


def _purpose(invoice: Any) -> Purpose:
    lines = attribute(invoice, "lines")
    found = Lines(
        tuple(
            Line(attribute(one, "amount") or 0, attribute(one, "description"))
            for one in attribute(lines, "data") or ()
        ),
        bool(attribute(lines, "has_more")),
        attribute(lines, "total_count"),
    )
    return purpose_of(found, attribute(invoice, "description"))


LOOK_EXPANDS = ["payments.data.payment.payment_intent", "parent.subscription_details.subscription"]
"""What Stripe is to put into an invoice, so that one request tells all: four levels are as deep as it goes."""
CHOICE_EXPANDS = [
    "customer.default_source",
    "customer.invoice_settings.default_payment_method",
    "default_payment_method",
    "default_source",
    "parent.subscription_details.subscription.default_payment_method",
    "parent.subscription_details.subscription.default_source",
]
"""What tells which payment method is charged next. A restricted key may not be allowed to see it."""


def to_look(invoice: Any) -> InvoiceLook:
    """An invoice with `LOOK_EXPANDS` in it, and perhaps `CHOICE_EXPANDS`."""
    plain = to_invoice(invoice)
    payments = attribute(invoice, "payments", "data") or ()
    subscription = attribute(invoice, "parent", "subscription_details", "subscription")
    status = attribute(subscription, "status")
    problem = to_payment_problem(payments)
    if plain.status == "paid" or (
        problem is not None and problem.no_method and not plain.attempted
    ):
        problem = None
    return InvoiceLook(
        plain,
        problem=problem,
        processing=plain.status == "open" and _covered(plain.amount_remaining, payments),
        subscription=status and to_subscription(subscription).state,
        next_method=_next_method(invoice, subscription),
    )


def _covered(amount: int, payments: Iterable[Any]) -> bool:
    """Whether what is under way of an invoice's payments is all that is due of it. One of which no amount is told counts as all."""
    intents = [attribute(one, "payment", "payment_intent") for one in payments]
    begun = [
        attribute(one, "amount") for one in intents if attribute(one, "status") == "processing"
    ]
    return bool(begun) and (None in begun or sum(begun) >= amount)


def _next_method(invoice: Any, subscription: Any) -> NextMethod | None:
    customer = attribute(invoice, "customer")
    if customer is None or isinstance(customer, str):  # not expanded: not known
        return None
    saved = charged_method(
        to_customers_defaults(customer),
        None if subscription is None else to_defaults(subscription),
        to_defaults(invoice),
    )
    if saved is None:
        return NextMethod()
    places = (
        (invoice, "default_payment_method"),
        (invoice, "default_source"),
        (subscription, "default_payment_method"),
        (subscription, "default_source"),
        (customer, "invoice_settings", "default_payment_method"),
        (customer, "default_source"),
    )
    named = (attribute(one, *path) for one, *path in places)
    whole = next((value for value in named if id_of(value) == saved.id), None)
    return NextMethod(saved, to_payment_method(whole))


def to_hosted_invoice(invoice: Any) -> HostedInvoice:
    return HostedInvoice(
        stripe_customer_id=id_of(attribute(invoice, "customer")) or "",
        on_behalf_of=id_of(attribute(invoice, "on_behalf_of")) or "",
        status=attribute(invoice, "status") or "draft",
        url=attribute(invoice, "hosted_invoice_url"),
    )


def to_subscription(subscription: Any) -> Subscription:
    return Subscription(
        id=attribute(subscription, "id"),
        stripe_customer_id=id_of(attribute(subscription, "customer")) or "",
        on_behalf_of=id_of(attribute(subscription, "on_behalf_of")) or "",
        status=attribute(subscription, "status"),
        defaults=to_defaults(subscription),
        ends_at=_end_of(subscription),
        end_reason=attribute(subscription, "cancellation_details", "reason"),
        application=id_of(attribute(subscription, "application")),
        description=attribute(subscription, "description"),
    )


def _end_of(subscription: Any) -> dt.datetime | None:
    at = attribute(subscription, "ended_at") or attribute(subscription, "cancel_at")
    if at is None and attribute(subscription, "cancel_at_period_end"):
        # The period moved from the subscription to its items with 2025-03-31.basil. `items` is a method's name
        # too, so it is read as the field that it is.
        items = subscription["items"].data
        ends = [attribute(item, "current_period_end") for item in items]
        at = attribute(subscription, "current_period_end") or min(filter(None, ends), default=None)
    return moment_of(at)


def configuration_policy(policy: PortalPolicy) -> dict[str, Any]:
    """The parameters of a portal configuration that make it follow the policy.

    Cancelling is at the end of the period, with the reason asked: the customer has paid for the period, and an
    immediate end would need prorations that the business has not agreed to.
    """
    features: dict[str, Any] = {feature: {"enabled": on} for feature, on in policy.features.items()}
    if policy.cancel:
        features["subscription_cancel"] |= {
            "mode": "at_period_end",
            "cancellation_reason": {"enabled": True, "options": list(CANCELLATION_REASONS)},
        }
    return {"features": features, "login_page": {"enabled": False}}
