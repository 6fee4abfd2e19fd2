"""Stripe's payments and payment methods, read into ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.billing.adapters.stripe.attributes import id_of, moment_of
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.paying import PaymentTrace
from services.billing.stripe_events.payloads import attribute
from shared.contracts.payments import PaymentMethod


def to_payment_trace(payments: Iterable[Any]) -> PaymentTrace:
    """What the payment intents of an invoice show."""
    payments = list(payments)
    intents = [attribute(one, "payment", "payment_intent") for one in payments]
    paid = [one for one in intents if attribute(one, "status") == "succeeded"]
    under_way = [one for one in intents if attribute(one, "status") == "processing"]
    return PaymentTrace(
        processing=bool(under_way),
        debited=_method_of(under_way[0]) if under_way else None,
        paid_with=_method_of(paid[0]) if paid else None,
        problem=to_payment_problem(payments),
    )


def _method_of(intent: Any) -> str | None:
    return id_of(attribute(intent, "payment_method")) or id_of(attribute(intent, "source"))


def to_payment_problem(payments: Iterable[Any]) -> PaymentProblem | None:
    """The last error of an invoice's newest payment intent.

    An invoice may have several payments (a cancelled one beside its successor); the default one is what its next
    attempt uses, so it goes first, then the newest. Where none tells of an error and the first one was never tried with
    anything, there was nothing to charge.
    """
    ordered = sorted(
        payments,
        key=lambda one: (bool(attribute(one, "is_default")), attribute(one, "created") or 0),
        reverse=True,
    )
    for one in ordered:
        intent = attribute(one, "payment", "payment_intent")
        error = attribute(intent, "last_payment_error")
        needs_customer = attribute(intent, "status") == "requires_action"
        if error is None and not needs_customer:
            continue
        tried = (
            attribute(intent, "payment_method")
            if needs_customer
            else attribute(error, "payment_method")
        )
        return PaymentProblem(
            code=attribute(error, "code"),
            decline_code=attribute(error, "decline_code"),
            needs_customer=needs_customer,
            unverified=needs_customer
            and attribute(intent, "next_action", "type") == "verify_with_microdeposits",
            method=_tried(error, intent),
            payment_method=id_of(tried) or id_of(attribute(error, "source")),
            charge_id=id_of(attribute(intent, "latest_charge")),
            tried_at=moment_of(attribute(intent, "latest_charge", "created")),
        )
    if ordered and _was_never_tried(attribute(ordered[0], "payment", "payment_intent")):
        return PaymentProblem(no_method=True)
    return None


def _was_never_tried(intent: Any) -> bool:
    # A field that Stripe did not send says nothing; these two must be there, and empty.
    return attribute(intent, "status") == "requires_payment_method" and all(
        getattr(intent, name, "absent") is None for name in ("payment_method", "latest_charge")
    )


def _tried(error: Any, intent: Any) -> PaymentMethod | None:
    """What was charged. The error tells it; where it doesn't, the intent or its charge may."""
    told = (
        attribute(error, "payment_method"),
        attribute(error, "source"),
        attribute(intent, "payment_method"),
        attribute(intent, "latest_charge", "payment_method_details"),
    )
    return next(filter(None, map(to_payment_method, told)), None)


def to_payment_method(value: Any) -> PaymentMethod | None:
    """A payment method, a source (a card or a bank account of the API before payment methods), or a charge's details of
    one; None for an id alone."""
    kind = attribute(value, "object")
    if kind in ("card", "bank_account"):
        type_, details = kind, value
    else:
        type_ = attribute(value, "type")
        details = attribute(value, type_) if type_ else None
    if not type_:
        return None
    return PaymentMethod(
        type=type_,
        brand=attribute(details, "brand"),
        bank=attribute(details, "bank_name"),
        last4=attribute(details, "last4"),
        exp_month=attribute(details, "exp_month"),
        exp_year=attribute(details, "exp_year"),
    )
