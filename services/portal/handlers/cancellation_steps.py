"""What follows from a request to cancel: the business is asked, the end is planned, and the customer told.

The row of a request is the schedule: each step is done from there, again until it succeeds, whoever was away.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.domain.cancelling import (
    REMIND_AFTER,
    ByHand,
    Step,
    next_step,
    pause_after,
)
from services.portal.handlers.cancelling import Request, carried_out, read_request, reopen
from services.portal.metrics import CANCELLATIONS
from services.portal.models import (
    BusinessRow,
    CancellationRequestRow,
    CustomerRow,
    SubscriptionRow,
    merchant_of,
)
from services.portal.ports import (
    Billing,
    BillingUnavailable,
    Mail,
    MailUnavailable,
    PlannedEnd,
)
from services.portal.queries import behalves, cancellation_requests
from services.portal.texts import texts_in
from shared.contracts.accounts import Account, Merchant, StripeCustomer
from shared.contracts.rpc.errors import BusinessObserves
from shared.database import count_on_commit
from shared.l10n.locales import choose_locale

LEASE: Final = dt.timedelta(minutes=1)
"""Longer than a step may take; a step of a worker that died is tried again after it."""
KINDS_TO_BUSINESS: Final = {
    Step.TELL_BUSINESS: "cancellation_requested",
    Step.ASK_BUSINESS: "cancellation_by_hand",
    Step.REMIND_BUSINESS: "cancellation_by_hand",
}
"""The emails that the business gets."""


@dataclass(frozen=True, slots=True)
class PendingStep:
    """One step that is due, with what it needs."""

    request_id: str
    step: Step
    stripe_customer: StripeCustomer
    subscription_id: str
    customer_id: str
    context: dict[str, Any]
    """For the mail: the request, and the subscription in the reader's language."""
    kind: str


def lease_step(
    session: Session, now: dt.datetime, *, installation_observes: bool = False
) -> PendingStep | None:
    """The next step that is due, leased to the caller; None when nothing is."""
    due = cancellation_requests.due_request(session, now, installation_observes)
    if due is None:
        return None
    found = cancellation_requests.request_with_people(session, due.request_id)
    if found is not None and step_of(due) is Step.CANCEL and _before_the_line(due, found[2]):
        reopen(session, due, now)
    step = step_of(due)
    if step is None or found is None:
        due.next_try_at = None
        return None
    due.next_try_at = now + LEASE
    row, customer, business, subscription = found
    request = read_request(*found, now)
    to_business = step in KINDS_TO_BUSINESS
    again = ":again" if step is Step.REMIND_BUSINESS else ""
    if step is Step.TELL_BUSINESS and due.decided_at is not None:
        again = f":after-{due.decided_at:%Y%m%d%H%M%S}"
    wishes = (business.locale,) if to_business else (customer.locale, business.locale)
    return PendingStep(
        request_id=row.request_id,
        step=step,
        stripe_customer=StripeCustomer(
            Account(row.account),
            row.stripe_customer_id,
            _charged_on_behalf(session, customer, subscription),
        ),
        subscription_id=row.subscription_id,
        customer_id=customer.public_id,
        context={
            "request_id": row.request_id + again,
            "description": describe(request, wishes, now),
            "asked_at": row.asked_at.isoformat(),
            "ends_at": request.ends_at.isoformat() if request.ends_at else None,
        }
        | ({"dashboard_url": request.dashboard_url} if request.dashboard_url else {}),
        kind=KINDS_TO_BUSINESS.get(step, f"cancellation_{row.status}"),
    )


def _before_the_line(row: CancellationRequestRow, business: BusinessRow) -> bool:
    """Whether the business answered before it went live, having observed."""
    line, decided_at = business.live_since, row.decided_at
    return line is not None and decided_at is not None and decided_at < line


def _charged_on_behalf(
    session: Session, customer: CustomerRow, subscription: SubscriptionRow | None
) -> str:
    """On whose behalf Stripe charges a customer's subscription: that of the customer's business, or one that no business names."""
    if subscription is None or not subscription.on_behalf_of:
        return customer.on_behalf_of
    said = Merchant(Account(subscription.account), subscription.on_behalf_of)
    theirs = behalves.merchant(session, said) == merchant_of(customer)
    return said.on_behalf_of if theirs else customer.on_behalf_of


