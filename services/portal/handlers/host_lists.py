"""What a host sees of its businesses and customers: one by its id, and lists in pages."""

from __future__ import annotations

from typing import Final, TypeVar

from sqlalchemy.orm import Session

from services.portal.handlers import existing
from services.portal.models import BusinessRow, CustomerRow
from services.portal.queries import bulk
from services.portal.queries import customers as people
from shared.contracts.host_api import CustomerPageArguments, PageArguments
from shared.contracts.rpc.errors import NotFound

FROM_THE_BEGINNING: Final = 0
Listed = TypeVar("Listed", BusinessRow, CustomerRow)


def businesses(
    session: Session, asked: PageArguments, own: str | None
) -> tuple[list[BusinessRow], bool]:
    """A page of businesses, of the one that is its `own` alone if given; and whether there are more. Raises NotFound for
    `starting_after`."""
    after = FROM_THE_BEGINNING
    if asked.starting_after is not None:
        last = people.business(session, asked.starting_after)
        if last is None or own not in (None, last.business_id):
            raise NotFound("starting_after: no such business")
        after = last.id
    only = None if own is None else [own]
    return _cut(people.page_of_businesses(session, only, after, asked.limit + 1), asked.limit)


def customer(session: Session, customer_id: str) -> tuple[CustomerRow, str]:
    """A customer by Portico's id, with the host's id of their business. Raises NotFound."""
    row = existing.customer(session, customer_id)
    return row, session.get_one(BusinessRow, row.business_pk).business_id


def customers(
    session: Session, asked: CustomerPageArguments, business_id: str
) -> tuple[list[CustomerRow], bool]:
    """A page of a business's customers, and whether there are more. Raises NotFound for the business, and for `starting_after`."""
    owner = existing.business(session, business_id)
    after = FROM_THE_BEGINNING
    if asked.starting_after is not None:
        last = people.customer(session, asked.starting_after)
        # Who was merged into another one since has no place in the list any more: going on at the other one's would skip customers.
        if last is None or last.business_pk != owner.id or last.public_id != asked.starting_after:
            raise NotFound("starting_after: no such customer")
        after = last.id
    only = {
        "external_id": asked.external_id,
        "platform_stripe_customer_id": asked.stripe_customer_id,
    }
    given = {name: value for name, value in only.items() if value is not None}
    if asked.stripe_customer_id is not None:
        given["account"] = owner.account
    rows = bulk.page_of_customers(session, owner.id, after, asked.limit + 1, **given)
    return _cut(rows, asked.limit)


def _cut(rows: list[Listed], limit: int) -> tuple[list[Listed], bool]:
    return rows[:limit], len(rows) > limit
