"""The loop closes: a new card pays what is open, now, and is charged from now on.

Stripe's portal changes only the customer's default payment method; retries charge the subscription's own first.
So the old, declined card would go on being charged after the customer has given a new one. Here the customer's
subscriptions are pointed at the new card and what is owed is paid with it.

A change of card is a row that Stripe's events join; each try is a row too, written before Stripe is asked, and both name
the idempotency key (docs/adr/0017-a-change-of-card-is-a-row.md). No call to Stripe stands inside a transaction. Whatever
dies, and whenever: the lease runs out, and who goes on finds in the rows what was asked, and at Stripe what came of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session

from services.billing.domain.accounts import Way
from services.billing.domain.changes import Change, Wish
from services.billing.domain.errors import PlatformMayNot, StripeKeyRefused
from services.billing.domain.paying import (
    Invoice,
    Payment,
    Subscription,
)
from services.billing.domain.platform_limits import may_change
from services.billing.handlers import kept_methods
from services.billing.handlers.dashboard import subscription_page
from services.billing.ports import Businesses, BusinessMode, PaymentGateway
from services.billing.queries import accounts, inbox, payment_method_changes, payment_tries
from services.billing.workflows.card_tries import CardTries
from services.billing.workflows.change_plans import ChangePlanner, Plan, Run
from services.billing.workflows.customer_lease import CustomerLease, lease_of
from services.billing.workflows.invoice_reports import invoices_heard
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.invoices import (
    MADE_BY_ITSELF,
    MethodChange,
    SubscriptionState,
    may_collect,
)
from shared.contracts.rpc.errors import (
    StripeRefused,
    StripeUnavailable,
)
from shared.database import Transactions
from shared.events import PaymentMethodChanged

PAUSES: Final = tuple(dt.timedelta(seconds=pause) for pause in (20, 60, 300, 900))
"""How long after each run somebody goes on with a change that is still open; then at the last pace."""
NOT_SERVED_PAUSE: Final = dt.timedelta(hours=1)
"""How often it is looked whether an account is served again; letting it in ends the wait at once. So one that is let in, which this
process only hasn't seen yet, has no pause: nobody would end it."""
MOST_DUE: Final = 100
"""Accounts, or changes of one, that one look for work finds: more than there are customers in somebody's hands."""


@dataclass
class Report:
    """What a run did, for the log."""

    run: Run
    change_id: str | None = None
    payments: dict[str, Payment] = field(default_factory=dict)
    pointed: list[str] = field(default_factory=list)
    not_pointed: list[str] = field(default_factory=list)
    """Subscriptions whose own default Stripe would not change."""
    kept: list[str] = field(default_factory=list)
    """Those of them that a platform may not change: somebody else has to."""


def wish_of(
    session: Session, stripe_event_id: str, set_at: dt.datetime, data: PaymentMethodChanged
) -> Wish | None:
    """What our own event means; None where it names no card. Stripe's type of it stands in the inbox."""
    if data.payment_method_id is None:
        return None
    scope = data.invoice_id or data.subscription_id or ""
    account = Account(data.account)
    return Wish(
        account=account,
        event_id=stripe_event_id,
        kind=inbox.type_of(session, StripeId(account, stripe_event_id))
        or ("customer.subscription.updated" if scope else "customer.updated"),
        stripe_customer_id=data.stripe_customer_id,
        payment_method=data.payment_method_id,
        scope=scope,
        set_at=set_at,
    )


