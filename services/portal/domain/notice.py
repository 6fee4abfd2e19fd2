"""What the page says about money: one notice, made from all of a customer's invoices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.portal.domain.invoices import SETTLING_FOR, THANKS_FOR, Invoice
from services.portal.domain.snapshot import OwnedInvoice, Subscription
from shared.contracts.invoices import SENT, InvoiceStatus, payment_under_way, settlement
from shared.contracts.next_steps import NextStep
from shared.contracts.payments import Decline, PaymentMethod

RETURNING_FOR: Final = dt.timedelta(minutes=5)
"""How long after Stripe's page was opened the customer may just be coming back from it."""

SAVED_FOR: Final = dt.timedelta(hours=1)
"""How long the page confirms a new payment method when nothing is owed."""


STRIPE_RESOLUTION: Final = dt.timedelta(seconds=5)
"""Stripe's times are whole seconds, and its clock is not ours."""


class State(StrEnum):
    """The state of one owed invoice, worst first."""

    CONFIRM = "confirm"
    """The customer's bank wants a confirmation."""
    STILL_DECLINED = "still_declined"
    """The new payment method failed too."""
    DECLINED = "declined"
    PENDING = "pending"
    """A payment is under way whose outcome takes days (bank debits), or is not known a good while after a new payment method
    was saved."""
    SETTLING = "settling"
    """A new payment method is saved and being charged."""
    PAID = "paid"


DECLINES: Final = frozenset({State.STILL_DECLINED, State.DECLINED})
ASKING: Final = DECLINES | {State.CONFIRM}
"""What the customer has to do something about."""


class Tone(StrEnum):
    """The notice as a whole."""

    WELL = "well"
    UNPAID = "unpaid"
    """No payment failed that is asked for, and yet an invoice is unpaid: one that was sent, to be paid by hand."""
    SAVED = "saved"
    PAID = "paid"
    SETTLING = "settling"
    PENDING = "pending"
    CONFIRM = "confirm"
    STILL_DECLINED = "still_declined"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice of the notice. Amounts in minor units; times in UTC."""

    state: State
    amount: int
    currency: str
    number: str | None
    since: dt.datetime | None
    next_attempt: dt.datetime | None
    """Only when Stripe will really charge it then."""
    method: PaymentMethod | None = None
    """What failed, where it is known."""
    step: NextStep = NextStep.MAY_TRY_AGAIN
    """What comes next, while it is owed."""
    tried_again: bool = False
    """What is under way began after a failure without a new payment method of ours to thank for: Stripe's own further try, or a
    debit that the customer began on Stripe's page."""
    invoice_id: str | None = None
    """Stripe's id."""
    purpose: str | None = None
    """What it is for, one line, where that is known."""
    purpose_more: int = 0
    """How many other things it is for."""
    missing: bool = False
    """There was nothing to charge, so that no payment failed."""
    new_method: bool = False
    """A new payment method came that nothing has answered, and that we don't charge, since the business observes, or did then."""

    @property
    def asks(self) -> bool:
        """Whether the customer has to do something about it."""
        return self.state in ASKING

    @property
    def wants_method(self) -> bool:
        """Whether what helps is another payment method, or the same one put right."""
        return self.state in DECLINES


@dataclass(frozen=True, slots=True)
class Notice:
    """All that the page says about money."""

    tone: Tone
    lines: tuple[Line, ...] = ()
    returning: bool = False
    """The customer may just have changed the card on Stripe's page and the news is still on its way."""
    observed: bool = False
    """The business observes: nothing is promised that we would do at Stripe."""
    left_alone: bool = False
    """With `SAVED`: the new payment method came while the business observed, so that we have set it on no subscription."""

    @property
    def asking(self) -> tuple[Line, ...]:
        """The lines that the customer has to do something about."""
        return tuple(line for line in self.lines if line.asks)

    @property
    def totals(self) -> dict[str, int]:
        """What those come to, by currency: amounts of two currencies don't add up."""
        sums: dict[str, int] = {}
        for line in self.asking:
            sums[line.currency] = sums.get(line.currency, 0) + line.amount
        return sums

    @property
    def refresh_seconds(self) -> int | None:
        """How soon the page should look again: only while something is on its way."""
        if self.tone is Tone.SETTLING:
            return 3
        return 5 if self.returning else None


_ORDER: Final = list(State)


def state_of(
    owned: OwnedInvoice,
    now: dt.datetime,
    *,
    observed: bool = False,
    live_since: dt.datetime | None = None,
) -> State | None:
    """The state of one invoice, or None when it is nothing to speak of; `observed`: the business observes; `live_since`: its line."""
    left_alone = owned.invoice.left_alone(observed=observed, live_since=live_since)
    return _state(owned, owned.next_step(now, observed=left_alone), now, left_alone)


