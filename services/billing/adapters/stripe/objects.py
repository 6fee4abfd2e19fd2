"""From Stripe's objects to ours, field by field. The objects come as the gateway got them; nothing is imported
from the library here, so this can be read and tested without it.

A `StripeObject` is no dict: attributes that Stripe did not send raise AttributeError, hence `_get`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import (
    HostedInvoice,
    Invoice,
    InvoiceLook,
    NextMethod,
    PaymentTrace,
    PriceLook,
    Subscription,
)
from services.billing.domain.portal import PortalPolicy
from services.billing.stripe_events import payloads
from services.billing.stripe_events.payloads import attribute as _get
from services.billing.stripe_events.purposes import Line, Lines, Purpose, purpose_of
from services.billing.stripe_events.subscription_payload import Subscription as SubscriptionPayload
from shared.contracts.payments import (
    ChargeDefaults,
    PaymentMethod,
    SavedMethod,
    charged_method,
)
from shared.contracts.prices import Lasts, NextInvoice, Terms
from shared.contracts.rpc.errors import StripeUnavailable
from shared.text import clean

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


def _id(value: Any) -> str | None:
    """The id of a field that may be expanded."""
    if value is None or isinstance(value, str):
        return clean(value) if value else None
    found: str | None = _get(value, "id")
    return found


def _moment(value: int | None) -> dt.datetime | None:
    """Stripe's seconds since 1970; None also for a number that is no moment."""
    try:
        return None if value is None else dt.datetime.fromtimestamp(value, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None


def to_invoice(invoice: Any) -> Invoice:
    """Either shape: the subscription moved under `parent` with 2025-03-31.basil."""
    purpose = _purpose(invoice)
    return Invoice(
        id=_get(invoice, "id"),
        stripe_customer_id=_id(_get(invoice, "customer")) or "",
        status=_get(invoice, "status") or "draft",
        currency=_get(invoice, "currency"),
        amount_remaining=invoice.amount_remaining,
        attempted=bool(_get(invoice, "attempted")),
        attempt_count=_get(invoice, "attempt_count") or 0,
        collection_method=_get(invoice, "collection_method") or "charge_automatically",
        number=_get(invoice, "number"),
        subscription_id=_id(_get(invoice, "parent", "subscription_details", "subscription"))
        or _id(_get(invoice, "subscription")),
        purpose=purpose.text,
        purpose_more=purpose.more,
        next_payment_attempt=_moment(_get(invoice, "next_payment_attempt")),
        amount_due=_get(invoice, "amount_due") or 0,
        amount_paid=_get(invoice, "amount_paid") or 0,
        amount_credited=_get(invoice, "pre_payment_credit_notes_amount") or 0,
        auto_advance=_get(invoice, "auto_advance"),
        finalized_at=_moment(_get(invoice, "status_transitions", "finalized_at")),
        billing_reason=_get(invoice, "billing_reason"),
        defaults=to_defaults(invoice),
    )


def to_defaults(one: Any) -> ChargeDefaults:
    """What an invoice or a subscription is to be charged to, where it says so itself."""
    types = _get(one, "payment_settings", "payment_method_types")
    return ChargeDefaults(
        to_saved(_get(one, "default_payment_method")),
        to_saved(_get(one, "default_source")),
        frozenset(types or ()),
    )


def to_customers_defaults(customer: Any) -> ChargeDefaults:
    """The same of a customer."""
    return ChargeDefaults(
        to_saved(_get(customer, "invoice_settings", "default_payment_method")),
        to_saved(_get(customer, "default_source")),
    )


def to_saved(value: Any) -> SavedMethod | None:
    """A field that names a payment method or a source, expanded or not."""
    id = _id(value)
    shown = to_payment_method(value)
    return SavedMethod(id, shown.type if shown else None) if id else None


def _purpose(invoice: Any) -> Purpose:
    lines = _get(invoice, "lines")
    found = Lines(
        tuple(
            Line(_get(one, "amount") or 0, _get(one, "description"))
            for one in _get(lines, "data") or ()
        ),
        bool(_get(lines, "has_more")),
        _get(lines, "total_count"),
    )
    return purpose_of(found, _get(invoice, "description"))


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
    payments = _get(invoice, "payments", "data") or ()
    subscription = _get(invoice, "parent", "subscription_details", "subscription")
    status = _get(subscription, "status")
    problem = to_payment_problem(payments)
    if plain.status == "paid" or (
        problem is not None and problem.no_method and not plain.attempted
    ):
        problem = None
    return InvoiceLook(
        plain,
        problem=problem,
        processing=plain.status == "open"
        and any(
            _get(one, "payment", "payment_intent", "status") == "processing" for one in payments
        ),
        subscription=status and to_subscription(subscription).state,
        next_method=_next_method(invoice, subscription),
    )


def _next_method(invoice: Any, subscription: Any) -> NextMethod | None:
    customer = _get(invoice, "customer")
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
    named = (_get(one, *path) for one, *path in places)
    whole = next((value for value in named if _id(value) == saved.id), None)
    return NextMethod(saved, to_payment_method(whole))


def to_hosted_invoice(invoice: Any) -> HostedInvoice:
    return HostedInvoice(
        stripe_customer_id=_id(_get(invoice, "customer")) or "",
        status=_get(invoice, "status") or "draft",
        url=_get(invoice, "hosted_invoice_url"),
    )


def to_subscription(subscription: Any) -> Subscription:
    return Subscription(
        id=_get(subscription, "id"),
        stripe_customer_id=_id(_get(subscription, "customer")) or "",
        status=_get(subscription, "status"),
        defaults=to_defaults(subscription),
        ends_at=_end_of(subscription),
        end_reason=_get(subscription, "cancellation_details", "reason"),
    )


def _end_of(subscription: Any) -> dt.datetime | None:
    at = _get(subscription, "ended_at") or _get(subscription, "cancel_at")
    if at is None and _get(subscription, "cancel_at_period_end"):
        # The period moved from the subscription to its items with 2025-03-31.basil. `items` is a method's name
        # too, so it is read as the field that it is.
        items = subscription["items"].data
        ends = [_get(item, "current_period_end") for item in items]
        at = _get(subscription, "current_period_end") or min(filter(None, ends), default=None)
    return _moment(at)


PREVIEW_EXPANDS: Final = [
    "parent.subscription_details.subscription",
    "total_discount_amounts.discount.source.coupon",
]
"""What Stripe is to put into a preview: how the subscription stands, and how long each discount lasts."""


def to_price_look(invoice: Any) -> PriceLook:
    """A preview with `PREVIEW_EXPANDS` in it. The subscription is read as the one of an event is, so that both say the same.

    Raises StripeUnavailable when there is no subscription in it that can be read.
    """
    found = _get(invoice, "parent", "subscription_details", "subscription")
    if found is None or isinstance(found, str):
        raise StripeUnavailable("a preview without its subscription")
    # The library turns decimal strings into Decimals; `str` gives back what Stripe sent.
    body = json.dumps(found.to_dict(), default=str).encode()
    try:
        subscription: SubscriptionPayload = payloads.decode_object(
            msgspec.Raw(body), SubscriptionPayload
        )
        pause = subscription.pause_collection
        return PriceLook(
            terms=dataclasses.replace(subscription.terms, currency=_get(invoice, "currency")),
            collection_paused=pause is not None,
            collection_resumes_at=payloads.moment(pause.resumes_at) if pause else None,
            trial_ends_at=payloads.moment(subscription.trial_end),
            next_invoice=_next_invoice(invoice, subscription),
        )
    except payloads.Unreadable as error:
        raise StripeUnavailable(f"a preview whose subscription can't be read: {error}") from None


def _next_invoice(invoice: Any, subscription: SubscriptionPayload) -> NextInvoice:
    discounts = [
        _get(one, "discount")
        for one in _get(invoice, "total_discount_amounts") or ()
        if _get(one, "amount")
    ]
    lasts, until = _lasts(discounts)
    return NextInvoice(
        amount=_get(invoice, "amount_due") or 0,
        recurring=_recurring(invoice, subscription, discounts),
        discount=lasts,
        until=until,
    )


def _lasts(discounts: Sequence[Any]) -> tuple[Lasts | None, dt.datetime | None]:
    """How long the discounts of an invoice last, where they end together."""
    if not discounts:
        return None, None
    ends = {(_get(one, "source", "coupon", "duration"), _get(one, "end")) for one in discounts}
    duration, end = ends.pop()
    if ends or duration not in set(Lasts):
        return Lasts.MIXED, None
    return Lasts(duration), _moment(end) if duration == Lasts.REPEATING else None


def _recurring(
    invoice: Any, subscription: SubscriptionPayload, discounts: Sequence[Any]
) -> int | None:
    """What the fixed items come to on the invoice, discounts taken off: None unless just that is what comes each time.

    An amount off is shared out among all lines, so beside other lines the fixed ones don't show what is theirs.
    """
    lines = _get(invoice, "lines")
    terms: Terms = subscription.terms
    fixed_items = {one.id for one in subscription.items.data if not one.metered}
    fixed: list[Any] = []
    others: list[Any] = []
    for line in _get(lines, "data") or ():
        details = _get(line, "parent", "subscription_item_details")
        regular = not _get(details, "proration") and _get(details, "subscription_item")
        (fixed if regular in fixed_items else others).append(line)
    by_amount = any(_get(one, "source", "coupon", "percent_off") is None for one in discounts)
    partial = bool(_get(lines, "has_more")) or (bool(others) and by_amount)
    amount = sum(int(line.amount) for line in fixed)
    if partial or terms.amount is None or amount != terms.amount:
        return None
    taken_off = sum(
        _get(one, "amount") or 0 for line in fixed for one in _get(line, "discount_amounts") or ()
    )
    return terms.amount - taken_off


def to_payment_trace(payments: Iterable[Any]) -> PaymentTrace:
    """What the payment intents of an invoice show."""
    payments = list(payments)
    intents = [_get(one, "payment", "payment_intent") for one in payments]
    paid = [one for one in intents if _get(one, "status") == "succeeded"]
    under_way = [one for one in intents if _get(one, "status") == "processing"]
    return PaymentTrace(
        processing=bool(under_way),
        debited=_method_of(under_way[0]) if under_way else None,
        paid_with=_method_of(paid[0]) if paid else None,
        problem=to_payment_problem(payments),
    )


def _method_of(intent: Any) -> str | None:
    return _id(_get(intent, "payment_method")) or _id(_get(intent, "source"))


def to_payment_problem(payments: Iterable[Any]) -> PaymentProblem | None:
    """The last error of an invoice's newest payment intent.

    An invoice may have several payments (a cancelled one beside its successor); the default one is what its next
    attempt uses, so it goes first, then the newest. Where none tells of an error and the first one was never tried with
    anything, there was nothing to charge.
    """
    ordered = sorted(
        payments,
        key=lambda one: (bool(_get(one, "is_default")), _get(one, "created") or 0),
        reverse=True,
    )
    for one in ordered:
        intent = _get(one, "payment", "payment_intent")
        error = _get(intent, "last_payment_error")
        needs_customer = _get(intent, "status") == "requires_action"
        if error is None and not needs_customer:
            continue
        tried = _get(intent, "payment_method") if needs_customer else _get(error, "payment_method")
        return PaymentProblem(
            code=_get(error, "code"),
            decline_code=_get(error, "decline_code"),
            needs_customer=needs_customer,
            method=_tried(error, intent),
            payment_method=_id(tried) or _id(_get(error, "source")),
            charge_id=_id(_get(intent, "latest_charge")),
            tried_at=_moment(_get(intent, "latest_charge", "created")),
        )
    if ordered and _was_never_tried(_get(ordered[0], "payment", "payment_intent")):
        return PaymentProblem(no_method=True)
    return None


def _was_never_tried(intent: Any) -> bool:
    # A field that Stripe did not send says nothing; these two must be there, and empty.
    return _get(intent, "status") == "requires_payment_method" and all(
        getattr(intent, name, "absent") is None for name in ("payment_method", "latest_charge")
    )


def _tried(error: Any, intent: Any) -> PaymentMethod | None:
    """What was charged. The error tells it; where it doesn't, the intent or its charge may."""
    told = (
        _get(error, "payment_method"),
        _get(error, "source"),
        _get(intent, "payment_method"),
        _get(intent, "latest_charge", "payment_method_details"),
    )
    return next(filter(None, map(to_payment_method, told)), None)


def to_payment_method(value: Any) -> PaymentMethod | None:
    """A payment method, a source (a card or a bank account of the API before payment methods), or a charge's details of
    one; None for an id alone."""
    kind = _get(value, "object")
    if kind in ("card", "bank_account"):
        type_, details = kind, value
    else:
        type_ = _get(value, "type")
        details = _get(value, type_) if type_ else None
    if not type_:
        return None
    return PaymentMethod(
        type=type_,
        brand=_get(details, "brand"),
        bank=_get(details, "bank_name"),
        last4=_get(details, "last4"),
        exp_month=_get(details, "exp_month"),
        exp_year=_get(details, "exp_year"),
    )


def configuration_policy(policy: PortalPolicy) -> dict[str, Any]:
    """The parameters of a portal configuration that make it follow the policy.

    Cancelling is at the end of the period, with the reason asked: the customer has paid for the period, and an
    immediate end would need prorations that the business has not agreed to.
    """
    features: dict[str, Any] = {
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
        "customer_update": {"enabled": False},
        "subscription_update": {"enabled": False},
        "subscription_cancel": {"enabled": policy.cancel},
        "subscription_pause": {"enabled": policy.pause},
    }
    if policy.cancel:
        features["subscription_cancel"] |= {
            "mode": "at_period_end",
            "cancellation_reason": {"enabled": True, "options": list(CANCELLATION_REASONS)},
        }
    return {"features": features, "login_page": {"enabled": False}}
