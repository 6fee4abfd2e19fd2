"""Subscriptions, requests to cancel them, and what else is learnt from billing in the background."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from services.portal.domain.cancelling import ENDED_SHOWN_FOR, LIVING
from services.portal.domain.snapshot import Asked, Subscription
from services.portal.models import (
    BusinessRow,
    CancellationRequestRow,
    CustomerRow,
    InvoiceRow,
    SubscriptionRow,
)
from services.portal.queries.statements import changed, table_of
from shared.contracts.invoices import SubscriptionState
from shared.contracts.payments import BANK_DEBITS
from shared.contracts.prices import UNKNOWN_TERMS, Lasts, NextInvoice, Terms, pricing_of
from shared.database import UtcDateTime, insert_new

MOST_SHOWN: Final = 5
"""How many subscriptions of one customer a look brings."""
PREVIEW_GOOD_FOR: Final = dt.timedelta(days=1)
"""How long it is believed what Stripe told of the next invoice, without an event about the subscription: a discount of the
customer's, or an item for the next invoice, comes without one."""

_subscription, _request = table_of(SubscriptionRow), table_of(CancellationRequestRow)


def _statement() -> Select[Any]:
    newest = (
        select(func.max(_request.c.id))
        .where(_request.c.subscription_id == _subscription.c.subscription_id)
        .correlate(_subscription)
        .scalar_subquery()
    )
    return (
        select(
            *_subscription.c,
            _request.c.request_id,
            _request.c.status.label("request_status"),
            _request.c.asked_at,
            _request.c.decided_at,
        )
        .outerjoin(_request, _request.c.id == newest)
        .where(
            _subscription.c.stripe_customer_id.in_(bindparam("stripe_ids", expanding=True)),
            or_(
                _subscription.c.status.in_(sorted(LIVING)),
                (_subscription.c.status == "canceled")
                & (_subscription.c.ends_at > bindparam("shown_after", type_=UtcDateTime())),
            ),
        )
        .order_by(_subscription.c.status == "canceled", _subscription.c.id)
    )


_OF_CUSTOMERS: Final = _statement()
"""Built once, as the other statements of the hot path."""


def of_customers(
    session: Session, stripe_ids: Collection[str], now: dt.datetime
) -> dict[str, tuple[Subscription, ...]]:
    """The subscriptions of these Stripe customers that go on or ended lately, by customer, with the last request."""
    if not stripe_ids:
        return {}
    found: dict[str, list[Subscription]] = {}
    rows = session.execute(
        _OF_CUSTOMERS, {"stripe_ids": sorted(stripe_ids), "shown_after": now - ENDED_SHOWN_FOR}
    )
    for row in rows:
        mine = found.setdefault(row.stripe_customer_id, [])
        if len(mine) < MOST_SHOWN:
            mine.append(_read(row, now))
    return {stripe_id: tuple(mine) for stripe_id, mine in found.items()}


def _read(row: Any, now: dt.datetime) -> Subscription:
    asked = None
    if row.request_id is not None:
        asked = Asked(
            request_id=row.request_id,
            status=row.request_status,
            asked_at=row.asked_at,
            decided_at=row.decided_at,
        )
    return read_subscription(row, now, asked)


def read_subscription(row: Any, now: dt.datetime, asked: Asked | None = None) -> Subscription:
    """A subscription as it may be shown now. What a release wrote that knows no terms leaves them unknown."""
    known = row.terms_as_of is not None and row.terms_as_of == row.as_of
    fresh = known and row.previewed_at is not None and now - row.previewed_at < PREVIEW_GOOD_FOR
    return Subscription(
        ref=row.id,
        subscription_id=row.subscription_id,
        status=row.status,
        ends_at=row.ends_at,
        current_period_end=row.current_period_end,
        as_of=row.as_of,
        description=row.description,
        terms=_terms(row, previewed=fresh) if known else UNKNOWN_TERMS,
        collection_paused=row.collection_paused if known else None,
        collection_resumes_at=row.collection_resumes_at if known else None,
        trial_ends_at=row.trial_ends_at if known else None,
        previewed_at=row.previewed_at,
        asked=asked,
    )


