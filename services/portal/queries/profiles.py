"""What Stripe tells of its customers, the businesses that enrol from there, and whose address is whose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from services.portal.domain.enrolment import Enrolment
from services.portal.domain.profiles import Profile
from services.portal.models import (
    BusinessRow,
    CustomerRow,
    LinkProposalRow,
    StripeProfileRow,
)
from services.portal.queries.behalves import counts_for
from shared.contracts.accounts import Account, Merchant, StripeId
from shared.statements import changed, is_object


def enrolling(session: Session, account: Account) -> list[BusinessRow]:
    """The businesses of an account that enrol from Stripe: one of each merchant at most."""
    return list(
        session.scalars(
            select(BusinessRow)
            .where(BusinessRow.account == account, BusinessRow.enrolment == Enrolment.FROM_STRIPE)
            .order_by(BusinessRow.id)
        )
    )


def profiles_of(
    session: Session, account: Account, stripe_ids: Collection[str]
) -> dict[str, dict[str, StripeProfileRow]]:
    """What is kept of these Stripe customers, by on whose behalf they were charged."""
    found: dict[str, dict[str, StripeProfileRow]] = {}
    for row in session.scalars(
        select(StripeProfileRow).where(
            StripeProfileRow.account == account,
            StripeProfileRow.stripe_customer_id.in_(stripe_ids),
        )
    ):
        found.setdefault(row.stripe_customer_id, {})[row.on_behalf_of] = row
    return found


def profile_of(row: StripeProfileRow) -> Profile:
    """A row as the domain knows it."""
    return Profile(
        email=row.email,
        name=row.name,
        locale=row.locale,
        told_at=row.told_at,
        firm=row.firm,
        pays=row.pays,
        pays_at=row.pays_at,
    )


def write(row: StripeProfileRow, profile: Profile) -> None:
    """The reverse."""
    row.email, row.name, row.locale = profile.email, profile.name, profile.locale
    row.told_at, row.firm = profile.told_at, profile.firm
    row.pays, row.pays_at = profile.pays, profile.pays_at


def has_email(email: Any, wanted: Iterable[str]) -> ColumnElement[bool]:
    """Whether an address is one of these, in whatever case; outside of ASCII a database may fold otherwise than we do, so as it was
    given too, and one in another case may be missed."""
    forms = {form for one in wanted for form in (one, one.lower())}
    found: ColumnElement[bool] = func.lower(email).in_(forms)
    return found


MOST_ALIKE: Final = 20
"""Stripe customers with one address that are looked at: anybody can make as many as they like, and two are in doubt already."""


def stripe_ids_with_email(
    session: Session, account: Account, emails: Collection[str], but: Collection[str]
) -> tuple[set[str], set[str]]:
    """The Stripe customers, `but` for these, that have one of these addresses, by anything that was told of them: the first `MOST_ALIKE`
    of each; and the addresses, in lower case, that so many have."""
    row, address = StripeProfileRow, func.lower(StripeProfileRow.email)
    nth = func.row_number().over(partition_by=address, order_by=row.stripe_customer_id)
    alike = (
        select(row.stripe_customer_id, address.label("address"), nth.label("nth"))
        .where(
            row.account == account,
            has_email(row.email, emails),
            row.stripe_customer_id.not_in(but),
        )
        .subquery()
    )
    found = session.execute(
        select(alike.c.stripe_customer_id, alike.c.address, alike.c.nth).where(
            alike.c.nth <= MOST_ALIKE
        )
    ).all()
    return {id for id, _, _ in found}, {email for _, email, nth in found if nth == MOST_ALIKE}


def customers_with_email(
    session: Session, account: Account, emails: Collection[str]
) -> list[CustomerRow]:
    """The customers on an account who have one of these addresses."""
    return list(
        session.scalars(
            select(CustomerRow)
            .where(CustomerRow.account == account, has_email(CustomerRow.email, emails))
            .order_by(CustomerRow.id)
        )
    )


def linked(
    session: Session, merchant: Merchant, stripe_ids: Collection[str]
) -> dict[str, CustomerRow]:
    """The customers of a merchant by the Stripe customers that they are linked with."""
    rows = session.scalars(
        select(CustomerRow).where(
            CustomerRow.account == merchant.account,
            CustomerRow.on_behalf_of == merchant.on_behalf_of,
            CustomerRow.platform_stripe_customer_id.in_(stripe_ids),
        )
    )
    return {row.platform_stripe_customer_id or "": row for row in rows}


def own_ids(session: Session, business_pk: int, external_ids: Collection[str]) -> set[str]:
    """Which of these ids customers of a business have."""
    found: Sequence[str] = session.scalars(
        select(CustomerRow.external_id).where(
            CustomerRow.business_pk == business_pk, CustomerRow.external_id.in_(external_ids)
        )
    ).all()
    return set(found)


def page(session: Session, merchant: Merchant, after: str, limit: int) -> list[str]:
    """The Stripe customers of a merchant of which anything is kept, in the order of their ids, after one of them."""
    row = StripeProfileRow
    found: Sequence[str] = session.scalars(
        select(row.stripe_customer_id)
        .where(
            row.account == merchant.account,
            counts_for(row.account, row.on_behalf_of, merchant.on_behalf_of),
            row.stripe_customer_id > after,
        )
        .distinct()
        .order_by(row.stripe_customer_id)
        .limit(limit)
    ).all()
    return list(found)


def forget(session: Session, stripe_customer: StripeId) -> None:
    """Delete what Stripe told of a customer, and what people decided about it."""
    for table in (StripeProfileRow, LinkProposalRow):
        changed(
            session,
            delete(table).where(
                is_object(table.account, table.stripe_customer_id, stripe_customer)
            ),
        )


def unneeded() -> ColumnElement[bool]:
    """What is kept of Stripe customers of whom no customer has the address, where no business enrols from their account."""
    enrols = (
        select(BusinessRow.id)
        .where(
            BusinessRow.account == StripeProfileRow.account,
            BusinessRow.enrolment == Enrolment.FROM_STRIPE,
        )
        .exists()
    )
    same = (
        select(CustomerRow.id)
        .where(
            CustomerRow.account == StripeProfileRow.account,
            func.lower(CustomerRow.email) == func.lower(StripeProfileRow.email),
        )
        .exists()
    )
    return and_(~enrols, ~same)


def forget_unneeded(session: Session, account: Account) -> None:
    """Delete what of an account is `unneeded`."""
    session.flush()
    changed(
        session,
        delete(StripeProfileRow).where(StripeProfileRow.account == account, unneeded()),
    )


def decisions(
    session: Session, account: Account, stripe_ids: Collection[str]
) -> dict[tuple[str, str], LinkProposalRow]:
    """What people decided about these Stripe customers, by them and the customer; and where an address waits."""
    rows = session.scalars(
        select(LinkProposalRow).where(
            LinkProposalRow.account == account, LinkProposalRow.stripe_customer_id.in_(stripe_ids)
        )
    )
    return {(row.stripe_customer_id, row.customer_id): row for row in rows}


def note_decision(
    session: Session,
    customer: CustomerRow,
    stripe_customer_id: str,
    *,
    why: str,
    state: str,
    by: str,
    now: dt.datetime,
) -> None:
    """Remember what a person decided about a Stripe customer and a customer; the last word stays."""
    known = decisions(session, Account(customer.account), [stripe_customer_id])
    row = known.get((stripe_customer_id, customer.public_id))
    if row is None:
        row = LinkProposalRow(
            account=customer.account,
            on_behalf_of=customer.on_behalf_of,
            stripe_customer_id=stripe_customer_id,
            customer_id=customer.public_id,
        )
        session.add(row)
    row.why, row.state, row.decided_at, row.decided_by = why, state, now, by
    session.flush()
