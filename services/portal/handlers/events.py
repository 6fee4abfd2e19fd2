"""What billing's events do here. Each effect and its event's id are one transaction: the caller's."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any, Final, TypeGuard

from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice, with_method_change
from services.portal.handlers import evidence
from services.portal.handlers.cancelling import note_end
from services.portal.metrics import LINK_EVIDENCE
from services.portal.queries import (
    account_states,
    invoices,
    method_changes,
    processed_events,
    subscriptions,
)
from shared import events
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.observations import merge, observe
from shared.database import count_on_commit
from shared.events import Event

Handler = Callable[[Session, Event[Any], dt.datetime], None]
"""Each says by the type of its event what it is for; a test holds `ROUTES` against that."""


def handle(session: Session, event: Event, now: dt.datetime) -> bool:
    """Do what an event asks for, once. False: it was done before, or it is none of ours."""
    if is_about_invoice(event):
        return handle_invoices(session, [event], now)[0]
    handler = ROUTES.get(type(event.data))
    if handler is None or not processed_events.first_times(session, [event.id], now)[0]:
        return False
    handler(session, event, now)
    return True


def is_about_invoice(event: Event) -> TypeGuard[Event[events.InvoiceData]]:
    """Whether many events of this kind can be acted upon together (`handle_invoices`)."""
    return events.carries(event, events.InvoiceData)


def handle_invoices(
    session: Session, batch: Sequence[Event[events.InvoiceData]], now: dt.datetime
) -> list[bool]:
    """The same for events about invoices that came together, in a handful of statements in all.

    The invoices are locked in one order; events about one of them are merged one after another as they came.
    """
    outcomes = processed_events.first_times(session, [event.id for event in batch], now)
    mine = [*compress(batch, outcomes)]
    stories: dict[StripeId, list[Event[events.InvoiceData]]] = defaultdict(list)
    for event in mine:
        stories[_invoice(event.data)].append(event)
    new = {name: _told(Invoice(), story, {}) for name, story in stories.items()}
    customers = {name: story[0].data.stripe_customer_id for name, story in stories.items()}
    made = invoices.add_invoices(session, new, customers)
    known = invoices.lock_invoices(session, stories.keys() - made)
    # Read once the invoices are there and locked: whoever replaces a payment method looks for them after noting it.
    replaced = method_changes.method_changes(session, {_customer(event.data) for event in mine})
    changed = {
        name: _told(known.get(name, Invoice()), stories[name], replaced)
        for name in (stories if replaced else known)
    }
    invoices.store_invoices(session, changed)
    return outcomes


def is_about_subscription(event: Event) -> TypeGuard[Event[events.SubscriptionData]]:
    """The same with `handle_subscriptions`."""
    return events.carries(event, events.SubscriptionData)


def handle_subscriptions(
    session: Session, batch: Sequence[Event[events.SubscriptionData]], now: dt.datetime
) -> list[bool]:
    """The same for events about subscriptions: those that are new are written in one statement."""
    outcomes = processed_events.first_times(session, [event.id for event in batch], now)
    mine = [*compress(batch, outcomes)]
    first: dict[StripeId, Event[events.SubscriptionData]] = {}
    later = [one for one in mine if first.setdefault(_subscription(one.data), one) is not one]
    told = {name: _row_of(event) for name, event in first.items()}
    for name in subscriptions.note_subscriptions(session, told):
        _note_end(session, name, first[name], now)
    for event in later:
        note_subscription(session, event, now)
    return outcomes


def can_be_imported(event: Event) -> bool:
    """The same with `handle_imported`."""
    return is_about_invoice(event) or is_about_subscription(event)


def handle_imported(session: Session, batch: Sequence[Event], now: dt.datetime) -> list[bool]:
    """The same for invoices and subscriptions that came together."""
    invoices_done = iter(handle_invoices(session, [*filter(is_about_invoice, batch)], now))
    others = [*filter(is_about_subscription, batch)]
    subscriptions_done = iter(handle_subscriptions(session, others, now))
    return [
        next(invoices_done if is_about_invoice(event) else subscriptions_done) for event in batch
    ]


def _told(
    invoice: Invoice,
    story: Sequence[Event[events.InvoiceData]],
    replaced: Mapping[StripeId, Mapping[str, dt.datetime]],
) -> Invoice:
    """The invoice after events about it, with when its payment method was `replaced` (by customer and scope)."""
    for event in story:
        invoice = merge(invoice, observe(event.data, event.occurred_at))
        of_customer = replaced.get(_customer(event.data), {})
        scopes = ("", invoice.subscription_id or "", event.data.invoice_id)
        changes = [of_customer.get(scope) for scope in scopes]
        changed_at = max((at for at in changes if at is not None), default=None)
        invoice = with_method_change(invoice, changed_at)
    return invoice


def _invoice(data: events.InvoiceData) -> StripeId:
    return StripeId(Account(data.account), data.invoice_id)


def _subscription(data: events.SubscriptionData) -> StripeId:
    return StripeId(Account(data.account), data.subscription_id)


def _customer(data: events.InvoiceData | events.PaymentMethodChanged) -> StripeId:
    return StripeId(Account(data.account), data.stripe_customer_id)


def note_method_change(
    session: Session, event: Event[events.PaymentMethodChanged], now: dt.datetime
) -> None:
    """A new payment method: what is owed on it is on its way to being paid. A card that its bank renewed is nobody's new one:
    what comes of it is told when it has come, and it pays nothing that Stripe has given up."""
    data = event.data
    if data.renewed:
        return
    scope = data.invoice_id or data.subscription_id or ""
    method_changes.note_method_change(
        session, _customer(data), scope, event.occurred_at, data.on_behalf_of
    )
    for row in invoices.open_invoices(
        session, _customer(data), data.subscription_id, data.invoice_id
    ):
        invoices.write_invoice(
            row, with_method_change(invoices.read_invoice(row), event.occurred_at)
        )


def note_subscription(
    session: Session, event: Event[events.SubscriptionData], now: dt.datetime
) -> None:
    """What the page says of a subscription; one that ends needs nobody's approval any more."""
    name = _subscription(event.data)
    if subscriptions.note_subscriptions(session, {name: _row_of(event)}):
        _note_end(session, name, event, now)


