"""Cancelling with the business's approval: asked, answered, carried out, and told.

The row of a request is the schedule: each step is done from there, again until it succeeds, whoever was away.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.domain.cancelling import (
    REMIND_AFTER,
    ByHand,
    Decision,
    Step,
    may_ask,
    next_step,
    pause_after,
)
from services.portal.domain.people import new_public_id
from services.portal.domain.snapshot import Snapshot, Subscription
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
from services.portal.queries import customers as people
from services.portal.queries import subscriptions as queries
from services.portal.texts import texts_in
from shared.contracts.accounts import OWN, Account, Merchant, StripeCustomer, StripeId
from shared.contracts.rpc.errors import NotFound, RequestClosed
from shared.database import count_on_commit
from shared.l10n.locales import choose_locale
from shared.mode import OBSERVE

LEASE: Final = dt.timedelta(minutes=1)
"""Longer than a step may take; a step of a worker that died is tried again after it."""
KINDS_TO_BUSINESS: Final = {
    Step.TELL_BUSINESS: "cancellation_requested",
    Step.ASK_BUSINESS: "cancellation_by_hand",
    Step.REMIND_BUSINESS: "cancellation_by_hand",
}
"""The emails that the business gets."""
ANSWERS: Final = {Decision.APPROVE: "approved", Decision.DECLINE: "declined"}


class Asking(StrEnum):
    """What became of a customer's press of the button."""

    ASKED = "asked"
    ALREADY = "already"
    """An open request was there: nothing new was made."""
    NOT_OFFERED = "not_offered"
    """The page doesn't offer it (any more)."""


def subscription_of(snapshot: Snapshot, ref: int) -> Subscription | None:
    """The customer's own subscription behind an address of their page."""
    return next((each for each in snapshot.subscriptions if each.ref == ref), None)


def ask(
    session: Session, snapshot: Snapshot, subscription: Subscription, now: dt.datetime
) -> Asking:
    """Store the request, once while it is open. IntegrityError when somebody stored it in the same moment."""
    if cancellation_requests.open_request(session, subscription.name) is not None:
        return Asking.ALREADY
    customer = people.customer(session, snapshot.customer_id, lock=True)
    stripe_id = snapshot.platform_stripe_customer_id
    if customer is None or stripe_id is None or not may_ask(subscription, snapshot.business, now):
        return Asking.NOT_OFFERED
    session.add(
        CancellationRequestRow(
            account=customer.account,
            request_id=new_public_id(),
            customer_pk=customer.id,
            stripe_customer_id=stripe_id,
            subscription_id=subscription.subscription_id,
            status="open",
            asked_at=now,
            next_try_at=now,
            tries=0,
        )
    )
    session.flush()
    count_on_commit(session, CANCELLATIONS.labels("asked"))
    return Asking.ASKED


@dataclass(frozen=True, slots=True)
class Request:
    """A request with all that its page shows."""

    request_id: str
    status: str
    asked_at: dt.datetime
    decided_at: dt.datetime | None
    ends_at: dt.datetime | None
    """When the subscription ends, or would end if it was approved now; None where that isn't known."""
    customer_name: str
    customer_zone: str
    subscription: Subscription | None
    business: BusinessRow
    waits: bool = False
    """It is approved on an account where Stripe has a say, and has not said yet that the subscription ends."""
    dashboard_url: str | None = None
    """Set where only the business can plan the end: where it does."""
    carried_out: bool = False
    """The end is planned at Stripe."""
    observed: bool = False
    """The business observes by itself: no answer is taken, since a yes would not be carried out, nor would anybody hear of a no."""


def look(session: Session, request_id: str, now: dt.datetime) -> Request | None:
    """A request for its page; None when there is none."""
    found = cancellation_requests.request_with_people(session, request_id)
    return None if found is None else _request(*found, now)


