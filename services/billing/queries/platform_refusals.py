"""Subscriptions that Stripe doesn't let us change as a platform."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from services.billing.domain.paying import Subscription
from services.billing.models import PlatformRefusal
from shared.contracts.accounts import Account, StripeId
from shared.statements import among_objects, changed, insert_new, is_object, table_of


@dataclass(frozen=True, slots=True)
class KeptMethod:
    """A subscription that is not charged to the customer's new card."""

    subscription: StripeId
    stripe_customer_id: str
    on_behalf_of: str
    payment_method: str
    """The new card."""
    seen_at: dt.datetime
    """When it was last seen that the subscription is not charged to it."""


def note_refusal(
    session: Session,
    account: Account,
    subscription: Subscription,
    now: dt.datetime,
    *,
    payment_method: str | None = None,
) -> bool:
    """Keep that Stripe did not let us change a subscription of an account; with the card that it is not charged to. False: of this card that was
    known."""
    row = {
        "account": account,
        "subscription_id": subscription.id,
        "stripe_customer_id": subscription.stripe_customer_id,
        "on_behalf_of": subscription.on_behalf_of,
        "application": subscription.application,
        "payment_method_id": payment_method,
        "refused_at": now,
    }
    key = ["account", "subscription_id"]
    new = insert_new(
        session, table_of(PlatformRefusal), [row], conflict=key, returning="subscription_id"
    )
    if new:
        return True
    name = StripeId(account, subscription.id)
    this = is_object(PlatformRefusal.account, PlatformRefusal.subscription_id, name)
    session.execute(update(PlatformRefusal).where(this).values(refused_at=now))
    if payment_method is None:
        return False
    other = PlatformRefusal.payment_method_id.is_distinct_from(payment_method)
    return bool(
        changed(
            session,
            update(PlatformRefusal).where(this, other).values(payment_method_id=payment_method),
        )
    )


def kept_methods(session: Session, subscriptions: Collection[StripeId]) -> list[KeptMethod]:
    """Those of these subscriptions that are not charged to their customer's new card, locked for change."""
    return _read(
        session,
        among_objects(PlatformRefusal.account, PlatformRefusal.subscription_id, subscriptions),
    )


def keeping(session: Session, subscriptions: Collection[StripeId]) -> set[StripeId]:
    """The names of those of these subscriptions that are not charged to their customer's new card."""
    named = among_objects(PlatformRefusal.account, PlatformRefusal.subscription_id, subscriptions)
    rows = session.execute(
        select(PlatformRefusal.account, PlatformRefusal.subscription_id).where(
            named, PlatformRefusal.payment_method_id.is_not(None)
        )
    )
    return {StripeId(Account(account), subscription_id) for account, subscription_id in rows}


def kept_of_customer(session: Session, customer: StripeId) -> list[KeptMethod]:
    """A customer's, locked for change."""
    return _read(
        session, is_object(PlatformRefusal.account, PlatformRefusal.stripe_customer_id, customer)
    )


def _read(session: Session, which: object) -> list[KeptMethod]:
    rows = session.scalars(
        select(PlatformRefusal)
        .where(which, PlatformRefusal.payment_method_id.is_not(None))  # type: ignore[arg-type]
        .order_by(PlatformRefusal.account, PlatformRefusal.subscription_id)
        .with_for_update()
    )
    return [
        KeptMethod(
            StripeId(Account(row.account), row.subscription_id),
            row.stripe_customer_id,
            row.on_behalf_of,
            row.payment_method_id or "",
            row.refused_at,
        )
        for row in rows
    ]


def still_kept(session: Session, subscription: StripeId, at: dt.datetime) -> None:
    """At that moment the subscription was not charged to its customer's new card either."""
    session.execute(
        update(PlatformRefusal)
        .where(
            is_object(PlatformRefusal.account, PlatformRefusal.subscription_id, subscription),
            PlatformRefusal.refused_at < at,
        )
        .values(refused_at=at)
    )


def forget_method(session: Session, subscription: StripeId) -> None:
    """The new card need not be tried for this subscription any more."""
    session.execute(
        update(PlatformRefusal)
        .where(is_object(PlatformRefusal.account, PlatformRefusal.subscription_id, subscription))
        .values(payment_method_id=None)
    )


def refusals_by_account(session: Session) -> dict[Account, int]:
    """How many subscriptions of each account Stripe did not let us change, where it mattered."""
    counted = session.execute(
        select(PlatformRefusal.account, func.count())
        .group_by(PlatformRefusal.account)
        .order_by(func.count().desc(), PlatformRefusal.account)
    )
    return {Account(account): number for account, number in counted}
