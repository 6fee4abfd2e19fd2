"""Which businesses observe."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow
from shared.contracts.accounts import Account, Merchant, StripeCustomer, by_merchant
from shared.mode import LIVE, OBSERVE


def businesses(session: Session, after: str | None, limit: int) -> list[BusinessRow]:
    """Up to `limit` businesses in the order of the host's ids, after one of them."""
    statement = select(BusinessRow).order_by(BusinessRow.business_id).limit(limit)
    if after is not None:
        statement = statement.where(BusinessRow.business_id > after)
    return list(session.scalars(statement))


def of_customers(
    session: Session, stripe_customers: Collection[StripeCustomer]
) -> dict[StripeCustomer, bool]:
    """Whether the business of each of these Stripe customers observes; those of nobody are left out."""
    found: dict[StripeCustomer, bool] = {}
    for merchant, ids in by_merchant(stripe_customers).items():
        rows = session.execute(
            select(CustomerRow.platform_stripe_customer_id, BusinessRow.mode)
            .join(BusinessRow, CustomerRow.business_pk == BusinessRow.id)
            .where(
                CustomerRow.account == merchant.account,
                CustomerRow.on_behalf_of == merchant.on_behalf_of,
                CustomerRow.platform_stripe_customer_id.in_(ids),
            )
        )
        for stripe_customer_id, mode in rows:
            found[StripeCustomer(merchant.account, stripe_customer_id, merchant.on_behalf_of)] = (
                mode == OBSERVE
            )
    return found


def of_merchants(session: Session, accounts: Collection[Account]) -> dict[Merchant, bool]:
    """Whether each merchant's businesses on these accounts observe, all of them."""
    rows = session.execute(
        select(
            BusinessRow.account,
            BusinessRow.on_behalf_of,
            func.count().filter(BusinessRow.mode == LIVE),
        )
        .where(BusinessRow.account.in_(accounts))
        .group_by(BusinessRow.account, BusinessRow.on_behalf_of)
    )
    return {Merchant(Account(account), behalf): live == 0 for account, behalf, live in rows}