def recover(
    database: Transactions,
    gateway: PaymentGateway,
    wish: Wish,
    *,
    businesses: Businesses,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Report:
    """Take what one of Stripe's events tells of a card, and carry out the change that it belongs to.

    `holder` names this run. Raises CustomerBusy when somebody else has the customer: the event must come again. Raises
    StripeUnavailable, StripeKeyRefused or PortalUnavailable once the change is a row: `resume` goes on with it. Declines and
    confirmations (SCA) are outcomes, recorded in `payment_tries`; so is what is not charged since the business observes.
    """
    with lease_of(database, wish.customer, holder, clock) as lease:
        with lease.kept() as session:
            change = _join(session, wish, clock())
        if change is None or change.closed_at is not None:
            return Report(Run.KNOWN, change.id if change else None)
        return _Recovery(database, gateway, businesses, change, lease, clock).run()


def leave(
    database: Transactions,
    wish: Wish,
    *,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> None:
    """Take what one of Stripe's events tells of a card, and leave carrying it out to `resume`, at once. Raises CustomerBusy as
    `recover` does."""
    with lease_of(database, wish.customer, holder, clock) as lease, lease.kept() as session:
        change = _join(session, wish, clock())
        if change is not None and change.closed_at is None:
            payment_method_changes.postpone(session, change.name, clock())


def keep(
    database: Transactions,
    wish: Wish,
    *,
    livemode: bool,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> None:
    """Let a wish wait whose account this process does not serve: it is carried out once that is let in again, or at once by who knows
    already that it is. `livemode`: the mode of our key. Raises CustomerBusy as `recover` does."""
    with lease_of(database, wish.customer, holder, clock) as lease, lease.kept() as session:
        let_in = accounts.is_let_in(session, wish.account, livemode=livemode)
        change = _join(session, wish, clock())
        if change is not None and change.closed_at is None and not let_in:
            payment_method_changes.postpone(session, change.name, clock() + NOT_SERVED_PAUSE)


def accounts_due(
    database: Transactions, now: dt.datetime, *, beside: Collection[str] = frozenset()
) -> list[Account]:
    """Accounts with changes that wait for somebody to go on with them, without those in `beside`: the own one, then who has waited longest."""
    with database.reading() as session:
        return payment_method_changes.accounts_due(session, now, beside, MOST_DUE)


def due(database: Transactions, account: Account, now: dt.datetime) -> list[StripeId]:
    """An account's changes that wait for somebody to go on with them: postponed, or left by a run that Stripe or a death ended."""
    with database.reading() as session:
        return payment_method_changes.due_changes(session, account, now, MOST_DUE)


def put_off(database: Transactions, change: StripeId, now: dt.datetime, *, livemode: bool) -> None:
    """Let a change wait whose account this process does not serve: it goes on once that is let in again. Where it is already it stays
    due, for this process or another one. `livemode`: the mode of our key."""
    with database.transaction() as session:
        if not accounts.is_let_in(session, change.account, livemode=livemode):
            payment_method_changes.postpone(session, change, now + NOT_SERVED_PAUSE)


def resume(
    database: Transactions,
    gateway: PaymentGateway,
    name: StripeId,
    *,
    businesses: Businesses,
    holder: str,
    clock: Callable[[], dt.datetime],
) -> Report:
    """Go on with a change. Raises as `recover` does."""
    with database.reading() as session:
        change = payment_method_changes.change(session, name)
    if change is None:  # erased meanwhile
        return Report(Run.GONE, name.id)
    with lease_of(database, change.customer, holder, clock) as lease:
        with lease.kept() as session:
            change = payment_method_changes.change(session, name)
        if change is None or change.closed_at is not None:
            return Report(Run.KNOWN, name.id)
        return _Recovery(database, gateway, businesses, change, lease, clock).run()


def _join(session: Session, wish: Wish, now: dt.datetime) -> Change | None:
    """The change that the event belongs to; None where a release before this one has carried it out."""
    known = payment_method_changes.change_told_by(session, wish.event)
    if known is not None:
        return known
    latest = payment_method_changes.latest_change(session, wish.customer, wish.payment_method)
    if latest is not None and latest.includes(wish):
        return payment_method_changes.join_change(session, latest, wish, now)
    if _done_by_another_release(session, wish, latest, now):
        return None
    return payment_method_changes.open_change(session, wish, now)


def _done_by_another_release(
    session: Session, wish: Wish, latest: Change | None, now: dt.datetime
) -> bool:
    """Whether a replica that writes no changes has tried the card since it was set, while both run side by side."""
    if latest is not None and latest.closed_at is None:
        return False
    runs = payment_tries.recent_runs(session, wish.customer, wish.payment_method, now)
    return any(
        finished >= wish.set_at
        and not (latest and latest.closed_at and finished <= latest.closed_at)
        for scope, finished in runs.items()
        if scope in ("", wish.scope)
    )


class _Recovery:
    """One run of one change, while its customer is ours."""

    def __init__(
        self,
        database: Transactions,
        gateway: PaymentGateway,
        businesses: Businesses,
        change: Change,
        lease: CustomerLease,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._businesses = businesses
        self._change = change
        self._planner = ChangePlanner(gateway, change)
        self._lease = lease
        self._clock = clock
        self._tries = CardTries(database, gateway, change, lease, clock)
        self._report = Report(Run.DONE, change.id, self._tries.payments)
        self._subscriptions: dict[str, SubscriptionState | None] = {}
        """How subscriptions stand, as far as they were asked about."""
        self._modes: dict[str, BusinessMode] = {}
        """How businesses work, by on whose behalf Stripe charges, as far as that was asked."""

    def run(self) -> Report:
        with self._lease.kept() as session:
            payment_method_changes.begin_run(session, self._change.name, self._clock(), PAUSES)
        plans = self._planner.plans()
        if isinstance(plans, Run):
            self._report.run = plans
            plans = []
        self._tries.learn_fates(own_keys=bool(plans))
        for plan in plans:
            self._carry_out(plan)
        held = self._tries.held_up()
        if held:
            raise StripeUnavailable(f"not known what became of {', '.join(held)}")
        self._end()
        return self._report

    def _end(self) -> None:
        with self._lease.kept() as session:
            if self._tries.waits:
                self._report.run = Run.POSTPONED
                payment_method_changes.postpone(session, self._change.name, max(self._tries.waits))
            else:
                if self._report.run is Run.DONE and self._only_observed:
                    self._report.run = Run.OBSERVED
                payment_method_changes.close_change(
                    session, self._change.name, self._report.run, self._clock()
                )

    # -- whose business observes ------------------------------------------------------------------------------

    def _mode(self, on_behalf_of: str) -> BusinessMode:
        """How the business works for which Stripe charges on this one's behalf. Raises PortalUnavailable."""
        if on_behalf_of not in self._modes:
            customer = StripeCustomer(*self._change.customer, on_behalf_of)
            (self._modes[on_behalf_of],) = self._businesses.modes([customer])
        return self._modes[on_behalf_of]

    def _acts_for(self, on_behalf_of: str) -> bool:
        """Whether Stripe may be written to for what is charged on this one's behalf. Raises PortalUnavailable."""
        return self._mode(on_behalf_of).acts_on(self._change.set_at)

    @property
    def _only_observed(self) -> bool:
        """Whether all that there was to do, if anything, was of businesses that observe."""
        if not self._modes:
            return self._businesses.all_observe
        return not any(mode.acts_on(self._change.set_at) for mode in self._modes.values())

    # -- carrying it out --------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan) -> None:
        change = self._change
        for subscription_id in plan.point:
            subscription = self._planner.subscriptions[subscription_id]
            if self._acts_for(subscription.on_behalf_of):
                self._lease.keep()
                self._point(subscription)
        with self._database.reading() as session:
            answered = payment_tries.answered_invoices(session, change.name)
            runs = payment_tries.recent_runs(
                session, change.customer, change.payment_method, self._clock()
            )
        open_ones = self._gateway.open_invoices(change.stripe_customer_id, plan.subscription_id)
        for invoice in filter(plan.is_for, open_ones):
            if invoice.id in answered or not self._may_collect(invoice):
                continue
            if not self._acts_for(invoice.on_behalf_of):
                self._tries.observe(invoice)
                continue
            if self._tries.goes_on(invoice, plan):
                continue
            scopes = (invoice.subscription_id, invoice.id)
            until = change.waits_until(runs, scopes, self._clock())
            if until is not None:
                self._tries.waits.append(until)
            else:
                self._tries.begin(invoice, plan)
        if plan.scope == "" and self._gateway.way is Way.CONNECTED and self._acts_for(""):
            self._note_kept()

    def _point(self, subscription: Subscription) -> None:
        """Have it charged to the new card. Where it can't be, what is owed is paid all the same."""
        gateway = self._gateway
        try:
            if not may_change(subscription, gateway.way, gateway.application):
                raise PlatformMayNot(f"{subscription.id} was made by {subscription.application}")
            gateway.set_subscription_default(subscription.id, self._change.payment_method)
        except PlatformMayNot:
            self._report.not_pointed.append(subscription.id)
            self._report.kept.append(subscription.id)
        except StripeKeyRefused:
            raise
        except StripeRefused:
            # Ended meanwhile, or takes no such card.
            self._report.not_pointed.append(subscription.id)
        else:
            self._report.pointed.append(subscription.id)

    def _note_kept(self) -> None:
        """Watch the subscriptions that are not charged to the new card, and have it said."""
        kept = [self._planner.subscriptions[one] for one in self._report.kept]
        with self._lease.kept() as session:
            kept_methods.note_kept(
                session,
                self._change,
                [(one, subscription_page(self._gateway, one.id)) for one in kept],
                livemode=self._gateway.livemode,
                now=self._clock(),
            )

    def _may_collect(self, invoice: Invoice) -> bool:
        """Whether the new card may be charged for it: nothing that Stripe or the business stopped collecting is.

        Stripe tells whether it goes on by itself, and not whether it ever did, nor when a charge failed: that is in its
        webhooks. Without them (it failed before we heard of it) a subscription's renewals went on by themselves, whether it goes on is as
        it was just read, and it may have failed just now.
        """
        if not invoice.collectable:
            return False
        if not self._planner.takes(
            invoice.defaults, self._planner.methods.get(invoice.subscription_id or "")
        ):
            return False
        with self._database.reading() as session:
            heard = invoices_heard(
                session, self._change.account, [invoice.id], livemode=self._gateway.livemode
            )
        known = heard.get(invoice.id)
        failed_at = known.last_failed_at if known else None
        by_itself = known is not None and known.was_advancing
        told_at = known.auto_advance_as_of if known and known.auto_advance else None
        if self._change.came_about is MethodChange.RENEWED:
            line = self._mode(invoice.on_behalf_of).live_since
            if line is not None and (failed_at is None or failed_at < line):
                return False  # from before the line, and nobody has given the card for it
        if failed_at is None:
            by_itself = by_itself or invoice.billing_reason in MADE_BY_ITSELF
            failed_at = told_at = self._clock()
        return may_collect(
            invoice.with_changes(
                was_advancing=by_itself,
                last_failed_at=failed_at,
                auto_advance_as_of=told_at,
            ),
            self._subscription(invoice.subscription_id),
            self._change.came_about,
            attempted=invoice.attempted,
        )

    def _subscription(self, subscription_id: str | None) -> SubscriptionState | None:
        if subscription_id is None:
            return None
        if subscription_id not in self._subscriptions:
            found = self._gateway.subscription(subscription_id)
            self._subscriptions[subscription_id] = found.state if found else None
        return self._subscriptions[subscription_id]
