"""Which failure becomes an email, and whether it is still right when it goes out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.notifier.domain.incidents import CLOSED_BECAUSE, Incident
from services.notifier.domain.kinds import DUNNING, Kind
from services.notifier.domain.vocabulary import Reason
from shared.contracts.invoices import (
    Ending,
    Invoice,
    InvoiceStatus,
    Retry,
    Stop,
    SubscriptionState,
    at_checkout,
    collection_stopped,
    ending,
    settlement,
)
from shared.contracts.next_steps import wants_confirmation
from shared.contracts.observations import Observation
from shared.contracts.payments import Decline


@dataclass(frozen=True)
class Send:
    """Write to the customer."""

    kind: Kind


@dataclass(frozen=True)
class Suppress:
    """Write nothing, and record why."""

    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What tells one failed charge of an invoice from another."""

    attempt: int
    """Stripe's `attempt_count`, which only its own schedule raises."""
    charge_id: str | None = None
    """The charge that failed, where Stripe could be asked and there was one."""
    next_payment_attempt: dt.datetime | None = None
    """The date that the failure's event named."""
    payment_method_id: str | None = None
    """What was charged, where Stripe could be asked."""


def is_told(failure: Failure, told: Iterable[Failure]) -> Reason | None:
    """Why this failure is no news to somebody who was told of those; None: it is.

    A failure is a charge that failed. Stripe uses a payment intent again from try to try, and a debit made by API raises no
    count when it fails days later. Where a charge isn't known (no card; Stripe away; told by an earlier release), the
    attempt and the date of the next one tell failures apart; a date that isn't known is no difference.
    """
    for each in told:
        if failure.charge_id is not None and each.charge_id is not None:
            if failure.charge_id == each.charge_id:
                return Reason.SAME_CHARGE
        elif failure.attempt == each.attempt:
            dates = {failure.next_payment_attempt, each.next_payment_attempt} - {None}
            if len(dates) < 2:
                return Reason.SAME_ATTEMPT
    return None


def is_replacement(failure: Failure, told: Sequence[Failure]) -> bool:
    """Whether another payment method failed than the one the customer was last told of: they have acted since, so this
    is an answer and no reminder."""
    last = told[-1].payment_method_id if told else None
    return None not in (last, failure.payment_method_id) and last != failure.payment_method_id


@dataclass(frozen=True, kw_only=True)
class PriorNotices:
    """What the customer has been told about the invoice, and what is about to be."""

    this_attempt: bool = False
    """An email about this attempt exists."""
    under_way: bool = False
    """An email about the invoice waits to be sent."""
    customer_deleted: bool = False


def decide(seen: Observation, incident: Incident, told: PriorNotices) -> Send | Suppress:
    """Does this failed charge concern the customer? When the email goes out is `reminders.when`'s.

    `incident` is the invoice's story with this event merged in.
    """
    not_ours = _not_an_autopay_failure(seen, incident)
    if not_ours is not None:
        return Suppress(not_ours)
    if told.customer_deleted:
        return Suppress(Reason.CUSTOMER_DELETED)
    if incident.closed_because is not None:
        return Suppress(incident.closed_because)
    if seen.attempt_count < incident.attempt_count:
        return Suppress(Reason.OVERTAKEN)
    if told.under_way:
        return Suppress(Reason.SAME_ATTEMPT if told.this_attempt else Reason.UNDER_WAY)
    if seen.action_required:
        return Send(Kind.PAYMENT_ACTION_REQUIRED)
    return Send(Kind.PAYMENT_REMINDER if incident.last_mailed_at else Kind.PAYMENT_FAILED)


def _not_an_autopay_failure(seen: Observation, incident: Incident) -> Reason | None:
    """Stripe's own signs that nobody needs an email (facts in Stripe's "Subscription invoices" guide)."""
    if seen.own_retry:
        return Reason.OWN_RETRY
    if seen.collection_method != "charge_automatically":
        return Reason.NOT_AUTOPAY
    if at_checkout(incident, seen.at):
        return Reason.AT_CHECKOUT
    if seen.status != InvoiceStatus.OPEN:
        return CLOSED_BECAUSE.get(seen.status, Reason.NOT_OPEN)
    if seen.amount_remaining <= 0:
        return Reason.NOTHING_OWED
    return None


def wants_recovered_email(incident: Incident) -> bool:
    """Someone who was told that a payment failed is told that it is paid; nobody else is bothered. What was let go by a
    credit note was not paid: nobody gets a receipt for money that did not come in."""
    return (
        incident.status == InvoiceStatus.PAID
        and incident.last_mailed_at is not None
        and not settlement(incident).is_waived
    )


@dataclass(frozen=True, kw_only=True)
class InvoiceNow:
    """The invoice as billing knows it now. Every field can be unknown."""

    status: InvoiceStatus | None = None
    amount_remaining: int | None = None
    next_payment_attempt: dt.datetime | None = None
    number: str | None = None
    purpose: str | None = None
    """What it is for, one line."""
    purpose_more: int = 0
    """How many other things it is for."""
    decline: Decline | None = None
    needs_new_method: bool = False
    """After this decline Stripe charges nothing until there is a new payment method."""
    auto_advance: bool | None = None
    """Whether Stripe goes on collecting by itself; None: not known."""
    processing: bool = False
    """A payment is under way, whose outcome takes days (bank debits)."""
    charge_id: str | None = None
    """The charge that failed last."""
    payment_method_id: str | None = None
    """What that charge was made to."""
    subscription_status: str | None = None
    subscription_end_reason: str | None = None
    """Stripe's `cancellation_details.reason`: `payment_failed`, `cancellation_requested`, …"""
    subscription_ended_at: dt.datetime | None = None
    heard: bool = False
    """Put together from what Stripe's webhooks have told, not read at Stripe: what is missing may be on its way."""

    @property
    def subscription(self) -> SubscriptionState | None:
        """The subscription behind it, as far as it is known."""
        if self.subscription_status is None:
            return None
        return SubscriptionState(
            self.subscription_status, self.subscription_end_reason, self.subscription_ended_at
        )

    @property
    def ended_unpaid(self) -> bool:
        """Stripe itself ended the subscription because this kind of charge failed to the last."""
        return self.subscription is not None and self.subscription.ended_unpaid


