"""Which businesses observe."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow
from shared.contracts.accounts import Account, Merchant, StripeCustomer, by_merchant
from shared.database import UtcDateTime
from shared.mode import LIVE, OBSERVE


class Standing(NamedTuple):
    """How the business of a Stripe customer works."""

    observes: bool
    live_since: dt.datetime | None = None
    """Its line."""


def businesses(session: Session, after: str | None, limit: int) -> list[BusinessRow]:
    """Up to `limit` businesses in the order of the host's ids, after one of them."""
    statement = select(BusinessRow).order_by(BusinessRow.business_id).limit(limit)
    if after is not None:
        statement = statement.where(BusinessRow.business_id > after)
    return list(session.scalars(statement))


def observing(session: Session, limit: int) -> list[str]:
    """The host's ids of up to `limit` businesses that observe by themselves."""
    statement = select(BusinessRow.business_id).where(BusinessRow.mode == OBSERVE)
    return list(session.scalars(statement.order_by(BusinessRow.business_id).limit(limit)))


def of_customers(
    session: Session, stripe_customers: Collection[StripeCustomer]
) -> dict[StripeCustomer, Standing]:
    """How the business of each of these Stripe customers works; those of nobody are left out."""
    found: dict[StripeCustomer, Standing] = {}
    for merchant, ids in by_merchant(stripe_customers).items():
        rows = session.execute(
            select(
                CustomerRow.platform_stripe_customer_id, BusinessRow.mode, BusinessRow.live_since
            )
            .join(BusinessRow, CustomerRow.business_pk == BusinessRow.id)
            .where(
                CustomerRow.account == merchant.account,
                CustomerRow.on_behalf_of == merchant.on_behalf_of,
                CustomerRow.platform_stripe_customer_id.in_(ids),
            )
        )
        for stripe_customer_id, mode, live_since in rows:
            name = StripeCustomer(merchant.account, stripe_customer_id, merchant.on_behalf_of)
            found[name] = Standing(mode == OBSERVE, live_since)
    return found


def of_merchants(session: Session, accounts: Collection[Account]) -> dict[Merchant, Standing]:
    """How each merchant's businesses on these accounts work: whether all of them observe, and the latest of their lines."""
    rows = session.execute(
        select(
            BusinessRow.account,
            BusinessRow.on_behalf_of,
            func.count().filter(BusinessRow.mode == LIVE),
            func.max(BusinessRow.live_since, type_=UtcDateTime()),
        )
        .where(BusinessRow.account.in_(accounts))
        .group_by(BusinessRow.account, BusinessRow.on_behalf_of)
    )
    return {
        Merchant(Account(account), behalf): Standing(live == 0, line)
        for account, behalf, live, line in rows
    }
