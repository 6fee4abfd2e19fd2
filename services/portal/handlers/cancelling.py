"""Requests to cancel with the business's approval: asked and answered. What follows is in `cancellation_steps.py`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.cancelling import (
    Decision,
    may_ask,
)
from services.portal.domain.people import new_public_id
from services.portal.domain.snapshot import Snapshot, Subscription
from services.portal.metrics import CANCELLATIONS
from services.portal.models import (
    BusinessRow,
    CancellationRequestRow,
    CustomerRow,
    SubscriptionRow,
)
from services.portal.queries import cancellation_requests
from services.portal.queries import customers as people
from services.portal.queries import subscriptions as queries
from shared.contracts.accounts import OWN, StripeId
from shared.contracts.rpc.errors import NotFound, RequestClosed
from shared.database import count_on_commit
from shared.mode import OBSERVE

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
    return None if found is None else read_request(*found, now)


def read_request(
    row: CancellationRequestRow,
    customer: CustomerRow,
    business: BusinessRow,
    subscription: SubscriptionRow | None,
    now: dt.datetime,
) -> Request:
    """A request from its rows."""
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
    return read_request(*found, now), counted


def open_links_of(session: Session, request_id: str) -> None:
    """Whether links may be made for a request. Raises NotFound, or RequestClosed when it is answered."""
    found = cancellation_requests.request_with_people(session, request_id)
    if found is None:
        raise NotFound("request_id: no such request")
    if found[0].status != "open":
        raise RequestClosed(f"the request is {found[0].status}")


def reopen(session: Session, row: CancellationRequestRow, now: dt.datetime) -> None:
    """The business approved, and began to observe before the end was planned: what it said then ends nothing later. It is asked again
    once it is live; `decided_at` stays the moment of what it said."""
    row.status, row.business_told_at = "open", None
    row.next_try_at, row.tries, row.last_error = now, 0, None
    count_on_commit(session, CANCELLATIONS.labels("reopened"))


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
        carried_out(session, row, ends_at, now)
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


def carried_out(
    session: Session, row: CancellationRequestRow, ends_at: dt.datetime | None, now: dt.datetime
) -> None:
    """Note that the end is planned at Stripe."""
    if row.carried_out_at is None:
        count_on_commit(session, CANCELLATIONS.labels("carried_out"))
    row.carried_out_at, row.ends_at = row.carried_out_at or now, ends_at
