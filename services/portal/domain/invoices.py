"""What an invoice is to its customer: the one story of `shared.contracts.invoices`, with the payment method that failed and
the one that came after it."""

from __future__ import annotations

import datetime as dt
from typing import Final

from shared.contracts import invoices as contracts
from shared.contracts.invoices import Retry, RetryPlan, SubscriptionState
from shared.contracts.next_steps import is_under_way
from shared.contracts.payments import Decline, PaymentMethod

SETTLING_FOR: Final = dt.timedelta(minutes=15)
"""How long after a new payment method we say that the payment is on its way. Cards answer in seconds; after this, or as soon
as a bank debit is known to be under way, the customer is told that the outcome takes days."""

TRIED_WITHIN: Final = dt.timedelta(hours=2)
"""How long a new payment method may wait for our own try of it (a bank is asked about a card once an hour). When billing knows of
no payment by then, none is under way: collecting was stopped when it came. That our try was refused is known at once."""

THANKS_FOR: Final = dt.timedelta(days=1)
"""How long the page says "paid, thank you"."""

_DECLINES: Final = {one.value: one for one in Decline}


class Invoice(contracts.Invoice, frozen=True, kw_only=True, gc=False):
    """What is known of an invoice by now, with what the page tells besides."""

    method_changed_at: dt.datetime | None = None
    """When the payment method that this invoice is charged to was last replaced."""
    method_type: str | None = None
    """Stripe's word for what failed, `card`, `us_bank_account`; with those below, as far as Stripe tells it."""
    card_brand: str | None = None
    """Stripe's word for it, `visa`; with the three below, of a card alone."""
    card_last4: str | None = None
    card_exp_month: int | None = None
    card_exp_year: int | None = None
    bank_name: str | None = None
    bank_last4: str | None = None
    decline_reason: str | None = None
    """Why it failed: a `Decline`."""
    card_of_failure: dt.datetime | None = None
    """The failure that these were asked for; an answer that names nothing is an answer, too."""
    needs_new_method: bool = False
    """After that failure Stripe charges nothing until there is a new payment method."""
    ask_again_at: dt.datetime | None = None
    """Before this billing isn't asked again whether a payment is under way."""
    refused_since: dt.datetime | None = None
    """The moment of the new payment method with which billing's own try came to nothing, and no bank was asked."""

    @property
    def _asked(self) -> bool:
        """Whether billing has answered what failed last, and why. An answer of before another failure is none."""
        return self.card_of_failure == self.last_failed_at

    @property
    def failed_method(self) -> PaymentMethod | None:
        """What failed last; None while it isn't known, or another failure came since."""
        if not self._asked:
            return None
        # A replica of the release before writes cards alone, and no type.
        type_ = self.method_type or ("card" if self.card_last4 else None)
        if type_ is None:
            return None
        return PaymentMethod(
            type=type_,
            brand=self.card_brand,
            bank=self.bank_name,
            last4=self.card_last4 or self.bank_last4,
            exp_month=self.card_exp_month,
            exp_year=self.card_exp_year,
        )

    @property
    def decline(self) -> Decline | None:
        """Why it failed last; None while it isn't known."""
        reason = self.decline_reason if self._asked else None
        return _DECLINES.get(reason or "")

    def retry_plan(self, subscription: SubscriptionState | None, now: dt.datetime) -> RetryPlan:
        """Whether and when Stripe will really charge it again. A date is not known before it is known why the last charge
        failed."""
        plan = contracts.retry_plan(
            self,
            subscription,
            # One came: what Stripe charges next is that.
            needs_new_method=self._asked and self.needs_new_method and self.retrying_since is None,
            now=now,
            silent_for=now - (self.last_failed_at or now),
        )
        return plan if self._asked or plan.at is None else RetryPlan(Retry.UNKNOWN)

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

    def left_alone(self, *, observed: bool, live_since: dt.datetime | None) -> bool:
        """Whether we charge the present payment method for nothing: the business observes (`observed`), or did until a line
        (`live_since`) that was drawn after the method came. One that comes after the line is charged, and for this, too."""
        changed = self.method_changed_at
        before = live_since is not None and changed is not None and changed < live_since
        return observed or before

    @property
    def takes_days(self) -> bool:
        """The payment with the new payment method is known to be under way: a bank has to answer."""
        since, changed = self.under_way_since, self.retrying_since
        covered = contracts.payment_under_way(self)
        return covered and since is not None and changed is not None and since >= changed

    @property
    def tried_since_failure(self) -> bool:
        """Something was said of it after its last failure, and no new payment method came: Stripe may have tried again."""
        last = self.last_failed_at
        told = self.as_of is not None and last is not None and self.as_of > last
        return told and self.retrying_since is None

    @property
    def debit_under_way(self) -> bool:
        """A payment has begun since the last failure with what is there, and the bank has not answered yet."""
        return contracts.payment_under_way(self) and self.retrying_since is None

    def under_way(self, now: dt.datetime, *, observed: bool) -> bool:
        """Whether a payment is under way, or a new payment method is about to be charged; one that is `left_alone` (`observed`) isn't."""
        since = self.retrying_since
        # A new payment method forgets when to ask again: the moment is there once billing was asked, and knew of none.
        known_of_none = self.ask_again_at is not None and not self.takes_days
        return is_under_way(
            # With the new one, or still with the one before it.
            payment=contracts.payment_under_way(self),
            new_method=since is not None
            and self.refused_since != since
            and not (known_of_none and now - since >= TRIED_WITHIN),
            observed=observed,
        )

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
    if latest == known.method_changed_at:
        return known
    return known.with_changes(method_changed_at=latest, ask_again_at=None)
