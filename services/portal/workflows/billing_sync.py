"""What the page shows that only Stripe knows: asked of billing in the background, never while a customer waits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.domain.invoices import SETTLING_FOR, Invoice
from services.portal.domain.subscribed import ShownSubscriptions
from services.portal.ports import NOT_SERVED, Billing, BillingUnavailable, DeclineSeen, PriceSeen
from services.portal.queries import billing_sync
from services.portal.queries import subscriptions as queries
from shared.contracts.accounts import StripeId
from shared.contracts.invoices import payment_under_way
from shared.contracts.payments import MethodKind, PaymentMethod
from shared.database import Transactions

BATCH: Final = 20
CARDS: Final = 5
"""Invoices asked about at once: what billing may ask of Stripe in one moment is shared with the mails."""
PRICES: Final = 5
"""Subscriptions asked about at once."""
CARDS_FOR: Final = dt.timedelta(days=2)
"""How long it is asked what failed. Later the page does without: Stripe may not know the invoice any more."""
CARD_ANSWERS_IN: Final = dt.timedelta(seconds=3)
"""How long after a new payment method nobody asks whether its payment is under way: a card's is over by then."""
ONE_CHANGE: Final = dt.timedelta(minutes=1)
"""Stripe tells a new payment method as the customer's and then as each subscription's: so far apart it is one, and the first word of
it may have been answered before the last one came."""
DEBITS_FOR: Final = dt.timedelta(days=14)
"""How long after Stripe's own next try it is asked whether a bank has it: longer than any bank takes to answer."""
DEBIT_EVERY: Final = dt.timedelta(hours=1)
"""How often it is asked, at the least, whether a bank has been asked again."""
NOT_SERVED_FOR: Final = dt.timedelta(minutes=10)
"""How long nobody asks about an invoice on whose account billing does nothing, so that others have their turn."""
RIGHTS_EVERY: Final = dt.timedelta(minutes=5)
"""How soon the page follows a changed portal configuration."""
MISSING: Final = "PortalConfigurationMissing"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did. `problem` is billing's, one word; None: it answered everything."""

    more: bool
    """Whether another round at once makes sense."""
    problem: str | None = None
    missing: tuple[str, ...] = ()
    """Businesses whose portal configuration Stripe does not know."""


def learn_cards(database: Transactions, billing: Billing, now: dt.datetime) -> Round:
    """What failed, and why, once a failure; of a new payment method, and of Stripe's own next try to debit a bank account,
    whether its payment takes days: asked soon, then less and less often. What billing could not ask Stripe about waits."""
    with database.reading() as session:
        asking = billing_sync.invoices_to_ask_about(
            session,
            now,
            CARDS,
            failed_since=now - CARDS_FOR,
            tried_since=now - DEBITS_FOR,
            changed_between=(now - SETTLING_FOR, now - CARD_ANSWERS_IN),
        )
    if not asking:
        return Round(more=False)
    try:
        declines = billing.declines(list(asking))
    except BillingUnavailable as error:
        return Round(more=False, problem=error.reason)
    with database.transaction() as session:
        for name in sorted(asking.keys() & declines.keys()):
            told = declines[name]
            if told is None:
                billing_sync.note_learnt(session, name, {"ask_again_at": now + NOT_SERVED_FOR})
                continue
            learnt = _learnt(asking[name], told, now)
            billing_sync.note_learnt(session, name, learnt)
            _note_date(session, name, asking[name], told)
    return Round(more=len(asking) == CARDS and asking.keys() <= declines.keys())


