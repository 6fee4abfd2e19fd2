"""What the page shows that only Stripe knows: asked of billing in the background, never while a customer waits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from services.portal.ports import Billing, BillingUnavailable
from services.portal.queries import subscriptions as queries
from shared.database import Transactions

BATCH: Final = 20
RIGHTS_EVERY: Final = dt.timedelta(minutes=5)
"""How soon the page follows a changed portal configuration."""
MISSING: Final = "PortalConfigurationMissing"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did. `problem` is billing's, one word; None: it answered everything."""

    asked: int
    problem: str | None = None
    missing: tuple[str, ...] = ()
    """Businesses whose portal configuration Stripe does not know."""

    @property
    def more(self) -> bool:
        """Whether another round at once makes sense."""
        return self.asked == BATCH and self.problem is None


def learn_cards(database: Transactions, billing: Billing) -> Round:
    """The card of each failure that is new, once a failure. Stops at the first sign that billing can't answer."""
    with database.reading() as session:
        asking = [
            (row.invoice_id, row.last_failed_at)
            for row in queries.invoices_without_card(session, BATCH)
        ]
    for number, (invoice_id, failed_at) in enumerate(asking):
        try:
            card = billing.declined_card(invoice_id)
        except BillingUnavailable as error:
            return Round(number, error.reason)
        with database.transaction() as session:
            queries.note_card(
                session,
                invoice_id,
                {
                    "card_brand": card.brand if card else None,
                    "card_last4": card.last4 if card else None,
                    "card_exp_month": card.exp_month if card else None,
                    "card_exp_year": card.exp_year if card else None,
                    "card_of_failure": failed_at,
                },
            )
    return Round(len(asking))


def learn_rights(database: Transactions, billing: Billing, now: dt.datetime) -> Round:
    """Whether each business's customers may cancel by themselves, again every few minutes."""
    with database.reading() as session:
        asking = queries.businesses_to_check(session, now - RIGHTS_EVERY, BATCH)
    missing: list[str] = []
    for number, business_id in enumerate(asking):
        try:
            may_cancel: bool | None = billing.customers_may_cancel(business_id)
        except BillingUnavailable as error:
            if error.reason != MISSING:
                return Round(number, error.reason, tuple(missing))
            missing.append(business_id)
            may_cancel = None
        with database.transaction() as session:
            queries.note_rights(session, business_id, may_cancel, now)
    return Round(len(asking), missing=tuple(missing))