def _row_of(event: Event[events.SubscriptionData]) -> dict[str, Any]:
    data = event.data
    ended = isinstance(data, events.SubscriptionEnded)
    return {
        "stripe_customer_id": data.stripe_customer_id,
        "on_behalf_of": data.on_behalf_of,
        "status": "canceled" if ended else data.status,
        "end_reason": data.end_reason,
        "ends_at": data.ends_at or (event.occurred_at if ended else None),
        "current_period_end": data.current_period_end,
        "description": data.description and data.description[:200],
        "amount": data.amount,
        "currency": data.currency,
        "interval": data.interval,
        "interval_count": data.interval_count,
        "as_of": event.occurred_at,
        "pricing": data.pricing and data.pricing[:20],
        "discounted": data.discounted,
        "collection_paused": data.collection_paused,
        "collection_resumes_at": data.collection_resumes_at,
        "trial_ends_at": data.trial_ends_at,
        "terms_as_of": event.occurred_at if data.pricing is not None else None,
        "previewed_at": None,
    }


def _note_end(
    session: Session, name: StripeId, event: Event[events.SubscriptionData], now: dt.datetime
) -> None:
    data = event.data
    if isinstance(data, events.SubscriptionEnded) or data.ends_at is not None:
        note_end(session, name, data.ends_at or event.occurred_at, now)


def note_kept_method(
    session: Session, event: Event[events.SubscriptionPaymentMethodKept], now: dt.datetime
) -> None:
    """Whether a subscription is charged to another payment method than the customer's new one."""
    data, account = event.data, Account(event.data.account)
    subscriptions.note_kept_method(
        session,
        StripeId(account, data.subscription_id),
        StripeCustomer(account, data.stripe_customer_id, data.on_behalf_of),
        kept=not data.over,
        at=event.occurred_at,
    )


def forget_stripe_customer(
    session: Session, event: Event[events.CustomerDeleted], now: dt.datetime
) -> None:
    """Stripe's customer is gone: nothing can be managed there any more."""
    gone = StripeId(Account(event.data.account), event.data.stripe_customer_id)
    evidence.forget_stripe_customer(session, gone, event.occurred_at, now)


def ignore_old_link(
    session: Session, event: Event[events.CustomerLinked], now: dt.datetime
) -> None:
    """A release that can't tell a stranger's word from the host's says whose a Stripe customer is. This release's billing
    reads the same Stripe event again from its inbox, and says what it is worth."""
    count_on_commit(session, LINK_EVIDENCE.labels("old_release", "ignored"))


def note_account(
    session: Session, event: Event[events.StripeAccountChanged], now: dt.datetime
) -> None:
    """What the pages of its businesses' customers may say, and whether anybody is written to. Nothing is deleted: an account that is
    connected again goes on where it was."""
    account_states.note_state(
        session, Account(event.data.account), event.data.state, event.occurred_at
    )


ROUTES: Final[dict[type[events.Data], Handler]] = {
    # Of a release before evidence was kept.
    events.CustomerLinked: ignore_old_link,
    # The button disappears: Stripe's page couldn't be opened.
    events.CustomerDeleted: forget_stripe_customer,
    # "Your new payment method is saved", and what is owed is being paid with it.
    events.PaymentMethodChanged: note_method_change,
    # No button and no emails while the business's account is disconnected.
    events.StripeAccountChanged: note_account,
    # What the customer is subscribed to, and what they may ask to cancel.
    events.SubscriptionUpdated: note_subscription,
    # "Ends on …".
    events.SubscriptionCancellationScheduled: note_subscription,
    # "Has ended".
    events.SubscriptionEnded: note_subscription,
    # The same of one that was there before Portico.
    events.SubscriptionImported: note_subscription,
    # "Your new payment method isn't set for this subscription yet."
    events.SubscriptionPaymentMethodKept: note_kept_method,
}
"""What we do with each other event, and why."""
