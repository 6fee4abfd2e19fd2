"""The loop closes: a new card pays what is open, now, and is charged from now on.

Stripe's portal changes only the customer's default payment method; retries charge the subscription's own first.
So the old, declined card would go on being charged after the customer has given a new one. Here the customer's
subscriptions are pointed at the new card and what is owed is paid with it.

No call to Stripe stands inside a transaction. Whatever dies, and whenever: the idempotency key makes paying again
harmless, the lease runs out, and the event is delivered again.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.orm import Session

from services.billing import queries
from services.billing.domain import (
    Invoice,
    Payment,
    PayOutcome,
    StripeRefused,
    StripeUnavailable,
    UnknownInvoice,
    UnknownStripeCustomer,
    pay_key,
)
from services.billing.ports import PaymentGateway
from shared.database import Transactions
from shared.events import PaymentMethodChanged

LEASE: Final = dt.timedelta(minutes=2)
"""Longer than the longest single call to Stripe with its retries; renewed before each."""
ONCE_IN: Final = dt.timedelta(hours=1)
"""A card is tried at most this often on what a customer owes."""


class CustomerBusy(Exception):
    """Another worker is trying a card for this customer; the event comes back later."""


class Run(enum.StrEnum):
    """Why a run did what it did."""

    DONE = "done"
    RECENT = "recent"
    """The card was tried within the hour."""
    NO_CARD = "no_card"
    """There is no default to pay with, or the event's card is not the one that would be charged."""
    GONE = "gone"
    """The customer or the subscription does not exist any more."""


@dataclass
class Report:
    """What a run did, for the log."""

    run: Run
    payments: dict[str, Payment] = field(default_factory=dict)
    pointed: list[str] = field(default_factory=list)
    not_pointed: list[str] = field(default_factory=list)
    """Subscriptions whose own default Stripe would not change."""


@dataclass(frozen=True)
class _Plan:
    """Which card, for what, and which subscriptions must learn of it."""

    payment_method: str
    scope: str
    """Empty: everything the customer owes; else one subscription's id."""
    point: tuple[str, ...] = ()


