"""Look again at many invoices at once: at Stripe itself where the budget allows it, else at what its webhooks have told
(docs/adr/0012-looking-again-within-a-budget.md)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
from sqlalchemy.orm import Session

from services.billing.domain.budget import Budget
from services.billing.domain.declines import PaymentProblem
from services.billing.handlers.dashboard import invoice_page
from services.billing.handlers.invoices import invoice_state, serialize_invoice
from services.billing.ports import PaymentGateway
from services.billing.queries import inbox as queries
from services.billing.queries import payment_tries
from services.billing.stripe_events.payloads import (
    StripeEvent,
    Unreadable,
    decode_object,
    moment,
    parse_event,
)
from services.billing.stripe_events.translation import translate_served
from shared.concurrency import RunConcurrently
from shared.contracts.accounts import Account
from shared.contracts.invoices import Invoice, SubscriptionState, payment_under_way
from shared.contracts.observations import merge, observe
from shared.contracts.rpc.billing import InvoiceState, SourcedInvoiceState, StateSource
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable, UnknownInvoice
from shared.database import Transactions
from shared.events import Event, InvoiceData, carries

SUBSCRIPTION_NEWS: Final = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
)
"""What tells how a subscription stands, in the order in which it lives."""

Seen = TypeVar("Seen")


class SideBySide(Protocol):
    """Does a look for each of many ids at the same time, within a limit; those that are not done by then are missing."""

    def __call__(
        self, look: Callable[[str], Seen | None], ids: Sequence[str]
    ) -> Mapping[str, Seen | None]: ...


def invoice_states(
    database: Transactions,
    gateway: PaymentGateway,
    budget: Budget,
    invoice_ids: Sequence[str],
    *,
    side_by_side: SideBySide,
    run_concurrently: RunConcurrently,
) -> dict[str, SourcedInvoiceState]:
    """The state of each invoice, by its id; one that neither Stripe nor its webhooks tell of is left out.

    Stripe is asked about all or about none: a caller with many does not wait for a look at a few of them.
    """
    wanted = sorted(set(invoice_ids))

    def read_tries() -> dict[str, dt.datetime]:
        with database.reading() as session:
            return payment_tries.refused_tries(session, gateway.account, wanted)

    refused = run_concurrently(read_tries)
    states: dict[str, SourcedInvoiceState] = {}
    if budget.take(len(wanted)):
        found = side_by_side(lambda invoice_id: _look(gateway, invoice_id), wanted)
        states = {id: _told_by("stripe", state) for id, state in found.items() if state}
    missing = [invoice_id for invoice_id in wanted if invoice_id not in states]
    if missing:
        with database.reading() as session:
            heard = states_heard(session, gateway, missing)
        states |= {id: _told_by("webhooks", state) for id, state in heard.items()}
    for id, at in refused().items():
        if id in states:
            states[id] = msgspec.structs.replace(states[id], own_try_refused_at=at)
    return states


def _told_by(source: StateSource, state: InvoiceState) -> SourcedInvoiceState:
    return SourcedInvoiceState(**msgspec.structs.asdict(state), source=source)


def _look(gateway: PaymentGateway, invoice_id: str) -> InvoiceState | None:
    try:
        return invoice_state(gateway, invoice_id)
    except (UnknownInvoice, StripeUnavailable, StripeRefused):
        return None


def states_heard(
    session: Session, gateway: PaymentGateway, invoice_ids: Sequence[str]
) -> dict[str, InvoiceState]:
    """What the stored webhooks tell of these invoices: no payment method, and of declines only that a confirmation is wanted."""
    invoices = invoices_heard(session, gateway.account, invoice_ids, livemode=gateway.livemode)
    states = _subscription_states(
        session, gateway.account, {one.subscription_id for one in invoices.values()}
    )
    return {
        invoice_id: serialize_invoice(
            invoice_id,
            invoice,
            dashboard_url=invoice_page(gateway, invoice_id),
            problem=PaymentProblem(needs_customer=True) if invoice.needs_confirmation else None,
            subscription=states.get(invoice.subscription_id or ""),
            processing=invoice.status == "open" and payment_under_way(invoice),
        )
        for invoice_id, invoice in invoices.items()
    }


def invoices_heard(
    session: Session, account: Account, invoice_ids: Sequence[str], *, livemode: bool
) -> dict[str, Invoice]:
    """The story of each of these invoices as the stored webhooks tell it."""
    told: dict[str, list[Event[InvoiceData]]] = defaultdict(list)
    for payload in queries.payloads_about(session, account, invoice_ids):
        for outgoing in translate_served(parse_event(payload, account), livemode=livemode).outgoing:
            if carries(outgoing.event, InvoiceData):
                told[outgoing.event.data.invoice_id].append(outgoing.event)
    return {invoice_id: _merged(heard) for invoice_id, heard in told.items()}


def _merged(heard: Iterable[Event[InvoiceData]]) -> Invoice:
    invoice = Invoice()
    for event in heard:
        invoice = merge(invoice, observe(event.data, event.occurred_at))
    return invoice


class _Details(msgspec.Struct, frozen=True):
    reason: str | None = None


class _Subscription(msgspec.Struct, frozen=True):
    id: str
    status: str
    cancellation_details: _Details | None = None
    ended_at: int | None = None


def _subscription_states(
    session: Session, account: Account, subscription_ids: Iterable[str | None]
) -> dict[str, SubscriptionState]:
    """How subscriptions stand by the newest word of them; the end is always the last word, and within a second the beginning the first."""
    wanted = sorted(one for one in subscription_ids if one)
    found: dict[str, tuple[tuple[bool, int, int], SubscriptionState]] = {}
    told = queries.payloads_about(session, account, wanted, SUBSCRIPTION_NEWS) if wanted else ()
    for payload in told:
        event = parse_event(payload, account)
        read = _subscription_state(event)
        if read is not None:
            place = SUBSCRIPTION_NEWS.index(event.type)
            newness = (event.type == SUBSCRIPTION_NEWS[-1], event.created or 0, place)
            subscription_id, subscription = read
            if subscription_id not in found or newness >= found[subscription_id][0]:
                found[subscription_id] = newness, subscription
    return {subscription_id: subscription for subscription_id, (_, subscription) in found.items()}


def _subscription_state(event: StripeEvent) -> tuple[str, SubscriptionState] | None:
    try:
        told = decode_object(event.content().object, _Subscription)
    except Unreadable:
        return None
    details = told.cancellation_details
    reason = details.reason if details else None
    return told.id, SubscriptionState(told.status, reason, moment(told.ended_at))
