"""Subscriptions, as the page shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, literal_column, or_, select, update
from sqlalchemy.orm import Session

from services.portal.domain.cancelling import LIVING
from services.portal.domain.snapshot import MOST_SUBSCRIPTIONS, Asked, Subscription
from services.portal.models import CancellationRequestRow, SubscriptionRow
from services.portal.queries.behalves import counts_for
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.invoices import UNBEGUN, SubscriptionState
from shared.contracts.prices import UNKNOWN_TERMS, Lasts, NextInvoice, Terms, pricing_of
from shared.database import UtcDateTime
from shared.json_documents import json_object, json_one
from shared.statements import (
    among_named,
    changed,
    insert_new,
    insert_new_rows,
    is_object,
    named_objects,
    table_of,
    update_rows,
)

NOT_TOLD: Final = "unknown"
"""The status of a subscription of which only that is known which payment method it keeps: none of `LIVING`, so no page shows it."""
LONG_AGO: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""Whatever is told of it is newer."""
PREVIEW_GOOD_FOR: Final = dt.timedelta(days=1)
"""How long it is believed what Stripe told of the next invoice, without an event about the subscription: a discount of the
customer's, or an item for the next invoice, comes without one."""

_KEY: Final = ("account", "subscription_id")
_subscription, _request = table_of(SubscriptionRow), table_of(CancellationRequestRow)


class SubscriptionRecord(msgspec.Struct):
    """A subscription's row, as the look's statement tells it, with the last request to end it."""

    id: int
    account: str
    subscription_id: str
    status: str
    ends_at: dt.datetime | None
    current_period_end: dt.datetime | None
    as_of: dt.datetime
    description: str | None
    pricing: str | None
    amount: int | None
    currency: str | None
    interval: str | None
    interval_count: int
    discounted: bool | None
    discount_seen: bool | None
    collection_paused: bool | None
    collection_resumes_at: dt.datetime | None
    trial_ends_at: dt.datetime | None
    terms_as_of: dt.datetime | None
    previewed_at: dt.datetime | None
    next_amount: int | None
    next_recurring: int | None
    next_discount: str | None
    next_discount_until: dt.datetime | None
    method_kept: bool | None
    asked: Asked | None


def documents_of(
    account: ColumnElement[Any],
    stripe_customer_id: ColumnElement[Any],
    on_behalf_of: ColumnElement[Any],
) -> Select[Any]:
    """Those of a merchant's Stripe customer that go on or ended lately (after `:shown_after`), each as the JSON of a `SubscriptionRecord`."""
    asked = select(
        json_object(**{field.name: _request.c[field.name] for field in fields(Asked)})
    ).where(
        _request.c.account == _subscription.c.account,
        _request.c.subscription_id == _subscription.c.subscription_id,
    )
    names = (name for name in SubscriptionRecord.__struct_fields__ if name != "asked")
    document = json_object(
        **{name: _subscription.c[name] for name in names},
        asked=json_one(asked.order_by(_request.c.id.desc()).limit(1).correlate(_subscription)),
    )
    return (
        select(document.label("document"))
        .where(
            _subscription.c.account == account,
            _subscription.c.stripe_customer_id == stripe_customer_id,
            counts_for(_subscription.c.account, _subscription.c.on_behalf_of, on_behalf_of),
            or_(
                # As literals: `Documents` takes no list of parameters but as one.
                _subscription.c.status.in_([literal_column(f"'{one}'") for one in sorted(LIVING)]),
                (_subscription.c.status == "canceled")
                & (_subscription.c.ends_at > bindparam("shown_after", type_=UtcDateTime())),
            ),
        )
        .order_by(_subscription.c.status == "canceled", _subscription.c.id)
        .limit(MOST_SUBSCRIPTIONS + 1)
        .correlate_except(_subscription)
    )


