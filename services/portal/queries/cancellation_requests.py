"""Requests to cancel a subscription."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from services.portal.models import BusinessRow, CustomerRow, SubscriptionRow
from services.portal.models import CancellationRequestRow as Row
from services.portal.queries.account_states import is_disconnected
from shared.contracts.accounts import StripeId
from shared.mode import OBSERVE
from shared.statements import is_object


def open_request(session: Session, subscription: StripeId) -> Row | None:
    """The open request of a subscription, locked for change."""
    return session.scalars(
        select(Row)
        .where(
            is_object(Row.account, Row.subscription_id, subscription),
            Row.status == "open",
        )
        .with_for_update()
    ).one_or_none()


def by_hand_requests(session: Session, subscription: StripeId) -> Sequence[Row]:
    """The approved requests of a subscription whose end only the business can plan, and has not, locked for change."""
    return session.scalars(
        select(Row)
        .where(
            is_object(Row.account, Row.subscription_id, subscription),
            Row.status == "approved",
            Row.by_hand_at.is_not(None),
            Row.carried_out_at.is_(None),
        )
        .order_by(Row.id)
        .with_for_update()
    ).all()


def unfinished_requests(
    session: Session, customer_pk: int, stripe_customer: StripeId
) -> Sequence[Row]:
    """A customer's requests about the subscriptions of a Stripe customer that have ended none yet, locked for change."""
    return session.scalars(
        select(Row)
        .where(
            Row.customer_pk == customer_pk,
            is_object(Row.account, Row.stripe_customer_id, stripe_customer),
            Row.status.in_(("open", "approved")),
            Row.carried_out_at.is_(None),
        )
        .with_for_update()
    ).all()


def requests_of(session: Session, customer_pk: int, limit: int) -> Sequence[Row]:
    """A customer's requests, the newest first."""
    return session.scalars(
        select(Row)
        .where(Row.customer_pk == customer_pk)
        .order_by(Row.asked_at.desc(), Row.id.desc())
        .limit(limit)
    ).all()


def request_with_people(
    session: Session, request_id: str, *, lock: bool = False
) -> tuple[Row, CustomerRow, BusinessRow, SubscriptionRow | None] | None:
    """A request with its customer, business and subscription, the request locked for change on demand."""
    subscription = aliased(SubscriptionRow)
    statement = (
        select(Row, CustomerRow, BusinessRow, subscription)
        .join(CustomerRow, Row.customer_pk == CustomerRow.id)
        .join(BusinessRow, CustomerRow.business_pk == BusinessRow.id)
        .outerjoin(
            subscription,
            and_(
                subscription.account == Row.account,
                subscription.subscription_id == Row.subscription_id,
            ),
        )
        .where(Row.request_id == request_id)
    )
    if lock:
        statement = statement.with_for_update(of=Row)
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1], row[2], row[3])


def _asked_of_nobody(installation_observes: bool) -> ColumnElement[bool]:
    """Whether a request is open whose business observes: nobody can answer it now, so nobody is asked."""
    theirs = exists().where(
        CustomerRow.id == Row.customer_pk,
        BusinessRow.id == CustomerRow.business_pk,
        BusinessRow.mode == OBSERVE,
    )
    is_open = Row.status == "open"
    return is_open if installation_observes else is_open & theirs


def due_request(
    session: Session, now: dt.datetime, installation_observes: bool = False
) -> Row | None:
    """The request whose next step is due first, locked for this worker alone. One on an account that is connected no more waits
    until it is again; what a business that observes would be asked waits until it is live."""
    return session.scalars(
        select(Row)
        .where(
            Row.next_try_at <= now,
            ~is_disconnected(Row.account),
            ~_asked_of_nobody(installation_observes),
        )
        .order_by(Row.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()


def waiting_requests(
    session: Session, installation_observes: bool = False
) -> tuple[int, dt.datetime | None]:
    """How many requests wait for a step of ours, and since when the oldest of them."""
    count, oldest = session.execute(
        select(func.count(), func.min(Row.asked_at)).where(
            Row.next_try_at.is_not(None),
            ~is_disconnected(Row.account),
            ~_asked_of_nobody(installation_observes),
            # Of these it is the business's turn, and they only wait to be reminded of.
            Row.by_hand_told_at.is_(None) | Row.carried_out_at.is_not(None),
        )
    ).one()
    return count, oldest
