"""On which Stripe account businesses are."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow
from shared.contracts.accounts import Merchant
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


def move(session: Session, row: BusinessRow, merchant: Merchant, now: dt.datetime) -> None:
    """Write the two to a business and to each of its customers, of whom none is linked."""
    both = {"account": merchant.account, "on_behalf_of": merchant.on_behalf_of}
    row.account, row.on_behalf_of, row.updated_at = *merchant, now
    session.flush()
    changed(session, update(CustomerRow).where(CustomerRow.business_pk == row.id).values(both))
