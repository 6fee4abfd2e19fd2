"""On which Stripe account businesses are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow
from shared.contracts.accounts import Account, Merchant
from shared.statements import changed


def with_merchant(session: Session, merchant: Merchant) -> str | None:
    """The host's id of a business that has these two."""
    return session.scalar(
        select(BusinessRow.business_id)
        .where(
            BusinessRow.account == merchant.account,
            BusinessRow.on_behalf_of == merchant.on_behalf_of,
        )
        .limit(1)
    )


def has_account_alone(session: Session, row: BusinessRow) -> bool:
    """Whether no other business is on a business's account."""
    others = select(BusinessRow.id).where(
        BusinessRow.account == row.account, BusinessRow.id != row.id
    )
    return session.scalar(others.limit(1)) is None


def customers_by_account(session: Session, accounts: Sequence[Account]) -> dict[Account, int]:
    """How many customers the businesses on these accounts have; accounts without any are left out."""
    counted = session.execute(
        select(CustomerRow.account, func.count())
        .where(CustomerRow.account.in_(accounts))
        .group_by(CustomerRow.account)
    ).all()
    return {Account(account): number for account, number in counted}


@dataclass(frozen=True)
class ChargedAs:
    """What a business says of its customers' statements."""

    business_id: str
    name: str
    charged_as: str | None


def charged_as(session: Session, account: Account, limit: int) -> list[ChargedAs]:
    """What the businesses that are charged for by an account itself say of its statements, in the order of their ids."""
    found = session.execute(
        select(BusinessRow.business_id, BusinessRow.name, BusinessRow.charged_as)
        .where(BusinessRow.account == account, BusinessRow.on_behalf_of == "")
        .order_by(BusinessRow.business_id)
        .limit(limit)
    )
    return [ChargedAs(*row) for row in found]


def move(session: Session, row: BusinessRow, merchant: Merchant, now: dt.datetime) -> None:
    """Write the two to a business and to each of its customers, of whom none is linked."""
    both = {"account": merchant.account, "on_behalf_of": merchant.on_behalf_of}
    row.account, row.on_behalf_of, row.updated_at = *merchant, now
    session.flush()
    changed(session, update(CustomerRow).where(CustomerRow.business_pk == row.id).values(both))