def _terms(row: Any, *, previewed: bool) -> Terms:
    next_invoice = None
    if previewed and row.next_amount is not None:
        next_invoice = NextInvoice(
            amount=row.next_amount,
            recurring=row.next_recurring,
            discount=Lasts(row.next_discount) if row.next_discount else None,
            until=row.next_discount_until,
        )
    return Terms(
        pricing=pricing_of(row.pricing),
        amount=row.amount,
        currency=row.currency,
        interval=row.interval,
        interval_count=row.interval_count,
        discounted=True if row.discount_seen else row.discounted,
        next_invoice=next_invoice,
    )


def state_of(session: Session, subscription_id: str | None) -> SubscriptionState | None:
    """How a subscription stands; None for one that is not known."""
    row = session.scalar(
        select(SubscriptionRow).where(SubscriptionRow.subscription_id == subscription_id)
    )
    return SubscriptionState(row.status, row.end_reason, row.ends_at) if row else None


def note_subscription(session: Session, values: dict[str, Any]) -> bool:
    """Keep what is newest about a subscription; an end stays. False: something newer is known."""
    made = insert_new(
        session, table_of(SubscriptionRow), [values], conflict=["subscription_id"], returning="id"
    )
    if made:
        return True
    older = SubscriptionRow.as_of <= values["as_of"]
    if values["status"] == "canceled":
        older = or_(older, SubscriptionRow.status != "canceled")
    else:
        older = older & (SubscriptionRow.status != "canceled")
    return bool(
        changed(
            session,
            update(SubscriptionRow)
            .where(SubscriptionRow.subscription_id == values["subscription_id"], older)
            .values({key: value for key, value in values.items() if key != "subscription_id"}),
        )
    )


# Requests


def open_request(session: Session, subscription_id: str) -> CancellationRequestRow | None:
    """The open request of a subscription, locked for change."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            CancellationRequestRow.subscription_id == subscription_id,
            CancellationRequestRow.status == "open",
        )
        .with_for_update()
    ).one_or_none()


def unfinished_requests(
    session: Session, customer_pk: int, stripe_customer_id: str
) -> Sequence[CancellationRequestRow]:
    """A customer's requests about the subscriptions of a Stripe customer that have ended none yet, locked for change."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(
            CancellationRequestRow.customer_pk == customer_pk,
            CancellationRequestRow.stripe_customer_id == stripe_customer_id,
            CancellationRequestRow.status.in_(("open", "approved")),
            CancellationRequestRow.carried_out_at.is_(None),
        )
        .with_for_update()
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
            subscription, subscription.subscription_id == CancellationRequestRow.subscription_id
        )
        .where(CancellationRequestRow.request_id == request_id)
    )
    if lock:
        statement = statement.with_for_update(of=CancellationRequestRow)
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1], row[2], row[3])