def as_it_stands(incident: Incident, fresh: InvoiceNow | None) -> Incident:
    """The invoice's story with what was just read of it on top."""
    if fresh is None:
        return incident
    next_attempt = fresh.next_payment_attempt
    if next_attempt is None and (fresh.heard or fresh.status is None):
        next_attempt = incident.next_payment_attempt  # not read, so not withdrawn either
    stands: dict[str, Any] = {
        "status": fresh.status or incident.status,
        "amount_remaining": incident.amount_remaining
        if fresh.amount_remaining is None
        else fresh.amount_remaining,
        "next_payment_attempt": next_attempt,
        "auto_advance": incident.auto_advance if fresh.auto_advance is None else fresh.auto_advance,
        "was_advancing": incident.was_advancing or fresh.auto_advance is True,
        "number": fresh.number or incident.number,
        "purpose": fresh.purpose or incident.purpose,
        "purpose_more": fresh.purpose_more if fresh.purpose else incident.purpose_more,
    }
    # Mostly it stands as events have told, and is asked for several times an email: a copy is 36 fields.
    news = {name: value for name, value in stands.items() if getattr(incident, name) != value}
    return incident.with_changes(**news) if news else incident


def how_it_ended(
    incident: Incident | None, fresh: InvoiceNow | None, now: dt.datetime
) -> Ending | None:
    """How collecting the invoice ended, as far as is known now; None while it may go on."""
    if incident is None or fresh is None or fresh.processing:
        return None
    known = as_it_stands(incident, fresh)
    return ending(known, fresh.subscription, now=now, waited=incident.waited(now))


STOPPED_BECAUSE: Final = {
    Stop.SUBSCRIPTION_ENDED: Reason.SUBSCRIPTION_ENDED,
    Stop.TURNED_OFF: Reason.COLLECTION_STOPPED,
}


def recheck(kind: Kind, incident: Incident | None, fresh: InvoiceNow | None) -> Reason | None:
    """Why an email that was right when it was written down must not go out now; None: send it."""
    if kind is Kind.COLLECTION_ENDED:
        return _nothing_unpaid(incident, fresh)
    if kind not in DUNNING:
        return None
    if incident is not None and incident.closed_because is not None:
        return incident.closed_because
    if fresh is None:
        return None
    if fresh.status is not None and fresh.status in CLOSED_BECAUSE:
        return CLOSED_BECAUSE[fresh.status]
    if fresh.amount_remaining is not None and fresh.amount_remaining <= 0:
        return Reason.NOTHING_OWED
    if fresh.processing:
        return Reason.PAYMENT_UNDER_WAY
    known = as_it_stands(incident, fresh) if incident is not None else Invoice()
    if at_checkout(known, known.last_failed_at, fresh.subscription):
        return Reason.AT_CHECKOUT
    stop = collection_stopped(known, fresh.subscription)
    return STOPPED_BECAUSE[stop] if stop is not None else None


def _nothing_unpaid(incident: Incident | None, fresh: InvoiceNow | None) -> Reason | None:
    """Why the business need not hear how collecting ended. A bad debt may be Stripe's own doing, by the account's setting for
    the end of the tries: then the subscription says so, which only Stripe tells."""
    known = as_it_stands(incident, fresh) if incident is not None else Invoice()
    given_up = fresh is None or fresh.subscription is None or fresh.subscription.given_up
    if known.status == InvoiceStatus.UNCOLLECTIBLE and given_up:
        return None
    closed = CLOSED_BECAUSE.get(known.status)
    if closed is None and incident is not None and known.amount_remaining <= 0:
        return Reason.NOTHING_OWED
    return closed


def effective_kind(
    kind: Kind,
    incident: Incident | None,
    fresh: InvoiceNow | None,
    schedule: Retry,
    *,
    by_hand: bool = False,
) -> Kind:
    """The email that fits what is known now: one incident has one right action, confirm or replace the card. One that a person has sent
    again (`by_hand`) stays what it was as long as that is so."""
    if kind not in DUNNING:
        return kind
    asked = kind is Kind.PAYMENT_ACTION_REQUIRED
    if wants_confirmation(asked, fresh.decline if fresh else None):
        return Kind.PAYMENT_ACTION_REQUIRED
    if by_hand:
        still_so = kind is Kind.PAYMENT_REMINDER or (
            kind is Kind.PAYMENT_LAST_ATTEMPT and schedule is Retry.OVER
        )
        return kind if still_so else Kind.PAYMENT_FAILED
    if incident is None or incident.last_mailed_at is None:
        return Kind.PAYMENT_FAILED
    return Kind.PAYMENT_LAST_ATTEMPT if schedule is Retry.OVER else Kind.PAYMENT_REMINDER
