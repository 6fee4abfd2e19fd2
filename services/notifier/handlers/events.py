"""What billing's events, and the portal's, do here. Each function runs inside the transaction that its caller opened and commits."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard

from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident, merge
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import hooks, invoices, subscriptions
from services.notifier.handlers.invoices import IncidentUpdate
from services.notifier.queries import incidents as incident_queries
from services.notifier.queries import notifications, processed_events, suppressions, waiting
from services.notifier.queries.leases import FreshLeases
from shared import events
from shared.contracts.accounts import Account, StripeId, in_account, stripe_customer
from shared.contracts.invoices import owed
from shared.contracts.observations import Observation
from shared.contracts.rpc.portal import TOLD_AT_ENROLMENT
from shared.events import Event

DUPLICATE: Final = "duplicate: acted upon before"


class NoRoomForAccount(RuntimeError):
    """Two accounts have an invoice of one id, and this database takes one of them. The text says what to run; the event is
    tried again."""


def handle(session: Session, event: Event, now: dt.datetime, *, tell_hosts: bool = False) -> str:
    """Act on one event, once; says what came of it. With `tell_hosts` it is written down for their webhooks besides.

    The event's id and its effect stand in the same transaction, so a message that comes again, after a crash
    at any point, finds either both or neither. Raises UnreadableEvent.
    """
    if is_about_invoice(event):
        return handle_invoices(session, [event], now, tell_hosts=tell_hosts)[0]
    if not processed_events.claim_events(session, [event], now):
        return DUPLICATE
    if tell_hosts:
        hooks.record_events(session, [event], now)
    handler = ROUTES.get(type(event.data))
    outcome = handler(session, event, now) if handler else "not for the notifier"
    processed_events.note_outcomes(session, {event.id: outcome})
    return outcome


def is_about_invoice(event: Event) -> TypeGuard[Event[events.InvoiceData]]:
    """Whether many events of this kind can be acted upon together (`handle_invoices`)."""
    return type(event.data) in STEPS


def handle_invoices(
    session: Session,
    batch: Sequence[Event[events.InvoiceData]],
    now: dt.datetime,
    fresh: FreshLeases | None = None,
    *,
    tell_hosts: bool = False,
) -> list[str]:
    """The same for events about invoices that came together: what came of each, in a handful of statements a wave.

    All incidents are locked first, in one order. `fresh` leases new emails to this process at once, where the batch has no
    two events of one invoice. Raises UnreadableEvent when one of the events can't be read.
    """
    claimed = processed_events.claim_events(session, batch, now)
    first_copies: dict[str, Event[events.InvoiceData]] = {}
    for event in batch:
        first_copies.setdefault(event.id, event)
    new = [event for event in first_copies.values() if event.id in claimed]
    if tell_hosts:
        hooks.record_events(session, new, now)
    seen = {event.id: invoices.read(event) for event in new}
    waves = _in_waves(new)
    begun = {
        _invoice(event): merge(_blank(event), seen[event.id], now)
        for event in (waves[0] if waves else ())
    }
    made = incident_queries.add_incidents(session, begun.values())
    incidents = incident_queries.lock_incidents(session, begun.keys() - made)
    if foreign := begun.keys() - made - incidents.keys():
        raise NoRoomForAccount(
            f"{', '.join(in_account(*one) for one in sorted(foreign))}: another account has an invoice of this id, and the keys of "
            "this database know no accounts yet: run `python -m services.notifier migrate --after-roll`"
        )
    outcomes: dict[str, str] = {}
    for wave in waves:
        heard = [
            _update(event, seen[event.id], incidents.get(_invoice(event)), begun, now)
            for event in wave
        ]
        incident_queries.store_incidents(
            session, [one.incident for one in heard if one.invoice in incidents]
        )
        incidents |= {one.invoice: one.incident for one in heard}
        if failures := _of_step(heard, invoices.failed):
            outcomes |= invoices.failed(session, failures, now, fresh if len(waves) == 1 else None)
        if changes := _of_step(heard, invoices.changed):
            outcomes |= invoices.changed(session, changes, now)
        if fresh is not None and (changes or len(waves) > 1):
            fresh.others_due = True
    processed_events.note_outcomes(session, outcomes)
    return [outcomes.pop(event.id, DUPLICATE) for event in batch]


def _update(
    event: Event[events.InvoiceData],
    seen: Observation,
    known: Incident | None,
    begun: Mapping[StripeId, Incident],
    now: dt.datetime,
) -> IncidentUpdate:
    if known is None:
        return IncidentUpdate(event, seen, begun[_invoice(event)], is_first=True)
    incident = merge(known, seen, now)
    ends_it = invoices.has_ended(incident, now) and not invoices.has_ended(known, now)
    return IncidentUpdate(event, seen, incident, ends_it=ends_it)


def _blank(event: Event[events.InvoiceData]) -> Incident:
    invoice, customer = _invoice(event), event.data.stripe_customer_id
    return Incident(account=invoice.account, invoice_id=invoice.id, stripe_customer_id=customer)


def _of_step(heard: Sequence[IncidentUpdate], step: invoices.Step) -> list[IncidentUpdate]:
    return [one for one in heard if STEPS[type(one.event.data)] is step]


def _invoice(event: Event[events.InvoiceData]) -> StripeId:
    return StripeId(Account(event.data.account), event.data.invoice_id)


def _in_waves(
    batch: Iterable[Event[events.InvoiceData]],
) -> list[list[Event[events.InvoiceData]]]:
    """The events in waves to be acted upon one after another. A wave has at most one event of each invoice, in the order in
    which they came, so that each finds what the one before it has left."""
    waves: list[list[Event[events.InvoiceData]]] = []
    earlier: Counter[StripeId] = Counter()
    for event in batch:
        number = earlier[_invoice(event)]
        if number == len(waves):
            waves.append([])
        waves[number].append(event)
        earlier[_invoice(event)] += 1
    return waves


def customer_deleted(
    session: Session, event: Event[events.CustomerDeleted], now: dt.datetime
) -> str:
    """Nobody writes to a customer who is gone, not even for a failure that arrives later."""
    data = event.data
    gone = StripeId(Account(data.account), data.stripe_customer_id)
    suppressions.note_deleted_customer(session, gone, now)
    incident_queries.lock_incidents_of(session, gone)
    suppressed = notifications.suppress_waiting(
        session, Reason.CUSTOMER_DELETED, now, customer=gone
    )
    return f"{suppressed.total()} suppressed"


def customer_linked(
    session: Session, event: Event[events.CustomerLinkChanged], now: dt.datetime
) -> str:
    """The portal knows now whose a Stripe customer is: what waits for that is looked at again at once.

    All that waited goes into one email, and an email that was given up since nobody knew the customer is due again if its
    invoice is still owed. Whether it is, and what is told, is looked at before it goes out, as always.

    Enrolment from Stripe, and an import, mail nobody about what is past: they may bring thousands at once. Only what has just failed
    goes out. For a sender that is here first the portal's answer says so, too (`live_since` of an enrolled customer).
    """
    data = event.data
    customer = stripe_customer(data.account, data.stripe_customer_id, data.on_behalf_of)
    if customer is None:
        return "linked with nobody"
    waits = waiting.waiting_as(session, customer)
    if not waits:
        return "nothing has waited for this customer"
    invoices_open = incident_queries.lock_open_incidents(session, (), waits)
    if data.evidence == "enrolled" or data.imported:
        waiting.give_up_older(session, customer, now - TOLD_AT_ENROLMENT, now)
        return f"{waiting.wake_for_customer(session, customer, (), now)} looked at again"
    asked_for = {id for id, one in invoices_open.items() if owed(one) and not one.last_mailed_at}
    woken = waiting.wake_for_customer(session, customer, asked_for, now)
    return f"{woken} looked at again"


def for_hosts(session: Session, event: Event[events.Data], now: dt.datetime) -> str:
    """Nothing follows from it here: it is heard for the webhooks to hosts."""
    return "for hosts"


Handler = Callable[[Session, Event[Any], dt.datetime], str]
"""Each says by the type of its event what it is for; a test holds `ROUTES` against that."""

STEPS: Final[dict[type[events.Data], invoices.Step]] = {
    # The reason this service exists: an autopay charge failed, and the customer can fix it.
    events.InvoicePaymentFailed: invoices.failed,
    # May come with payment_failed, before, after or without it: one email for the two.
    events.InvoicePaymentActionRequired: invoices.failed,
    # Ends the incident: nothing more is asked for, and whoever was asked hears the good news.
    events.InvoicePaid: invoices.changed,
    # The business took the invoice back: asking for it would be wrong.
    events.InvoiceVoided: invoices.changed,
    # The business gave up on it: so do we.
    events.InvoiceMarkedUncollectible: invoices.changed,
    # Brings the date of the next try, which payment_failed may not know yet, and part payments.
    events.InvoiceUpdated: invoices.changed,
}
"""What is done about an invoice at each event, for many at once, and why."""

ROUTES: Final[dict[type[events.Data], Handler]] = {
    # The Stripe customer is gone, and with it the page that an email would lead to.
    events.CustomerDeleted: customer_deleted,
    # Stripe's page or the dashboard planned an end: the business should not find out from its bank.
    events.SubscriptionCancellationScheduled: subscriptions.ends,
    # The end was withdrawn, which is as good to know; or the tries are used up, and it is unpaid now.
    events.SubscriptionUpdated: subscriptions.changed,
    # Ended at once, or after the last retry: the same news, told once, and with what is unpaid.
    events.SubscriptionEnded: subscriptions.ends,
    # The business alone can have a subscription charged to the new card.
    events.SubscriptionPaymentMethodKept: subscriptions.method_kept,
    # Somebody whom nobody knew can be written to.
    events.CustomerLinkChanged: customer_linked,
    # Hosts hear of these by webhook, as they do on the exchanges.
    events.PaymentMethodChanged: for_hosts,
    events.CustomerLinkRefused: for_hosts,
}
