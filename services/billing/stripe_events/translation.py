"""From Stripe's events to ours: one table, one small function a kind, and the reason beside each line.

Pure: the same stored payload always gives the same events, so an event can be translated again after an upgrade.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from services.billing.domain.accounts import AccountState, Directory, mode_name
from services.billing.domain.portal import PortalConfiguration
from services.billing.stripe_events.accounts import ACCOUNT_TYPES, state_of
from services.billing.stripe_events.customers import (
    checkout_completed,
    customer_changed,
    customer_deleted,
)
from services.billing.stripe_events.drafts import EventDraft
from services.billing.stripe_events.invoices import (
    attempt_failed,
    invoice_ended,
    invoice_finalized,
    invoice_paid,
    invoice_updated,
    payment_processing,
)
from services.billing.stripe_events.payloads import (
    AccountCustomer,
    StripeEvent,
    Unreadable,
    decode_object,
)
from services.billing.stripe_events.payment_methods import payment_method_updated, source_updated
from services.billing.stripe_events.portal_configurations import (
    CONFIGURATION_TYPES,
    configuration_of,
)
from services.billing.stripe_events.seen import payment_method_attached
from services.billing.stripe_events.subscriptions import subscription_ended, subscription_updated
from shared import events
from shared.contracts.accounts import OWN, our_event_id
from shared.outbox import Outgoing


class Status(enum.StrEnum):
    """What became of a Stripe event in the inbox."""

    TRANSLATED = "translated"
    IGNORED = "ignored"
    """Stored and acknowledged; nothing in it concerns us."""
    QUARANTINED = "quarantined"
    """Stored and acknowledged, but it should have been understood: somebody has to look."""
    CLOSED = "closed"
    """Was quarantined, and a person has looked: nothing more is to be done."""
    CONNECTED = "connected"
    """Stored and acknowledged; it happened on an account that is not served, and is translated again once it is."""
    THIN = "thin"
    """Stored and acknowledged; it only names what happened, which is read from Stripe's log soon after."""


@dataclass(frozen=True)
class Translation:
    """What one Stripe event means to us."""

    status: Status
    reason: str | None = None
    outgoing: tuple[Outgoing, ...] = ()
    configuration: PortalConfiguration | None = None
    """What Stripe's portal lets customers do from now on."""
    state: AccountState | None = None
    """How the event's account, beside the own one, stands from now on."""


def translate(event: StripeEvent, *, directory: Directory) -> Translation:
    """What a stored Stripe event means, to us who serve the accounts of `directory`.

    Never raises: an event that can't be read is quarantined with the reason. A 4xx would make Stripe repeat it
    for days and then switch the endpoint off.
    """
    # First of all, and whatever its mode: a live endpoint for connected accounts gets their test events, too.
    # https://docs.stripe.com/connect/webhooks
    refusal = directory.why_not_served(event.account)
    if refusal is not None:
        reason = (
            f"of the account {event.account}, which {refusal}; translated again once it is served"
        )
        return Translation(Status.CONNECTED, reason)
    return translate_served(event, livemode=directory.livemode(event.account))


