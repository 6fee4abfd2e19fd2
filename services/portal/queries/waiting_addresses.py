"""Addresses that Stripe told of enrolled customers and that could not become theirs, since another customer has them. Kept beside what
people decided, and forgotten with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.models import CustomerRow, LinkProposalRow
from services.portal.queries.profiles import decisions
from shared.contracts.accounts import Account

WAITS: Final = "address_waits"
WHY: Final = "address_taken"


def of(
    session: Session, account: Account, stripe_ids: Collection[str]
) -> dict[str, LinkProposalRow]:
    """Those of these Stripe customers of which an address waits."""
    rows = session.scalars(
        select(LinkProposalRow).where(
            LinkProposalRow.account == account,
            LinkProposalRow.stripe_customer_id.in_(stripe_ids),
            LinkProposalRow.state == WAITS,
        )
    )
    return {row.stripe_customer_id: row for row in rows}


def page(session: Session, after: int, limit: int) -> list[LinkProposalRow]:
    """All that wait, in one order, after one of them."""
    return list(
        session.scalars(
            select(LinkProposalRow)
            .where(LinkProposalRow.state == WAITS, LinkProposalRow.id > after)
            .order_by(LinkProposalRow.id)
            .limit(limit)
        )
    )


def note(session: Session, customer: CustomerRow, stripe_customer_id: str) -> None:
    """An address waits for this customer, as they are: whoever changes their profile from here on has a newer word. Where a person has
    decided about the two, that stays, and nothing waits: a pair has one row."""
    known = decisions(session, Account(customer.account), [stripe_customer_id])
    row = known.pop((stripe_customer_id, customer.public_id), None)
    for other in known.values():
        if other.state == WAITS:  # the Stripe customer was that one's before
            session.delete(other)
    if row is None:
        row = LinkProposalRow(
            account=customer.account,
            on_behalf_of=customer.on_behalf_of,
            stripe_customer_id=stripe_customer_id,
            customer_id=customer.public_id,
            why=WHY,
            state=WAITS,
            decided_by="",
        )
        session.add(row)
    if row.state == WAITS:
        row.decided_at = customer.updated_at


def stands(row: LinkProposalRow, customer: CustomerRow) -> bool:
    """Whether it is about this customer, whose profile nobody has changed since."""
    return row.customer_id == customer.public_id and row.decided_at == customer.updated_at


def touch(session: Session, customers: Collection[CustomerRow], now: dt.datetime) -> None:
    """Mark customers as changed in something that is no word on their profiles, their links: what waits for them stands as before."""
    # Who is enrolled in this moment waits for nothing.
    waiting = [one.public_id for one in customers if one.enrolled_at not in (None, now)]
    if waiting:
        unchanged = select(CustomerRow.updated_at).where(
            CustomerRow.public_id == LinkProposalRow.customer_id
        )
        session.execute(
            update(LinkProposalRow)
            .where(
                LinkProposalRow.customer_id.in_(waiting),
                LinkProposalRow.state == WAITS,
                LinkProposalRow.decided_at == unchanged.scalar_subquery(),
            )
            .values(decided_at=now)
            .execution_options(synchronize_session="fetch")
        )
    for one in customers:
        one.updated_at = now