def recover(
    database: Transactions,
    gateway: PaymentGateway,
    change: PaymentMethodChanged,
    *,
    set_at: dt.datetime,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Report:
    """Point subscriptions at the new card and pay what is owed with it.

    `set_at` is when the card was set, by Stripe's clock; `holder` names this run. Raises CustomerBusy, or StripeUnavailable or StripeRefused after which the event
    must be tried again; declines and confirmations (SCA) are outcomes, recorded in `recoveries`.
    """
    customer_id = change.stripe_customer_id
    lease = _Lease(database, customer_id, holder, clock)
    lease.keep()
    try:
        plans = _plans(gateway, change)
        if isinstance(plans, Run):
            return Report(plans)
        report = Report(Run.RECENT)
        for plan in plans:
            _carry_out(database, gateway, customer_id, plan, set_at, report, lease, clock)
        return report
    finally:
        lease.release()


def _plans(gateway: PaymentGateway, change: PaymentMethodChanged) -> list[_Plan] | Run:
    """What to do, from what Stripe says now: the event is only a hint, and may be old."""
    if change.subscription_id is not None:
        subscription = gateway.subscription(change.subscription_id)
        if subscription is None or subscription.stripe_customer_id != change.stripe_customer_id:
            return Run.GONE
        card = subscription.default_payment_method
        if card is None or card != (change.payment_method_id or card):
            return Run.NO_CARD
        return [_Plan(card, scope=subscription.id)]
    try:
        customer = gateway.customer(change.stripe_customer_id)
    except UnknownStripeCustomer:
        return Run.GONE
    card = customer.default_payment_method
    subscriptions = gateway.subscriptions(customer.id)
    if card is not None and card == (change.payment_method_id or card):
        point = tuple(one.id for one in subscriptions if one.has_another_default(card))
        return [_Plan(card, scope="", point=point)]
    # A card that the bank replaced may be the own default of a subscription instead of the customer's.
    named = change.payment_method_id
    own = [one for one in subscriptions if named and one.default_payment_method == named]
    return [_Plan(str(named), scope=one.id) for one in own] or Run.NO_CARD


def _carry_out(
    database: Transactions,
    gateway: PaymentGateway,
    customer_id: str,
    plan: _Plan,
    set_at: dt.datetime,
    report: Report,
    lease: _Lease,
    clock: Callable[[], dt.datetime],
) -> None:
    for subscription_id in plan.point:
        lease.keep()
        try:
            gateway.point_subscription(subscription_id, plan.payment_method)
        except (
            StripeRefused
        ):  # ended meanwhile, or takes no such card: no reason not to pay what is owed
            report.not_pointed.append(subscription_id)
        else:
            report.pointed.append(subscription_id)
    with database.reading() as session:
        since = clock() - ONCE_IN
        if queries.ran_since(session, customer_id, plan.payment_method, plan.scope, since):
            return
    report.run = Run.DONE
    for invoice in gateway.open_invoices(customer_id, plan.scope or None):
        if not invoice.collectable:
            continue
        lease.keep()
        payment = _pay(gateway, invoice, plan.payment_method, max(set_at, since))
        report.payments[invoice.id] = payment
        with database.transaction() as session:
            queries.record_recovery(
                session,
                stripe_customer_id=customer_id,
                invoice_id=invoice.id,
                payment_method=plan.payment_method,
                attempt=invoice.attempt_count,
                payment=payment,
                now=clock(),
            )
    with database.transaction() as session:
        queries.finish_run(session, customer_id, plan.payment_method, plan.scope, clock())


def _pay(
    gateway: PaymentGateway, invoice: Invoice, payment_method: str, since: dt.datetime
) -> Payment:
    """Pay one invoice. What Stripe refuses to try is looked at again: paid or closed by now is not an error."""
    if _was_tried(gateway, invoice, payment_method, since):
        return Payment(PayOutcome.ALREADY_TRIED)
    key = pay_key(invoice.id, payment_method, invoice.attempt_count)
    try:
        return gateway.pay(invoice.id, payment_method, key)
    except StripeRefused as error:
        try:
            status = gateway.invoice(invoice.id).status
        except UnknownInvoice:
            return Payment(PayOutcome.CLOSED)
        if status == "paid":
            return Payment(PayOutcome.ALREADY_PAID)
        if status != "open":
            return Payment(PayOutcome.CLOSED, status)
        return Payment(PayOutcome.REFUSED, str(error))


def _was_tried(
    gateway: PaymentGateway, invoice: Invoice, payment_method: str, since: dt.datetime
) -> bool:
    """Whether Stripe's own attempt came between the new card and us, and failed with that card.

    A failure from before the card was set says nothing: the bank may have renewed the card behind the same id, or the
    customer came back to it. Best effort: where Stripe does not tell, one charge too many is declined once
    more, while one too few would leave an invoice unpaid.
    """
    try:
        problem = gateway.payment_problem(invoice.id)
    except (StripeUnavailable, StripeRefused):
        return False
    return problem is not None and problem.answers(payment_method, since)


class _Lease:
    """One customer at a time, over all replicas: a row that says who, and until when."""

    def __init__(
        self,
        database: Transactions,
        customer_id: str,
        holder: str,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._database = database
        self._customer_id = customer_id
        self._holder = holder
        self._clock = clock

    def keep(self) -> None:
        """Take it, or stay in it. Raises CustomerBusy when somebody else has it."""
        now = self._clock()
        with self._database.transaction() as session:
            mine = queries.take_lease(session, self._customer_id, self._holder, now, now + LEASE)
        if not mine:
            raise CustomerBusy(f"another card is being tried for {self._customer_id}")

    def release(self) -> None:
        with self._database.transaction() as session:
            queries.release_lease(session, self._customer_id, self._holder)


def recoveries(
    session: Session, *, stripe_customer_id: str | None, invoice_id: str | None, limit: int
) -> list[dict[str, Any]]:
    """Tries for people, newest first."""
    return [
        {
            "stripe_customer_id": row.stripe_customer_id,
            "invoice_id": row.invoice_id,
            "payment_method_id": row.payment_method_id,
            "attempt": row.attempt,
            "outcome": row.outcome,
            "detail": row.detail,
            "at": row.at.isoformat(),
        }
        for row in queries.recoveries(
            session, stripe_customer_id=stripe_customer_id, invoice_id=invoice_id, limit=limit
        )
    ]
