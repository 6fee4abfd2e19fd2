"""Requests to cancel a subscription."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from services.portal.models import BusinessRow, CancellationRequestRow, CustomerRow, SubscriptionRow
from services.portal.queries.account_states import is_disconnected
from shared.contracts.accounts import StripeId
from shared.mode import OBSERVE
from shared.statements import is_object


def open_request(session: Session, subscription: StripeId) -> CancellationRequestRow | None:
    """The open request of a subscription, locked for change."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            is_object(
                CancellationRequestRow.account,
                CancellationRequestRow.subscription_id,
                subscription,
            ),
            CancellationRequestRow.status == "open",
        )
        .with_for_update()
    ).one_or_none()


def by_hand_requests(session: Session, subscription: StripeId) -> Sequence[CancellationRequestRow]:
    """The approved requests of a subscription whose end only the business can plan, and has not, locked for change."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            is_object(
                CancellationRequestRow.account,
                CancellationRequestRow.subscription_id,
                subscription,
            ),
            CancellationRequestRow.status == "approved",
            CancellationRequestRow.by_hand_at.is_not(None),
            CancellationRequestRow.carried_out_at.is_(None),
        )
        .order_by(CancellationRequestRow.id)
        .with_for_update()
    ).all()


def unfinished_requests(
    session: Session, customer_pk: int, stripe_customer: StripeId
) -> Sequence[CancellationRequestRow]:
    """A customer's requests about the subscriptions of a Stripe customer that have ended none yet, locked for change."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            CancellationRequestRow.customer_pk == customer_pk,
            is_object(
                CancellationRequestRow.account,
                CancellationRequestRow.stripe_customer_id,
                stripe_customer,
            ),
            CancellationRequestRow.status.in_(("open", "approved")),
            CancellationRequestRow.carried_out_at.is_(None),
        )
        .with_for_update()
    ).all()


def requests_of(session: Session, customer_pk: int, limit: int) -> Sequence[CancellationRequestRow]:
    """A customer's requests, the newest first."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(CancellationRequestRow.customer_pk == customer_pk)
        .order_by(CancellationRequestRow.asked_at.desc(), CancellationRequestRow.id.desc())
        .limit(limit)
    ).all()


def request_with_people(
    session: Session, request_id: str, *, lock: bool = False
) -> tuple[CancellationRequestRow, CustomerRow, BusinessRow, SubscriptionRow | None] | None:
    """A request with its customer, business and subscription, the request locked for change on demand."""
    subscription = aliased(SubscriptionRow)
    statement = (
        select(CancellationRequestRow, CustomerRow, BusinessRow, subscription)
        .join(CustomerRow, CancellationRequestRow.customer_pk == CustomerRow.id)
        .join(BusinessRow, CustomerRow.business_pk == BusinessRow.id)
        .outerjoin(
            subscription,
            and_(
                subscription.account == CancellationRequestRow.account,
                subscription.subscription_id == CancellationRequestRow.subscription_id,
            ),
        )
        .where(CancellationRequestRow.request_id == request_id)
    )
    if lock:
        statement = statement.with_for_update(of=CancellationRequestRow)
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1], row[2], row[3])


def _asked_of_nobody(installation_observes: bool) -> ColumnElement[bool]:
    """Whether a request is open whose business observes: nobody can answer it now, so nobody is asked."""
    theirs = exists().where(
        CustomerRow.id == CancellationRequestRow.customer_pk,
        BusinessRow.id == CustomerRow.business_pk,
        BusinessRow.mode == OBSERVE,
    )
    is_open = CancellationRequestRow.status == "open"
    return is_open if installation_observes else is_open & theirs


def due_request(
    session: Session, now: dt.datetime, installation_observes: bool = False
) -> CancellationRequestRow | None:
    """The request whose next step is due first, locked for this worker alone. One on an account that is connected no more waits
    until it is again; what a business that observes would be asked waits until it is live."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            CancellationRequestRow.next_try_at <= now,
            ~is_disconnected(CancellationRequestRow.account),
            ~_asked_of_nobody(installation_observes),
        )
        .order_by(CancellationRequestRow.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()


def waiting_requests(
    session: Session, installation_observes: bool = False
) -> tuple[int, dt.datetime | None]:
    """How many requests wait for a step of ours, and since when the oldest of them."""
    count, oldest = session.execute(
        select(func.count(), func.min(CancellationRequestRow.asked_at)).where(
            CancellationRequestRow.next_try_at.is_not(None),
            ~is_disconnected(CancellationRequestRow.account),
            ~_asked_of_nobody(installation_observes),
            # Of these it is the business's turn, and they only wait to be reminded of.
            CancellationRequestRow.by_hand_told_at.is_(None)
            | CancellationRequestRow.carried_out_at.is_not(None),
        )
    ).one()
    return count, oldest
