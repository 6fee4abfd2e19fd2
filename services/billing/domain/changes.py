"""Which of Stripe's events are about one change of a card, and how often a card may be tried.

A *change* is one wish of a person (or of the bank): this payment method is to be charged from now on. Stripe tells it
in several events (the customer's default, a subscription's default, the card that the network renewed), each at least
once, in any order, hours late. Each wish is tried once (docs/adr/0017-a-change-of-card-is-a-row.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.contracts.accounts import Account, StripeId
from shared.contracts.invoices import MethodChange

RENEWED: Final = frozenset({"customer.source.updated", "payment_method.automatically_updated"})
"""The card behind the same id was renewed; nobody chose another one."""
OBSERVED: Final = "observed"
"""How a change ends whose business observes: it stays closed, whatever is told of it later, also once the business is live."""
ANOTHERS_FAILURE: Final = "invoice.payment_failed"
"""A subscription that we could not point at the card was charged to another one, and that failed: the card has its turn."""
UNASKED: Final = RENEWED | {ANOTHERS_FAILURE}
"""Kinds that tell of a card without anybody having set it then."""
SIBLINGS: Final = dt.timedelta(minutes=1)
"""Events of different types this close, by Stripe's clock, tell of one change: an application sets the customer's default and
then each subscription's."""
TWINS: Final = dt.timedelta(seconds=2)
"""The same type again needs a default that was changed away and back between, so it is a new wish; except that Stripe
may make two events for one change (https://docs.stripe.com/webhooks#handle-duplicate-events), in the same second or
the next."""
ONCE_IN: Final = dt.timedelta(hours=1)
"""One change of a card is tried within this time; a further one waits for its end."""
A_DAY: Final = dt.timedelta(days=1)
MOST_A_DAY: Final = 5
"""Our own tries of one invoice, whatever the card: half of what Mastercard takes, and no help to a tester of stolen cards."""
A_MONTH: Final = dt.timedelta(days=30)
MOST_A_MONTH: Final = 7
"""Our own tries of one invoice with one card: with Stripe's eight they stay within the strictest of the networks' limits,
Visa's former 15 in 30 days (20 since May 2025; Mastercard: 10 a day, 35 in 30 days, for the same amount)."""
KEY_LIFE: Final = dt.timedelta(hours=23)
"""Stripe may forget an idempotency key after 24 hours; from then on it would charge anew."""
SETTLED: Final = dt.timedelta(minutes=10)
"""Longer than Stripe works on a request: what its objects don't show this long after the last asking did not happen."""


@dataclass(frozen=True)
class Wish:
    """One of Stripe's events that says: charge this payment method from now on."""

    account: Account
    event_id: str
    kind: str
    """Stripe's type of the event."""
    stripe_customer_id: str
    payment_method: str
    scope: str
    """Empty: the customer's default; else the one subscription, or invoice, whose own default it is."""
    set_at: dt.datetime
    """By Stripe's clock, to the second."""

    @property
    def event(self) -> StripeId:
        """The event's whole name."""
        return StripeId(self.account, self.event_id)

    @property
    def customer(self) -> StripeId:
        """Whose card it is."""
        return StripeId(self.account, self.stripe_customer_id)


@dataclass(frozen=True)
class Change:
    """One change of a card, as far as its events have come."""

    account: Account
    id: str
    """Stripe's id of the event that opened it."""
    stripe_customer_id: str
    payment_method: str
    told: frozenset[tuple[str, str]]
    """Kind and scope of each event that joined."""
    set_at: dt.datetime
    """By Stripe's clock: when the card was set, for the last time before it was first tried; what nobody asked for sets none."""
    tried_at: dt.datetime | None = None
    """By our clock: when it was first tried, or found to have nothing to pay."""
    closed_at: dt.datetime | None = None
    observed: bool = False
    """It was closed without anything written to Stripe, since the business observed."""

    @property
    def name(self) -> StripeId:
        """Its whole name."""
        return StripeId(self.account, self.id)

    @property
    def customer(self) -> StripeId:
        """Whose card it is."""
        return StripeId(self.account, self.stripe_customer_id)

    @property
    def came_about(self) -> MethodChange:
        """Whether somebody chose the card, or its bank merely renewed it."""
        chosen = any(kind not in RENEWED for kind, _ in self.told)
        return MethodChange.CHOSEN if chosen else MethodChange.RENEWED

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(scope for _, scope in self.told)

    def includes(self, wish: Wish) -> bool:
        """Whether a wish for this card is this change, told once more; else it is a new one.

        Whatever is set before the card is tried is answered by that try. What was only observed stays so when the bank renews the
        card, however much later: with that nobody gave it for the debts of then.
        """
        if self.tried_at is None or wish.set_at <= self.tried_at:
            return True
        if self.observed and wish.kind in RENEWED:
            return True
        known = any(kind == wish.kind for kind, _ in self.told)
        return wish.set_at - self.set_at <= (TWINS if known else SIBLINGS)

    def waits_until(
        self, runs: Mapping[str, dt.datetime], scopes: Iterable[str | None], now: dt.datetime
    ) -> dt.datetime | None:
        """When an invoice may be tried, if an earlier change of this card is less than an hour old. `scopes`: its own id, and its
        subscription's.

        `runs` is when a bank was last asked about the card, by scope; what this change has asked itself is no reason.
        """
        earlier = [
            asked + ONCE_IN
            for scope in {"", *(one or "" for one in scopes)}
            if (asked := runs.get(scope)) is not None
            and (self.tried_at is None or asked < self.tried_at)
        ]
        until = max(earlier, default=now)
        return until if until > now else None


@dataclass(frozen=True)
class Try:
    """One idempotency key: one question to the bank at most."""

    account: Account
    key: str
    change_id: str
    invoice_id: str
    payment_method: str
    number: int
    since: dt.datetime
    """By Stripe's clock: what the bank said after this moment is its answer."""
    started_at: dt.datetime
    sent_at: dt.datetime
    """When Stripe was last asked with this key."""
    key_spent: bool = False
    """Stripe replays a server error to this key: it can't bring a charge about any more."""

    @property
    def change(self) -> StripeId:
        """The whole name of its change."""
        return StripeId(self.account, self.change_id)

    def may_be_repeated(self, change_id: str, now: dt.datetime) -> bool:
        """Whether asking again with its own key is safe and of use to this change."""
        return (
            change_id == self.change_id and not self.key_spent and now - self.started_at < KEY_LIFE
        )

    def is_settled(self, now: dt.datetime) -> bool:
        """Whether what Stripe's objects show by now is all that will come of it."""
        return now - self.sent_at >= SETTLED


def is_invoice(scope: str) -> bool:
    """Whether a scope is a single invoice."""
    return scope.startswith("in_")


def may_try(past: Iterable[tuple[str, dt.datetime]], payment_method: str, now: dt.datetime) -> bool:
    """Whether the networks would put up with another try of ours, after these (card, moment) of the same invoice."""
    recent = [card for card, at in past if now - at < A_DAY]
    same = [at for card, at in past if card == payment_method and now - at < A_MONTH]
    return len(recent) < MOST_A_DAY and len(same) < MOST_A_MONTH