def _state(owned: OwnedInvoice, step: NextStep, now: dt.datetime, left_alone: bool) -> State | None:
    """The same where it is known what comes next of it, were it owed."""
    invoice = owned.invoice
    if invoice.status == "paid":
        paid_lately = invoice.closed_at is not None and now - invoice.closed_at < THANKS_FOR
        failed = invoice.first_failed_at is not None
        # What the business let go is nobody's payment to give thanks for.
        return State.PAID if failed and paid_lately and not settlement(invoice).is_waived else None
    if not owned.owed:
        return None
    retrying = invoice.retrying_since
    if retrying is not None and step is NextStep.PROCESSING:
        # Either side: a clock that runs ahead (Stripe's test clocks) must not keep the page updating for days.
        soon = abs(now - retrying) < SETTLING_FOR and not invoice.takes_days
        return State.SETTLING if soon and not left_alone else State.PENDING
    if step is NextStep.PROCESSING:
        return State.PENDING
    if step is NextStep.CONFIRM:
        return State.CONFIRM
    # Whoever observes, or did then, sets no new payment method on subscriptions: what failed since may well have been the old one.
    return State.STILL_DECLINED if invoice.replacement_failed and not left_alone else State.DECLINED


def make_notice(
    owned: Iterable[OwnedInvoice],
    *,
    now: dt.datetime,
    billing_opened_at: dt.datetime | None = None,
    method_changed_at: dt.datetime | None = None,
    observed: bool = False,
    live_since: dt.datetime | None = None,
    subscriptions: Iterable[Subscription] = (),
) -> Notice:
    """The notice for a customer; `observed`: their business observes; `live_since`: its line; `subscriptions`: all of theirs.

    `billing_opened_at` is when they last went to Stripe's page from here, `method_changed_at` when their payment
    method was last replaced. What is owed hides what was paid; one payment that is owed and not on its way makes
    the notice a request.
    """
    owned = tuple(owned)
    invoices = [each.invoice for each in owned]
    lines = []
    for each in owned:
        left_alone = each.invoice.left_alone(observed=observed, live_since=live_since)
        step = each.next_step(now, observed=left_alone)
        if state := _state(each, step, now, left_alone):
            lines.append(_line(each, state, step, now, left_alone))
    lines.sort(key=lambda line: (_ORDER.index(line.state), line.since or now, line.number or ""))
    asked = tuple(line for line in lines if line.state is not State.PAID)
    if not asked:
        if lines:
            return Notice(Tone.PAID, tuple(lines), observed=observed)
        if method_changed_at is None or not _saved(now, billing_opened_at, method_changed_at):
            unpaid = any(map(_is_sent, owned)) or any(one.sends_overdue for one in subscriptions)
            return Notice(Tone.UNPAID if unpaid else Tone.WELL, observed=observed)
        before = live_since is not None and method_changed_at < live_since
        return Notice(Tone.SAVED, observed=observed, left_alone=observed or before)
    tone = Tone(asked[0].state.value)
    asking = tone not in (Tone.SETTLING, Tone.PENDING)
    returning = (
        asking
        and billing_opened_at is not None
        and now - billing_opened_at < RETURNING_FOR
        and not _answered_since(invoices, billing_opened_at)
        and not any(line.new_method for line in asked)
    )
    return Notice(tone, asked, returning, observed)


def _is_sent(owned: OwnedInvoice) -> bool:
    """Whether it is an open invoice that the customer pays by hand."""
    invoice = owned.invoice
    return (
        invoice.status == InvoiceStatus.OPEN
        and invoice.collection_method == SENT
        and invoice.amount_remaining > 0
        and not payment_under_way(invoice)
    )


def _saved(
    now: dt.datetime, billing_opened_at: dt.datetime | None, method_changed_at: dt.datetime
) -> bool:
    """Whether the customer has replaced their payment method from here, lately. What the business or Stripe set
    without them is no news to confirm."""
    if billing_opened_at is None:
        return False
    after_the_click = method_changed_at >= billing_opened_at - STRIPE_RESOLUTION
    return after_the_click and now - method_changed_at < SAVED_FOR


def _answered_since(invoices: Iterable[Invoice], opened_at: dt.datetime) -> bool:
    """Whether a failure has come since Stripe's page was opened: then the news is here, and it is bad."""
    return any(each.last_failed_at and each.last_failed_at > opened_at for each in invoices)


def _line(
    owned: OwnedInvoice, state: State, step: NextStep, now: dt.datetime, left_alone: bool
) -> Line:
    invoice = owned.invoice
    paid = state is State.PAID
    return Line(
        state=state,
        amount=settlement(invoice).paid if paid else invoice.amount_remaining,
        currency=invoice.currency,
        number=invoice.number,
        since=None if paid else invoice.first_failed_at,
        next_attempt=owned.retry_plan(now).at,
        method=invoice.failed_method if state in DECLINES else None,
        step=step,
        tried_again=state is State.PENDING and (invoice.debit_under_way or left_alone),
        invoice_id=owned.invoice_id,
        purpose=invoice.purpose,
        purpose_more=invoice.purpose_more,
        missing=invoice.decline is Decline.NO_PAYMENT_METHOD,
        new_method=left_alone and state in DECLINES and invoice.retrying_since is not None,
    )