def _learnt(invoice: Invoice, seen: DeclineSeen, now: dt.datetime) -> dict[str, Any]:
    """The columns that an answer fills."""
    learnt: dict[str, Any] = {}
    if invoice.card_of_failure != invoice.last_failed_at:
        method = seen.method or PaymentMethod()
        card = method if method.kind is MethodKind.CARD else PaymentMethod()
        learnt = {
            "method_type": method.type,
            "card_brand": card.brand,
            "card_last4": card.last4,
            "card_exp_month": card.exp_month,
            "card_exp_year": card.exp_year,
            "bank_name": method.bank,
            "bank_last4": None if card.last4 else method.last4,
            "decline_reason": seen.reason,
            "card_of_failure": invoice.last_failed_at,
            "needs_new_method": seen.needs_new_method,
        }
    if invoice.purpose is None and seen.purpose is not None:
        # Its events are of a release that did not tell.
        learnt |= {"purpose": seen.purpose, "purpose_more": seen.purpose_more}
    changed_at = invoice.retrying_since
    if changed_at is not None and seen.processing:
        learnt |= {"under_way_since": changed_at, "under_way_amount": None}
    elif changed_at is not None:
        learnt["ask_again_at"] = now + max(now - changed_at, CARD_ANSWERS_IN)
        if seen.refused_at is not None and seen.refused_at >= changed_at - ONE_CHANGE:
            learnt["refused_since"] = changed_at
    elif invoice.tried_since_failure and invoice.as_of is not None:
        if seen.processing:
            learnt |= {"under_way_since": invoice.as_of, "under_way_amount": None}
        else:
            pause = min(max(now - invoice.as_of, CARD_ANSWERS_IN), DEBIT_EVERY)
            learnt["ask_again_at"] = now + pause
    if payment_under_way(invoice) and not seen.processing:
        learnt["under_way_since"] = None  # over by now; the event of its end is on its way
    return learnt


def learn_prices(
    database: Transactions, billing: Billing, shown: ShownSubscriptions, now: dt.datetime
) -> Round:
    """What the subscriptions that pages have shown cost, by Stripe's preview. What billing could not ask about waits."""
    asking = shown.first(PRICES, now)
    if not asking:
        return Round(more=False)
    try:
        seen = billing.prices([each.name for each in asking])
    except BillingUnavailable as error:
        return Round(more=False, problem=error.reason)
    answered = [each for each in asking if each.name in seen]
    with database.transaction() as session:
        for each in sorted(answered, key=lambda one: one.name):
            queries.note_preview(session, each, _previewed(seen[each.name], now))
    shown.answered(answered)
    return Round(more=len(answered) == PRICES)


def _previewed(seen: PriceSeen | None, now: dt.datetime) -> dict[str, Any]:
    """The columns that an answer fills; without a next invoice it tells nothing of the terms."""
    if seen is None:
        return {"previewed_at": now, "next_amount": None}
    terms, coming = seen.terms, seen.terms.next_invoice
    return {
        "previewed_at": now,
        "pricing": terms.pricing,
        "amount": terms.amount,
        "currency": terms.currency,
        "interval": terms.interval,
        "interval_count": terms.interval_count,
        "discounted": terms.discounted,
        "collection_paused": seen.collection_paused,
        "collection_resumes_at": seen.collection_resumes_at,
        "trial_ends_at": seen.trial_ends_at,
        "next_amount": coming and coming.amount,
        "next_recurring": coming and coming.recurring,
        "next_discount": coming and coming.discount,
        "next_discount_until": coming and coming.until,
        "discount_seen": coming is not None and coming.discount is not None,
    }


def _note_date(session: Session, name: StripeId, invoice: Invoice, seen: DeclineSeen) -> None:
    """The date of the next try as Stripe tells it with a failure: events of one second leave open whether there is one.

    It was read after all that was said by then, and any later word of Stripe's must win: its moments are whole seconds, so
    this one stands between two of them.
    """
    last = invoice.schedule_as_of or invoice.last_failed_at
    asked_about = invoice.card_of_failure != invoice.last_failed_at
    if seen.next_payment_attempt is not None and last is not None and asked_about:
        billing_sync.note_date_learnt(
            session,
            name,
            seen.next_payment_attempt,
            last.replace(microsecond=1),
            known=(invoice.attempt_count, invoice.schedule_as_of),
        )


def learn_rights(database: Transactions, billing: Billing, now: dt.datetime) -> Round:
    """Whether each business's customers may cancel by themselves, again every few minutes."""
    with database.reading() as session:
        asking = billing_sync.businesses_to_check(session, now - RIGHTS_EVERY, BATCH)
    missing: list[str] = []
    for account, business_id in asking:
        try:
            may_cancel: bool | None = billing.customers_may_cancel(account, business_id)
        except BillingUnavailable as error:
            if error.reason == MISSING:
                missing.append(business_id)
            elif error.reason != NOT_SERVED:
                return Round(False, error.reason, tuple(missing))
            may_cancel = None
        with database.transaction() as session:
            billing_sync.note_rights(session, business_id, may_cancel, now)
    return Round(more=len(asking) == BATCH, missing=tuple(missing))
