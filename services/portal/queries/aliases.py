"""Ids of customers who were merged into another one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from services.portal.models import CustomerAliasRow, CustomerRow
from shared.statements import changed

REVOKED: Final = 0
"""A generation that no link has."""


class Target(NamedTuple):
    """Whom an id leads to."""

    customer_id: str
    """The public id of the customer."""
    link_generation: int
    """That of the links under the old id that work; `REVOKED`: none does any more."""


def targets(session: Session, public_ids: Collection[str]) -> dict[str, Target]:
    """Whom these ids lead to; ids that nobody had before a merge are left out."""
    if not public_ids:
        return {}
    rows = session.execute(
        select(
            CustomerAliasRow.public_id,
            CustomerRow.public_id,
            CustomerAliasRow.link_generation,
            CustomerAliasRow.customer_generation == CustomerRow.link_generation,
        )
        .join(CustomerRow, CustomerRow.id == CustomerAliasRow.customer_pk)
        .where(CustomerAliasRow.public_id.in_(public_ids))
    )
    return {
        old: Target(customer_id, generation if stands else REVOKED)
        for old, customer_id, generation, stands in rows.tuples()
    }


def of_customer(session: Session, row: CustomerRow) -> list[str]:
    """The ids of customers who were merged into this one."""
    mine = select(CustomerAliasRow.public_id).where(CustomerAliasRow.customer_pk == row.id)
    return list(session.scalars(mine.order_by(CustomerAliasRow.public_id)))


def resolve(session: Session, public_id: str) -> str | None:
    """The public id of the customer whom an id leads to since a merge; None: no such id was merged."""
    target = targets(session, [public_id]).get(public_id)
    return None if target is None else target.customer_id


def lead(session: Session, merged: CustomerRow, customer: CustomerRow) -> None:
    """Let a merged customer's id, and those that led to them, lead to another one from now on."""
    changed(
        session,
        update(CustomerAliasRow)
        .where(CustomerAliasRow.customer_pk == merged.id)
        .values(
            customer_pk=customer.id,
            customer_generation=case(
                (
                    CustomerAliasRow.customer_generation == merged.link_generation,
                    customer.link_generation,
                ),
                else_=REVOKED,
            ),
        )
        .execution_options(synchronize_session=False),
    )
    session.add(
        CustomerAliasRow(
            public_id=merged.public_id,
            customer_pk=customer.id,
            link_generation=merged.link_generation,
            customer_generation=customer.link_generation,
        )
    )
    session.flush()