def translate_served(event: StripeEvent, *, livemode: bool) -> Translation:
    """The same of an account that is known to be served. `livemode`: the mode in which we work on it."""
    if event.account != OWN and event.livemode is False and livemode:
        return Translation(
            Status.IGNORED, "a test event, which a live Connect endpoint is sent by design"
        )
    if event.livemode is not None and event.livemode != livemode:
        return Translation(
            Status.QUARANTINED,
            f"wrong mode: {mode_name(event.livemode)} event, {mode_name(livemode)} key",
        )
    if event.thin and event.type.removeprefix("v1.") in WANTED:
        return Translation(Status.THIN, "it holds nothing of what it is about; Stripe's log does")
    of_accounts = event.account != OWN and event.type in ACCOUNT_TYPES
    if event.thin or (event.type not in WANTED and not of_accounts):
        return Translation(Status.IGNORED, "type not handled")
    if event.livemode is None:
        return Translation(Status.QUARANTINED, "the event has no `livemode`")
    try:
        if of_accounts:
            state = state_of(event)
            said = Status.TRANSLATED if state else Status.IGNORED
            return Translation(said, state=state)
        if event.type in CONFIGURATION_TYPES:
            return Translation(Status.TRANSLATED, configuration=configuration_of(event))
        route = ROUTES[event.type]
        occurred_at = event.occurred_at()
        outgoing = tuple(
            Outgoing(
                events.Event(
                    id=our_event_id(event.account, event.id, draft.data.type),
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
        return _unread(event, error)
    if not outgoing:
        return Translation(Status.IGNORED, "nothing in it concerns us")
    return Translation(Status.TRANSLATED, None, outgoing)


def _unread(event: StripeEvent, error: Unreadable) -> Translation:
    """What becomes of an event that can't be read. About the object of a customer who is an Account, and no Customer, there is nothing
    wrong with it."""
    try:
        decode_object(event.content().object, AccountCustomer)
    except Unreadable:
        return Translation(Status.QUARANTINED, str(error))
    return Translation(Status.IGNORED, "its customer is an Account, and no Customer")


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
    "invoice.payment_failed": attempt_failed(events.InvoicePaymentFailed),
    # The bank wants the customer; comes with or without payment_failed, so both are read.
    "invoice.payment_action_required": attempt_failed(events.InvoicePaymentActionRequired),
    # Ends the story. Two Stripe types for one fact: `paid` also covers "marked as paid outside Stripe", some
    # endpoints subscribe only to the older name. One of ours. And somebody who pays may have a page of their own.
    "invoice.paid": invoice_paid,
    "invoice.payment_succeeded": invoice_paid,
    # Nothing is owed any more: no reminder may follow.
    "invoice.voided": invoice_ended(events.InvoiceVoided),
    "invoice.marked_uncollectible": invoice_ended(events.InvoiceMarkedUncollectible),
    # One that is sent, and charged to nobody: the page must not say that nothing is due.
    "invoice.finalized": invoice_finalized,
    # The date of the next attempt is often null in payment_failed and set here a moment later. And somebody may say what this
    # one invoice is to be charged to.
    "invoice.updated": invoice_updated,
    # A bank debit is under way, whoever began it: nothing on the invoice need say so, and nobody is asked for what is on its way.
    "payment_intent.processing": payment_processing,
    # Whose a Stripe customer is, by metadata: writing it needs the secret key.
    "customer.created": customer_changed,
    # The same, set later; and the heart of the loop: Stripe's portal changes the customer's default card here.
    "customer.updated": customer_changed,
    # The button must disappear: it could only fail.
    "customer.deleted": customer_deleted,
    # Hosts that tag the subscription instead of the customer.
    "customer.subscription.created": subscription_updated,
    # Retries charge the subscription's own card first: a new one there pays what is open, too. And the customer
    # may cancel on Stripe's page, where the business allows it: the page and the business hear of it.
    "customer.subscription.updated": subscription_updated,
    # Nothing more will be charged: the page says so, and the business is told.
    "customer.subscription.deleted": subscription_ended,
    # Hosts that know Stripe only by Checkout. Anybody can set a client_reference_id: the portal looks whether it is signed.
    "checkout.session.completed": checkout_completed,
    # Somebody has a payment method kept: they may have a page of their own. It is no default yet, and nothing is paid with it.
    "payment_method.attached": payment_method_attached,
    # The bank replaced a card and told Stripe: the customer need do nothing.
    "payment_method.automatically_updated": payment_method_updated,
    # The same of a card that was saved before there were payment methods.
    "customer.source.updated": source_updated,
}
"""Stripe type to translation into events of ours."""

WANTED: Final = frozenset((*ROUTES, *CONFIGURATION_TYPES))
"""Every type that a webhook endpoint has to deliver. Any other is stored as `ignored`."""
LOGGED: Final = WANTED - {"invoice.payment_succeeded"}
"""What is read in Stripe's log where webhooks may have been missed. `invoice.paid`, which comes with each `invoice.payment_succeeded`, tells
the same, and one question takes twenty types (https://docs.stripe.com/api/events/list)."""
CONNECT_WANTED: Final = WANTED | frozenset(ACCOUNT_TYPES)
"""The same of the endpoint for connected accounts."""