def read_subscription(row: Any, now: dt.datetime, asked: Asked | None = None) -> Subscription:
    """A subscription as it may be shown now. What a release wrote that knows no terms leaves them unknown."""
    known = row.terms_as_of is not None and row.terms_as_of == row.as_of
    fresh = known and row.previewed_at is not None and now - row.previewed_at < PREVIEW_GOOD_FOR
    return Subscription(
        ref=row.id,
        account=Account(row.account),
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
        nothing_due=row.next_amount == 0,
        method_kept=bool(row.method_kept),
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


def state_of(session: Session, subscription: StripeId | None) -> SubscriptionState | None:
    """How a subscription stands; None for one that is not known."""
    if subscription is None:
        return None
    told = SubscriptionRow.status != NOT_TOLD
    row = session.scalar(select(SubscriptionRow).where(_is(subscription), told))
    return read_state(row) if row is not None else None


def read_state(row: SubscriptionRow) -> SubscriptionState:
    """How a subscription of which something was told stands."""
    return SubscriptionState(row.status, row.end_reason, row.ends_at)


def _is(subscription: StripeId) -> ColumnElement[bool]:
    return is_object(SubscriptionRow.account, SubscriptionRow.subscription_id, subscription)


def note_subscriptions(session: Session, told: Mapping[StripeId, dict[str, Any]]) -> list[StripeId]:
    """Keep what is newest about these subscriptions, of which the same is told of each; an end stays, and that one has begun. Those of
    which nothing newer is known, in one order.

    Stripe's moments are whole seconds, and its events come in any order: a subscription that is made and paid within one may be told
    as begun first.
    """
    rows = {
        name: {"account": name.account, "subscription_id": name.id, **told[name]}
        for name in sorted(told)
    }
    made = {
        StripeId(Account(account), id)
        for account, id in insert_new_rows(
            session, _subscription, list(rows.values()), returning=_KEY
        )
    }
    behind = _older(session, rows.keys() - made, told)
    update_rows(session, _subscription, [rows[name] for name in rows if name in behind], _KEY)
    return [name for name in rows if name in made or name in behind]


def _older(
    session: Session, names: Collection[StripeId], told: Mapping[StripeId, dict[str, Any]]
) -> set[StripeId]:
    """Those of these that are known as they were before what is told; all are locked, in one order."""
    if not names:
        return set()
    accounts, named = named_objects(names)
    known = {
        StripeId(Account(account), id): (status, as_of)
        for account, id, status, as_of in session.execute(_locking(accounts), named)
    }
    return {name for name, (status, as_of) in known.items() if _is_news(told[name], status, as_of)}


@lru_cache
def _locking(accounts: int) -> Select[Any]:
    return (
        select(*(_subscription.c[name] for name in (*_KEY, "status", "as_of")))
        .where(among_named(_subscription.c.account, _subscription.c.subscription_id, accounts))
        .order_by(*(_subscription.c[name] for name in _KEY))
        .with_for_update()
    )


def _is_news(told: dict[str, Any], status: str, as_of: dt.datetime) -> bool:
    if told["status"] == "canceled":
        return status != "canceled" or as_of <= told["as_of"]
    if told["status"] == UNBEGUN and status not in (UNBEGUN, NOT_TOLD):
        return False
    return status != "canceled" and as_of <= told["as_of"]


def note_kept_method(
    session: Session,
    subscription: StripeId,
    customer: StripeCustomer,
    *,
    kept: bool,
    at: dt.datetime,
) -> None:
    """Keep whether it is charged to another payment method than the customer's new one; the newest word counts. `customer`,
    whose it is, is kept of a subscription that nothing else was told of yet: it is shown once that is."""
    noted = {"method_kept": kept, "method_kept_as_of": at}
    older = SubscriptionRow.method_kept_as_of.is_(None) | (SubscriptionRow.method_kept_as_of <= at)
    row = {
        "account": subscription.account,
        "subscription_id": subscription.id,
        "stripe_customer_id": customer.id,
        "on_behalf_of": customer.on_behalf_of,
        "status": NOT_TOLD,
        "interval_count": 1,
        "as_of": LONG_AGO,
        **noted,
    }
    if insert_new(session, table_of(SubscriptionRow), [row], returning="id"):
        return
    session.execute(update(SubscriptionRow).where(_is(subscription), older).values(noted))


def note_preview(session: Session, seen: Subscription, values: dict[str, Any]) -> bool:
    """Keep what Stripe told of a subscription's next invoice. False: news of the subscription overtook it."""
    if "pricing" in values:
        values = {**values, "terms_as_of": seen.as_of}
    return bool(
        changed(
            session,
            update(SubscriptionRow)
            .where(
                _is(seen.name),
                SubscriptionRow.as_of == seen.as_of,
            )
            .values(**values),
        )
    )