def due_request(session: Session, now: dt.datetime) -> CancellationRequestRow | None:
    """The request whose next step is due first, locked for this worker alone."""
    return session.scalars(
        select(CancellationRequestRow)
        .where(CancellationRequestRow.next_try_at <= now)
        .order_by(CancellationRequestRow.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()


def waiting_requests(session: Session) -> tuple[int, dt.datetime | None]:
    """How many requests wait for a step of ours, and since when the oldest of them."""
    count, oldest = session.execute(
        select(func.count(), func.min(CancellationRequestRow.asked_at)).where(
            CancellationRequestRow.next_try_at.is_not(None)
        )
    ).one()
    return count, oldest


# Learnt in the background


def invoices_to_ask_about(
    session: Session,
    now: dt.datetime,
    limit: int,
    *,
    failed_since: dt.datetime,
    tried_since: dt.datetime,
    changed_between: tuple[dt.datetime, dt.datetime],
) -> Sequence[InvoiceRow]:
    """Open invoices of our customers about which billing may know what the page doesn't: those whose last failure was not
    asked about yet, those with a newer payment method of which it isn't known whether a payment is under way, and those of
    bank accounts that Stripe may have tried again."""
    changed_at = InvoiceRow.method_changed_at
    # `Invoice.retrying_since`, as a condition.
    unanswered = or_(
        changed_at > InvoiceRow.last_failed_at,
        and_(changed_at == InvoiceRow.last_failed_at, ~InvoiceRow.last_failure_own),
    )
    return session.scalars(
        select(InvoiceRow)
        .join(
            CustomerRow,
            CustomerRow.platform_stripe_customer_id == InvoiceRow.stripe_customer_id,
        )
        .where(
            InvoiceRow.status == "open",
            or_(InvoiceRow.ask_again_at.is_(None), InvoiceRow.ask_again_at <= now),
            or_(
                and_(
                    InvoiceRow.last_failed_at > failed_since,
                    or_(
                        InvoiceRow.card_of_failure.is_(None),
                        InvoiceRow.card_of_failure != InvoiceRow.last_failed_at,
                    ),
                ),
                and_(
                    changed_at.between(*changed_between),
                    unanswered,
                    or_(
                        InvoiceRow.under_way_since.is_(None),
                        InvoiceRow.under_way_since < changed_at,
                    ),
                ),
                # `Invoice.tried_since_failure`, while no answer is known and no date lies ahead.
                and_(
                    or_(
                        InvoiceRow.method_type.is_(None),
                        InvoiceRow.method_type.in_(sorted(BANK_DEBITS)),
                    ),
                    InvoiceRow.as_of > InvoiceRow.last_failed_at,
                    InvoiceRow.as_of > tried_since,
                    or_(
                        InvoiceRow.next_payment_attempt.is_(None),
                        InvoiceRow.next_payment_attempt <= now,
                    ),
                    or_(changed_at.is_(None), changed_at < InvoiceRow.last_failed_at),
                    or_(
                        InvoiceRow.under_way_since.is_(None),
                        InvoiceRow.under_way_since < InvoiceRow.last_failed_at,
                    ),
                ),
            ),
        )
        .order_by(InvoiceRow.last_failed_at.desc())
        .limit(limit)
    ).all()


def note_learnt(session: Session, invoice_id: str, values: dict[str, Any]) -> None:
    """Keep what billing told of an invoice."""
    changed(session, update(InvoiceRow).where(InvoiceRow.invoice_id == invoice_id).values(**values))


def note_preview(session: Session, seen: Subscription, values: dict[str, Any]) -> bool:
    """Keep what Stripe told of a subscription's next invoice. False: news of the subscription overtook it."""
    if "pricing" in values:
        values = {**values, "terms_as_of": seen.as_of}
    return bool(
        changed(
            session,
            update(SubscriptionRow)
            .where(
                SubscriptionRow.subscription_id == seen.subscription_id,
                SubscriptionRow.as_of == seen.as_of,
            )
            .values(**values),
        )
    )


def note_date_learnt(
    session: Session,
    invoice_id: str,
    date: dt.datetime,
    at: dt.datetime,
    *,
    known: tuple[int, dt.datetime | None],
) -> None:
    """Keep the date of an invoice's next try as it was read, said to be of `at`; unless an event has told of the schedule
    since it was `known` (attempt, and when it was last spoken of)."""
    attempt, as_of = known
    changed(
        session,
        update(InvoiceRow)
        .where(
            InvoiceRow.invoice_id == invoice_id,
            InvoiceRow.attempt_count == attempt,
            InvoiceRow.schedule_as_of.is_not_distinct_from(as_of),
        )
        .values(next_payment_attempt=date, schedule_as_of=at, schedule_changed=True),
    )


def businesses_to_check(session: Session, before: dt.datetime, limit: int) -> list[str]:
    """Businesses about which billing was last asked before a moment, or never."""
    checked = BusinessRow.may_cancel_checked_at
    return list(
        session.scalars(
            select(BusinessRow.business_id)
            .where(or_(checked.is_(None), checked < before))
            .order_by(checked.is_not(None), checked, BusinessRow.id)
            .limit(limit)
        )
    )


def note_rights(
    session: Session, business_id: str, may_cancel: bool | None, now: dt.datetime
) -> None:
    """Keep what a business's customers may do on Stripe's page."""
    changed(
        session,
        update(BusinessRow)
        .where(BusinessRow.business_id == business_id)
        .values(may_cancel=may_cancel, may_cancel_checked_at=now),
    )
