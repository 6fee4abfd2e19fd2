"""What an invoice is to its customer: the one story of `shared.contracts.invoices`, with the card that was declined and the
payment method that came after it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

from shared.contracts import invoices as contracts
from shared.contracts.invoices import SubscriptionState

SETTLING_FOR: Final = dt.timedelta(minutes=15)
"""How long after a new payment method we say that the payment is on its way. Cards answer in seconds; after this the
customer is told that the outcome isn't known yet (a bank debit takes days)."""

THANKS_FOR: Final = dt.timedelta(days=1)
"""How long the page says "paid, thank you"."""


@dataclass(frozen=True, slots=True)
class DeclinedCard:
    """What may be shown of the card that was declined."""

    brand: str
    """Stripe's word: `visa`, `amex`; empty when it isn't known."""
    last4: str
    exp_month: int | None = None
    exp_year: int | None = None

    def expired(self, today: dt.date) -> bool:
        """Whether its last month is over."""
        if self.exp_month is None or self.exp_year is None:
            return False
        return (self.exp_year, self.exp_month) < (today.year, today.month)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice(contracts.Invoice):
    """What is known of an invoice by now, with what the page tells besides."""

    method_changed_at: dt.datetime | None = None
    """When the payment method that this invoice is charged to was last replaced."""
    card_brand: str | None = None
    """Stripe's word for it, `visa`; with the three below, the card that was declined, where Stripe tells it."""
    card_last4: str | None = None
    card_exp_month: int | None = None
    card_exp_year: int | None = None
    card_of_failure: dt.datetime | None = None
    """The failure that the card was asked for; an answer without a card is an answer, too."""
    needs_new_method: bool = False
    """After that failure Stripe charges nothing until there is a new payment method."""

    @property
    def declined_card(self) -> DeclinedCard | None:
        """The card of the last failure; None while it isn't known, or another failure came since."""
        if self.card_last4 is None or self.card_of_failure != self.last_failed_at:
            return None
        return DeclinedCard(
            self.card_brand or "", self.card_last4, self.card_exp_month, self.card_exp_year
        )

    def next_charge(
        self, subscription: SubscriptionState | None, now: dt.datetime
    ) -> dt.datetime | None:
        """When Stripe will really charge it again; None where it won't, or why the last charge failed isn't known yet."""
        if self.card_of_failure != self.last_failed_at:
            return None
        return contracts.retry_plan(
            self, subscription, needs_new_method=self.needs_new_method, now=now
        ).at

    @property
    def retrying_since(self) -> dt.datetime | None:
        """When a new payment method came that no failure has answered yet."""
        changed, first, last = self.method_changed_at, self.first_failed_at, self.last_failed_at
        if changed is None or first is None or last is None or changed < first:
            return None
        # Within one second only our own retry can have come after the change; any other failure came before it.
        if changed > last or (changed == last and not self.last_failure_own):
            return changed
        return None

    @property
    def replacement_failed(self) -> bool:
        """The customer gave a new payment method after the first failure, and it failed too."""
        changed, first = self.method_changed_at, self.first_failed_at
        if changed is None or first is None or changed < first:
            return False
        return self.retrying_since is None


def with_method_change(known: Invoice, changed_at: dt.datetime | None) -> Invoice:
    """The invoice after the payment method it is charged to was replaced at `changed_at` (None: never)."""
    latest = max(
        (at for at in (known.method_changed_at, changed_at) if at is not None), default=None
    )
    return replace(known, method_changed_at=latest)
