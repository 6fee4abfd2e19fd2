"""What the page shows that only Stripe knows: asked of billing in the background, never while a customer waits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.portal.ports import Billing, BillingUnavailable
from services.portal.queries import subscriptions as queries
from shared.database import Transactions

BATCH: Final = 20
CARDS: Final = 5
"""Cards asked for at once: what billing may ask of Stripe in one moment is shared with the mails."""
CARDS_FOR: Final = dt.timedelta(days=2)
"""How long a failure's card is asked for. Later the page does without: Stripe may not know the invoice any more."""
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
    """The cards of some failures that are new, once a failure, and whether Stripe goes on trying them. What billing could
    not ask Stripe about waits."""
    with database.reading() as session:
        asking = {
            row.invoice_id: row.last_failed_at
            for row in queries.invoices_without_card(session, now - CARDS_FOR, CARDS)
        }
    if not asking:
        return Round(more=False)
    try:
        declines = billing.declines(list(asking))
    except BillingUnavailable as error:
        return Round(more=False, problem=error.reason)
    with database.transaction() as session:
        for invoice_id in sorted(asking.keys() & declines.keys()):
            card = declines[invoice_id].card
            queries.note_card(
                session,
                invoice_id,
                {
                    "card_brand": card.brand if card else None,
                    "card_last4": card.last4 if card else None,
                    "card_exp_month": card.exp_month if card else None,
                    "card_exp_year": card.exp_year if card else None,
                    "card_of_failure": asking[invoice_id],
                    "needs_new_method": declines[invoice_id].needs_new_method,
                },
            )
    return Round(more=len(asking) == CARDS and asking.keys() <= declines.keys())


def learn_rights(database: Transactions, billing: Billing, now: dt.datetime) -> Round:
    """Whether each business's customers may cancel by themselves, again every few minutes."""
    with database.reading() as session:
        asking = queries.businesses_to_check(session, now - RIGHTS_EVERY, BATCH)
    missing: list[str] = []
    for business_id in asking:
        try:
            may_cancel: bool | None = billing.customers_may_cancel(business_id)
        except BillingUnavailable as error:
            if error.reason != MISSING:
                return Round(False, error.reason, tuple(missing))
            missing.append(business_id)
            may_cancel = None
        with database.transaction() as session:
            queries.note_rights(session, business_id, may_cancel, now)
    return Round(more=len(asking) == BATCH, missing=tuple(missing))