def _request(
    row: CancellationRequestRow,
    customer: CustomerRow,
    business: BusinessRow,
    subscription: SubscriptionRow | None,
    now: dt.datetime,
) -> Request:
    known = None if subscription is None else queries.read_subscription(subscription, now)
    ends_at = row.ends_at
    if ends_at is None and known is not None:
        ends_at = known.ends_at or known.current_period_end
    return Request(
        request_id=row.request_id,
        status=row.status,
        asked_at=row.asked_at,
        decided_at=row.decided_at,
        ends_at=ends_at,
        waits=row.account != OWN and row.carried_out_at is None,
        dashboard_url=row.dashboard_url if row.by_hand_at is not None else None,
        customer_name=customer.name,
        customer_zone=customer.timezone or business.timezone,
        subscription=known,
        business=business,
        carried_out=row.carried_out_at is not None,
        observed=business.mode == OBSERVE,
    )


def decide(
    session: Session,
    request_id: str,
    decision: Decision,
    now: dt.datetime,
    *,
    installation_observes: bool = False,
) -> tuple[Request, bool] | None:
    """The business's answer, once: whoever answers again changes nothing, and nor does who answers while the business observes. True: it
    was this answer that counted."""
    found = cancellation_requests.request_with_people(session, request_id, lock=True)
    if found is None:
        return None
    row, _, business, _ = found
    observed = installation_observes or business.mode == OBSERVE
    counted = row.status == "open" and not observed
    if counted:
        row.status = ANSWERS[decision]
        row.decided_at = now
        row.next_try_at, row.tries, row.last_error = now, 0, None
        session.flush()
        count_on_commit(session, CANCELLATIONS.labels(row.status))
    return _request(*found, now), counted


def open_links_of(session: Session, request_id: str) -> None:
    """Whether links may be made for a request. Raises NotFound, or RequestClosed when it is answered."""
    found = cancellation_requests.request_with_people(session, request_id)
    if found is None:
        raise NotFound("request_id: no such request")
    if found[0].status != "open":
        raise RequestClosed(f"the request is {found[0].status}")


def supersede(session: Session, subscription: StripeId, now: dt.datetime) -> None:
    """The subscription ends, or has ended, without an answer: nobody needs to answer any more."""
    row = cancellation_requests.open_request(session, subscription)
    if row is not None:
        _overtake(session, row, now)


def note_end(
    session: Session, subscription: StripeId, ends_at: dt.datetime | None, now: dt.datetime
) -> None:
    """Stripe says that a subscription ends, or has ended. An open request needs no answer any more, and what the business was
    to do itself is done: the customer can be told."""
    supersede(session, subscription, now)
    for row in cancellation_requests.by_hand_requests(session, subscription):
        _carried_out(session, row, ends_at, now)
        row.next_try_at, row.tries, row.last_error = now, 0, None


def overtake_all(
    session: Session, customer_pk: int, stripe_customer: StripeId, now: dt.datetime
) -> None:
    """The customer is not this Stripe customer any more: what they asked about its subscriptions must not be carried out."""
    for row in cancellation_requests.unfinished_requests(session, customer_pk, stripe_customer):
        _overtake(session, row, now)


def _overtake(session: Session, row: CancellationRequestRow, now: dt.datetime) -> None:
    row.status, row.decided_at, row.next_try_at = "overtaken", now, None
    count_on_commit(session, CANCELLATIONS.labels("overtaken"))


# The steps


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


def lease_step(session: Session, now: dt.datetime) -> PendingStep | None:
    """The next step that is due, leased to the caller; None when nothing is."""
    due = cancellation_requests.due_request(session, now)
    if due is None:
        return None
    found = cancellation_requests.request_with_people(session, due.request_id)
    step = step_of(due)
    if step is None or found is None:
        due.next_try_at = None
        return None
    due.next_try_at = now + LEASE
    row, customer, business, subscription = found
    request = _request(*found, now)
    to_business = step in KINDS_TO_BUSINESS
    again = ":again" if step is Step.REMIND_BUSINESS else ""
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
        if step_of(row) is step_to_do.step:
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
        _carried_out(session, row, done.end.ends_at, now)
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
        _carried_out(session, row, subscription.ends_at, now)


def _carried_out(
    session: Session, row: CancellationRequestRow, ends_at: dt.datetime | None, now: dt.datetime
) -> None:
    if row.carried_out_at is None:
        count_on_commit(session, CANCELLATIONS.labels("carried_out"))
    row.carried_out_at, row.ends_at = row.carried_out_at or now, ends_at