def describe(request: Request, wishes: tuple[str | None, ...], now: dt.datetime) -> str | None:
    """The subscription in a few words of the reader's language; None where nothing is known of it."""
    if request.subscription is None:
        return None
    texts = texts_in(choose_locale(wishes))
    days = texts.days(request.customer_zone, now)
    return texts.subscription(request.subscription, days) or None


def step_of(row: CancellationRequestRow) -> Step | None:
    """What is to be done now for a request; None when nothing is left."""
    return next_step(
        status=row.status,
        business_told=row.business_told_at is not None,
        carried_out=row.carried_out_at is not None,
        customer_told=row.customer_told_at is not None,
        by_hand=_by_hand(row),
    )


def _by_hand(row: CancellationRequestRow) -> ByHand:
    if row.by_hand_at is None:
        return ByHand.NO
    if row.by_hand_told_at is None:
        return ByHand.TO_ASK
    return ByHand.ASKED if row.by_hand_reminded_at is None else ByHand.REMINDED


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a step. `problem` is one word; None: it succeeded."""

    problem: str | None = None
    end: PlannedEnd | None = None
    """Of the step that plans it."""


def run_errand(step_to_do: PendingStep, billing: Billing, mail: Mail) -> Done:
    """Do one step. Call it outside any transaction; doing it twice is harmless on the other side."""
    try:
        if step_to_do.step is Step.CANCEL:
            end = billing.cancel_at_period_end(
                step_to_do.stripe_customer, step_to_do.subscription_id, step_to_do.request_id
            )
            return Done(end=end)
        tell = mail.to_business if step_to_do.step in KINDS_TO_BUSINESS else mail.to_customer
        tell(step_to_do.kind, step_to_do.customer_id, step_to_do.context)
    except (BillingUnavailable, MailUnavailable) as error:
        return Done(problem=error.reason)
    return Done()


def finish_errand(session: Session, step_to_do: PendingStep, done: Done, now: dt.datetime) -> int:
    """Note what came of a step, and when the next one is due; how often this step has failed by now."""
    found = cancellation_requests.request_with_people(session, step_to_do.request_id, lock=True)
    if found is None:
        return 0
    row = found[0]
    if done.problem is not None:
        if step_of(row) is not step_to_do.step:
            return row.tries
        if done.problem == BusinessObserves.__name__:
            reopen(session, row, now)
        else:
            row.tries += 1
            row.last_error = done.problem[:200]
            row.next_try_at = now + pause_after(row.tries)
        return row.tries
    _note_done(session, row, found[3], step_to_do.step, done, now)
    row.tries, row.last_error = 0, None
    follows = step_of(row)
    row.next_try_at = None if follows is None else now
    if follows is Step.REMIND_BUSINESS and row.by_hand_told_at is not None:
        row.next_try_at = row.by_hand_told_at + REMIND_AFTER
    return 0


def _note_done(
    session: Session,
    row: CancellationRequestRow,
    subscription: SubscriptionRow | None,
    step: Step,
    done: Done,
    now: dt.datetime,
) -> None:
    if step is Step.TELL_BUSINESS:
        row.business_told_at = row.business_told_at or now
    elif done.end is not None and done.end.dashboard_url is not None:
        _note_by_hand(session, row, subscription, done.end.dashboard_url, now)
    elif done.end is not None:
        carried_out(session, row, done.end.ends_at, now)
    elif step is Step.ASK_BUSINESS:
        row.by_hand_told_at = row.by_hand_told_at or now
    elif step is Step.REMIND_BUSINESS:
        row.by_hand_reminded_at = row.by_hand_reminded_at or now
    else:
        row.customer_told_at = row.customer_told_at or now


def _note_by_hand(
    session: Session,
    row: CancellationRequestRow,
    subscription: SubscriptionRow | None,
    dashboard_url: str,
    now: dt.datetime,
) -> None:
    """Only the business can plan the end. It may have done so while Stripe was asked: that was said before this was known."""
    if row.by_hand_at is None:
        count_on_commit(session, CANCELLATIONS.labels("by_hand"))
    row.by_hand_at, row.dashboard_url = row.by_hand_at or now, dashboard_url
    if subscription is not None and (subscription.ends_at or subscription.status == "canceled"):
        carried_out(session, row, subscription.ends_at, now)
