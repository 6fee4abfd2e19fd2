"""Subscriptions, as the page shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Select, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from services.portal.domain.cancelling import ENDED_SHOWN_FOR, LIVING
from services.portal.domain.snapshot import Asked, Subscription
from services.portal.models import CancellationRequestRow, SubscriptionRow
from shared.contracts.invoices import SubscriptionState
from shared.contracts.prices import UNKNOWN_TERMS, Lasts, NextInvoice, Terms, pricing_of
from shared.database import UtcDateTime
from shared.statements import changed, insert_new, table_of

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
