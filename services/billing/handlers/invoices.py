"""Look again: an invoice as it stands at Stripe now, for those who are about to tell a customer about it."""

from __future__ import annotations

from typing import Final

from services.billing.domain.declines import PaymentProblem
from services.billing.domain.errors import StripeKeyRefused, StripePermissionMissing
from services.billing.domain.paying import OWN_RETRY_PREFIX, InvoiceLook
from services.billing.handlers.dashboard import invoice_page
from services.billing.handlers.observing import refuse_observed
from services.billing.ports import Businesses, PaymentGateway
from shared.contracts.accounts import StripeCustomer
from shared.contracts.invoices import Invoice, InvoiceStatus, SubscriptionState
from shared.contracts.payments import MethodKind, PaymentMethod
from shared.contracts.rpc.billing import (
    Card,
    ChargedMethod,
    CollectedInvoice,
    InvoiceDecline,
    InvoiceState,
)
from shared.contracts.rpc.errors import (
    InvoiceClosed,
    NotCollectable,
    PaymentUnderWay,
    StripeRefused,
    UnknownInvoice,
)


def invoice_state(gateway: PaymentGateway, invoice_id: str) -> InvoiceState:
    """The invoice, fresh, with the reason of the last decline and the subscription's state where they are known.

    Raises UnknownInvoice, StripeUnavailable, StripeRefused for the invoice itself; the details are None where there
    are none.
    """
    _check(invoice_id)
    try:
        look = gateway.look(invoice_id)
    except StripeRefused as error:
        if isinstance(error, StripeKeyRefused) and not isinstance(error, StripePermissionMissing):
            raise
        # A restricted key may read invoices, and not what is in them.
        look = InvoiceLook(gateway.invoice(invoice_id))
    return serialize_invoice(
        look.invoice.id,
        look.invoice,
        dashboard_url=invoice_page(gateway, invoice_id),
        problem=look.problem,
        subscription=look.subscription,
        processing=look.processing,
        needs_new_method=look.needs_new_method,
        next_method=look.next_method.shown if look.next_method else None,
    )


def serialize_invoice(
    invoice_id: str,
    invoice: Invoice,
    *,
    dashboard_url: str,
    problem: PaymentProblem | None,
    subscription: SubscriptionState | None,
    processing: bool = False,
    needs_new_method: bool = False,
    next_method: PaymentMethod | None = None,
) -> InvoiceState:
    """The state of an invoice as it crosses the wire."""
    method = problem.method if problem else None
    return InvoiceState.of(
        invoice,
        invoice_id=invoice_id,
        dashboard_url=dashboard_url,
        processing=processing,
        decline=InvoiceDecline(reason=problem.reason, needs_new_method=needs_new_method)
        if problem and problem.reason
        else None,
        charge_id=problem.charge_id if problem else None,
        payment_method_id=problem.payment_method if problem else None,
        method=ChargedMethod.of(method) if method else None,
        card=_card(method) if method else None,
        next_method=ChargedMethod.of(next_method) if next_method else None,
        subscription_status=subscription.status if subscription else None,
        subscription_end_reason=subscription.end_reason if subscription else None,
        subscription_ended_at=subscription.ended_at if subscription else None,
    )


def _card(method: PaymentMethod) -> Card | None:
    """What callers of older releases know of a payment method; nothing but cards."""
    if method.kind is not MethodKind.CARD or not method.brand or not method.last4:
        return None
    return Card.of(method)


def hosted_invoice_url(
    gateway: PaymentGateway, invoice_id: str, stripe_customer_id: str, on_behalf_of: str = ""
) -> str:
    """Where the customer confirms or pays this invoice at Stripe, fresh. It is a secret: it is kept nowhere.

    Raises UnknownInvoice, also when the invoice is another customer's, or charged on another's behalf than `on_behalf_of` (which it is
    is not told), and InvoiceClosed when there is nothing to pay any more. Without it the portal has judged, or was told of the invoice
    before it was told of behalves: then any will do.
    """
    _check(invoice_id)
    found = gateway.hosted_invoice(invoice_id)
    if (
        found.stripe_customer_id != stripe_customer_id
        or (on_behalf_of or found.on_behalf_of) != found.on_behalf_of
    ):
        raise UnknownInvoice(f"{invoice_id} of {stripe_customer_id}")
    if found.status != "open" or not found.url:
        raise InvoiceClosed(f"{invoice_id} is {found.status}")
    return found.url


COLLECTED_BY_HAND: Final = f"{OWN_RETRY_PREFIX}by-hand:"
"""Starts the idempotency key of a charge that a person asks for: its failure is told to that person, and to nobody else."""


def collect(
    gateway: PaymentGateway, businesses: Businesses, invoice_id: str, request_id: str
) -> CollectedInvoice:
    """Charge an invoice now, because a person at the business wants it: also one that is collected no more.

    Stripe chooses the payment method, as it would itself. Twice with the same `request_id` is once. Raises UnknownInvoice,
    InvoiceClosed for one that is paid, void or a draft, NotCollectable for one that is paid by hand, PaymentUnderWay, BusinessObserves,
    PortalUnavailable (nothing was charged), StripeUnavailable, StripeRefused.
    """
    _check(invoice_id)
    invoice = gateway.invoice(invoice_id)
    if invoice.status not in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE):
        raise InvoiceClosed(f"{invoice_id} is {invoice.status}")
    if invoice.collection_method != "charge_automatically":
        raise NotCollectable(f"{invoice_id} is sent to the customer, who pays it by hand")
    refuse_observed(
        businesses,
        StripeCustomer(gateway.account, invoice.stripe_customer_id, invoice.on_behalf_of),
    )
    if gateway.payment_trace(invoice_id).processing:
        raise PaymentUnderWay(f"a payment of {invoice_id} is under way; its outcome takes days")
    payment = gateway.pay(invoice_id, None, f"{COLLECTED_BY_HAND}{invoice_id}:{request_id}")
    return CollectedInvoice(
        invoice_id=invoice_id,
        outcome=payment.outcome.value,
        detail=payment.detail,
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        was=invoice.status,
    )


def _check(invoice_id: str) -> None:
    """In an address of Stripe's, an empty id asks for a list."""
    if not invoice_id:
        raise UnknownInvoice("an empty id")
