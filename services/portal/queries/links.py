"""Which Stripe customer is whose: the evidence, the customers that it is about, and deleted Stripe customers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, text, true, union, update
from sqlalchemy.orm import Session

from services.portal.domain.linking import Claim, CustomerRef, Source, Spell, Statement
from services.portal.domain.people import PUBLIC_ID_LENGTH, STRIPE_CUSTOMER
from services.portal.models import (
    UNKNOWN_LINKS,
    BusinessRow,
    CustomerRow,
    DeletedStripeCustomerRow,
    LinkEvidenceRow,
)
from services.portal.queries.behalves import counts_for
from services.portal.queries.behalves import merchants as effective_merchants
from shared.contracts.accounts import Account, Merchant, StripeId
from shared.statements import changed, hold_lock, insert_new, is_object, table_of

LOCK: Final = 0x6C696E6B
"""PostgreSQL's advisory lock under which links are decided."""


_HOST_NAMES: Final = and_(
    LinkEvidenceRow.source == Source.HOST,
    LinkEvidenceRow.withdrawn_at.is_(None),
    LinkEvidenceRow.denies.is_(False),
)
"""The host has said that a customer is this Stripe customer, and not taken it back."""


def lock(session: Session) -> None:
    """Wait until nobody else decides about links: a decision looks at rows that another one may be writing.

    Take it before any row is locked.
    """
    hold_lock(session, LOCK)


def keep_still(session: Session) -> None:
    """Wait until nobody decides about links, and let nobody begin before the transaction ends; others may do the same beside.

    For whoever locks many customers and decides nothing: a decision locks those whom it finds connected, in no order that is known
    before, so the two would end each other. Take it before any row is locked, and `lock` not after it.
    """
    hold_lock(session, LOCK, shared=True)


def evidence_of(
    session: Session, account: Account, object_ids: Collection[str]
) -> dict[str, list[LinkEvidenceRow]]:
    """All that these objects ever said; what the host said is under the customer's public id."""
    found: dict[str, list[LinkEvidenceRow]] = {}
    for row in session.scalars(
        select(LinkEvidenceRow).where(
            LinkEvidenceRow.account == account, LinkEvidenceRow.object_id.in_(object_ids)
        )
    ):
        found.setdefault(row.object_id, []).append(row)
    return found


def host_words(
    session: Session, business_pk: int, external_ids: Collection[str]
) -> dict[str, str | None]:
    """Customers by the host's ids, and the Stripe customer that the host itself has named for each."""
    rows = session.execute(
        select(CustomerRow.external_id, LinkEvidenceRow.stripe_customer_id)
        .outerjoin(
            LinkEvidenceRow,
            and_(
                LinkEvidenceRow.account == CustomerRow.account,
                LinkEvidenceRow.on_behalf_of == CustomerRow.on_behalf_of,
                LinkEvidenceRow.object_id == CustomerRow.public_id,
                _HOST_NAMES,
            ),
        )
        .where(CustomerRow.business_pk == business_pk, CustomerRow.external_id.in_(external_ids))
    )
    return dict(rows.tuples().all())


def claimed_by_host(
    session: Session, merchant: Merchant, stripe_ids: Collection[str]
) -> dict[str, str]:
    """Which customer (public id) of a merchant the host has named for each of these Stripe customers."""
    rows = session.execute(
        select(LinkEvidenceRow.stripe_customer_id, LinkEvidenceRow.object_id).where(
            _of_evidence(merchant),
            LinkEvidenceRow.stripe_customer_id.in_(stripe_ids),
            _HOST_NAMES,
        )
    )
    return dict(rows.tuples().all())


def _of_evidence(merchant: Merchant) -> ColumnElement[bool]:
    """Whether evidence speaks for a merchant's customers. What the host said, and a signed reference, of a business's customers is of
    what that business named then, whoever names it now."""
    row = LinkEvidenceRow
    speaks = row.on_behalf_of == merchant.on_behalf_of
    if not merchant.on_behalf_of:
        theirs = counts_for(row.account, row.on_behalf_of, merchant.on_behalf_of)
        speaks = or_(speaks, and_(row.source == Source.METADATA, theirs))
    return and_(row.account == merchant.account, speaks)


def said_on_behalf(session: Session, merchant: Merchant) -> set[str]:
    """The Stripe customers of whom metadata says on this behalf whose they are."""
    row = LinkEvidenceRow
    found: Sequence[str] = session.scalars(
        select(row.stripe_customer_id)
        .where(
            row.account == merchant.account,
            row.on_behalf_of == merchant.on_behalf_of,
            row.source == Source.METADATA,
        )
        .distinct()
    ).all()
    return set(found)


def of_other_businesses(
    session: Session,
    account: Account,
    business_pk: int,
    business_id: str,
    stripe_ids: Collection[str],
    *,
    enrolled: bool = True,
) -> set[str]:
    """Which of these Stripe customers are linked with another business's customer, or named by what stands as one; on whosever
    behalf, since a page shows the Stripe customer's payment methods, which all have in common. `enrolled`: also by enrolment alone."""
    linked = select(CustomerRow.platform_stripe_customer_id).where(
        CustomerRow.platform_stripe_customer_id.in_(stripe_ids),
        CustomerRow.account == account,
        CustomerRow.business_pk != business_pk,
        true() if enrolled else CustomerRow.enrolled_at.is_(None),
    )
    named = (
        select(LinkEvidenceRow.stripe_customer_id)
        .outerjoin(CustomerRow, CustomerRow.public_id == LinkEvidenceRow.customer_ref)
        .where(
            LinkEvidenceRow.stripe_customer_id.in_(stripe_ids),
            LinkEvidenceRow.account == account,
            LinkEvidenceRow.withdrawn_at.is_(None),
            LinkEvidenceRow.refused.is_(None),
            LinkEvidenceRow.denies.is_(False),
            true() if enrolled else LinkEvidenceRow.source != Source.ENROLLED,
            or_(
                CustomerRow.business_pk != business_pk,
                and_(
                    CustomerRow.id.is_(None),
                    LinkEvidenceRow.business_ref != business_id,
                ),
            ),
        )
    )
    found: Sequence[str] = session.scalars(union(linked, named)).all()
    return set(found)


def named_already(
    session: Session, merchant: Merchant, business_id: str, external_ids: Collection[str]
) -> set[str]:
    """Which of a business's own ids evidence from Stripe names that stands."""
    return {
        str(ref)
        for ref in session.scalars(
            select(LinkEvidenceRow.customer_ref).where(
                _of_evidence(merchant),
                LinkEvidenceRow.customer_ref.in_(external_ids),
                LinkEvidenceRow.business_ref == business_id,
                LinkEvidenceRow.withdrawn_at.is_(None),
            )
        )
    }


def named_of_business(session: Session, business: BusinessRow) -> set[int]:
    """The customers (keys) of a business whom what stands names, with its present account. Two questions, as no index serves both
    names at once."""
    standing = select(CustomerRow.id).where(
        CustomerRow.business_pk == business.id,
        _of_evidence(Merchant(Account(business.account), business.on_behalf_of)),
        LinkEvidenceRow.withdrawn_at.is_(None),
    )
    own = and_(
        LinkEvidenceRow.customer_ref == CustomerRow.external_id,
        LinkEvidenceRow.business_ref == business.business_id,
    )
    named = (
        standing.join(LinkEvidenceRow, which)
        for which in (LinkEvidenceRow.customer_ref == CustomerRow.public_id, own)
    )
    found: Sequence[int] = session.scalars(union(*named)).all()
    return set(found)


def linked_of_business(session: Session, business_pk: int) -> list[Customer]:
    """The customers of a business who are linked with a Stripe customer, locked for change."""
    of_business = and_(
        CustomerRow.business_pk == business_pk,
        CustomerRow.platform_stripe_customer_id.is_not(None),
    )
    return _customers_where(session, of_business, lock=True)


def merchants_of(session: Session, stripe_customer: StripeId) -> set[Merchant]:
    """For whose customers a Stripe customer may be one: the account's own, and on whose behalf anything says so."""
    linked = select(CustomerRow.on_behalf_of).where(
        is_object(CustomerRow.account, CustomerRow.platform_stripe_customer_id, stripe_customer)
    )
    said = select(LinkEvidenceRow.on_behalf_of).where(
        is_object(LinkEvidenceRow.account, LinkEvidenceRow.stripe_customer_id, stripe_customer)
    )
    found: Sequence[str] = session.scalars(union(linked, said)).all()
    said_of = {Merchant(stripe_customer.account, one) for one in {"", *found}}
    return set(effective_merchants(session, said_of).values())


def business_of(session: Session, account: Account, public_id: str) -> BusinessRow | None:
    """A customer's business; None: there is no such customer on this account."""
    return session.scalar(
        select(BusinessRow)
        .join(CustomerRow, CustomerRow.business_pk == BusinessRow.id)
        .where(CustomerRow.account == account, CustomerRow.public_id == public_id)
    )


def statement(row: LinkEvidenceRow) -> Statement:
    """A row about a Stripe object as the domain knows it."""
    return Statement(
        id=row.id,
        said_at=row.said_at,
        event_id=row.event_id or "",
        names=_ref(row.customer_ref, row.business_ref, row.on_behalf_of),
        before=_ref(row.previous_customer_ref, row.previous_business_ref, row.on_behalf_of),
    )


def _ref(customer: str | None, business: str | None, on_behalf_of: str = "") -> CustomerRef | None:
    return None if customer is None else CustomerRef(customer, business, on_behalf_of)


@dataclass
class Customer:
    """A customer and the host's id of their business."""

    row: CustomerRow
    business_id: str


@dataclass
class Component:
    """Customers and Stripe customers of one merchant that evidence connects: they are decided together."""

    merchant: Merchant

    customers: dict[int, Customer] = field(default_factory=dict)
    evidence: list[LinkEvidenceRow] = field(default_factory=list)
    """In the order in which it was said."""
    stripe_ids: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    """Stripe customers that are gone."""
    names: dict[CustomerRef, int] = field(default_factory=dict)

    def named(self, row: LinkEvidenceRow) -> int | None:
        """The customer (key) that a piece of evidence names; None: nobody that we know."""
        ref = _ref(row.customer_ref, row.business_ref)
        return None if ref is None else self.names.get(ref)

    def named_before(self, row: LinkEvidenceRow) -> int | None:
        """The customer that the same object named before."""
        ref = _ref(row.previous_customer_ref, row.previous_business_ref)
        return None if ref is None else self.names.get(ref)

    def spells(self) -> list[Spell]:
        """The evidence that names somebody, with the times in which it stood."""
        found = []
        for row in self.evidence:
            customer = self.named(row)
            if customer is None or row.refused or row.stripe_customer_id in self.deleted:
                continue
            claim = Claim(
                id=row.id,
                stripe_customer_id=row.stripe_customer_id,
                customer=customer,
                source=Source(row.source),
                said_at=row.said_at,
            )
            found.append(Spell(claim, row.withdrawn_at, row.denies))
        return found


def component(
    session: Session, merchant: Merchant, stripe_ids: Collection[str], customers: Collection[int]
) -> Component:
    """All that has to be decided together with these Stripe customers and these customers (by key) of a merchant. What is said in
    an account, on somebody's behalf, speaks for customers of businesses of that account, and that behalf, alone."""
    found = Component(merchant)
    loaded: dict[int, Customer] = {}
    rows: dict[int, LinkEvidenceRow] = {}
    new_stripe, new_customers = set(stripe_ids), set(customers)
    while new_stripe or new_customers:
        linked = _customers(
            session,
            merchant,
            or_(
                CustomerRow.id.in_(new_customers),
                CustomerRow.platform_stripe_customer_id.in_(new_stripe),
            ),
        )
        loaded |= {one.row.id: one for one in linked}
        new_customers = {one.row.id for one in linked} - found.customers.keys()
        found.customers |= {key: loaded[key] for key in new_customers}
        found.stripe_ids |= new_stripe
        touching = _touching(
            session, merchant, new_stripe, [loaded[key].row for key in new_customers]
        )
        loaded |= {one.row.id: one for one in _named_by(session, merchant, touching)}
        found.names = _names(loaded.values())
        # A name may be somebody else's: two businesses may have the same own ids.
        member = [
            row
            for row in touching
            if row.stripe_customer_id in found.stripe_ids or found.named(row) in found.customers
        ]
        rows |= {row.id: row for row in member}
        links = (found.customers[key].row.platform_stripe_customer_id for key in new_customers)
        new_stripe = {row.stripe_customer_id for row in member} | {one for one in links if one}
        new_stripe -= found.stripe_ids
        new_customers = {key for row in member if (key := found.named(row)) is not None}
        new_customers -= found.customers.keys()
    found.evidence = sorted(rows.values(), key=lambda row: (row.said_at, row.id))
    found.deleted = deleted_of(session, merchant.account, found.stripe_ids)
    return found


def _touching(
    session: Session,
    merchant: Merchant,
    stripe_ids: Collection[str],
    customers: Iterable[CustomerRow],
) -> Sequence[LinkEvidenceRow]:
    refs = {ref for row in customers for ref in (row.public_id, row.external_id)}
    return session.scalars(
        select(LinkEvidenceRow).where(
            _of_evidence(merchant),
            or_(
                LinkEvidenceRow.stripe_customer_id.in_(stripe_ids),
                LinkEvidenceRow.customer_ref.in_(refs),
            ),
        )
    ).all()


def _names(customers: Iterable[Customer]) -> dict[CustomerRef, int]:
    """Under which names evidence may speak of these customers. Portico's ids go before the host's own."""
    names: dict[CustomerRef, int] = {}
    for one in customers:
        names[CustomerRef(one.row.public_id)] = one.row.id
        names[CustomerRef(one.row.public_id, one.business_id)] = one.row.id
    for one in customers:
        names.setdefault(CustomerRef(one.row.external_id, one.business_id), one.row.id)
    return names


def _named_by(
    session: Session, merchant: Merchant, rows: Iterable[LinkEvidenceRow]
) -> list[Customer]:
    """Two questions, as no index serves both names at once."""
    refs = [(row.customer_ref, row.business_ref) for row in rows if row.customer_ref]
    public_ids = {ref for ref, _ in refs if len(ref) == PUBLIC_ID_LENGTH}
    own = {(ref, business) for ref, business in refs if business}
    found = (
        _customers(session, merchant, CustomerRow.public_id.in_(public_ids)) if public_ids else []
    )
    if own:
        found += _customers(
            session,
            merchant,
            and_(
                BusinessRow.business_id.in_({business for _, business in own}),
                CustomerRow.external_id.in_({ref for ref, _ in own}),
            ),
        )
    return found


def _customers(
    session: Session, merchant: Merchant, condition: ColumnElement[bool]
) -> list[Customer]:
    of_merchant = and_(
        CustomerRow.account == merchant.account,
        CustomerRow.on_behalf_of == merchant.on_behalf_of,
    )
    return _customers_where(session, and_(of_merchant, condition))


def _customers_where(
    session: Session,
    condition: ColumnElement[bool],
    limit: int | None = None,
    *,
    lock: bool = False,
) -> list[Customer]:
    statement = (
        select(CustomerRow, BusinessRow.business_id)
        .join(BusinessRow, CustomerRow.business_pk == BusinessRow.id)
        .where(condition)
        .order_by(CustomerRow.id)
        .limit(limit)
    )
    rows = session.execute(statement.with_for_update(of=CustomerRow) if lock else statement)
    return [Customer(row, business_id) for row, business_id in rows.tuples()]


def deleted_of(session: Session, account: Account, stripe_ids: Collection[str]) -> set[str]:
    """Which of these Stripe has deleted."""
    return set(
        session.scalars(
            select(DeletedStripeCustomerRow.stripe_customer_id).where(
                DeletedStripeCustomerRow.account == account,
                DeletedStripeCustomerRow.stripe_customer_id.in_(stripe_ids),
            )
        )
    )


def note_deleted(session: Session, stripe_customer: StripeId, at: dt.datetime) -> None:
    """Remember that a Stripe customer is gone; all that was said of it is withdrawn."""
    insert_new(
        session,
        table_of(DeletedStripeCustomerRow),
        [
            {
                "account": stripe_customer.account,
                "stripe_customer_id": stripe_customer.id,
                "deleted_at": at,
            }
        ],
        returning="stripe_customer_id",
    )
    changed(
        session,
        update(LinkEvidenceRow)
        .where(
            is_object(LinkEvidenceRow.account, LinkEvidenceRow.stripe_customer_id, stripe_customer),
            LinkEvidenceRow.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=at),
    )


def unknown_links(
    session: Session, business_pk: int | None, after: int, limit: int
) -> list[Customer]:
    """Customers whose link is of unknown source, in the order they came, after one of them."""
    condition = and_(text(UNKNOWN_LINKS), CustomerRow.id > after)
    if business_pk is not None:
        condition = and_(condition, CustomerRow.business_pk == business_pk)
    return _customers_where(session, condition, limit)


def not_of_stripe(session: Session, limit: int) -> list[Customer]:
    """Customers whose Stripe id is none: releases before took from hosts whatever they said."""
    stripe_id = CustomerRow.platform_stripe_customer_id
    condition = and_(stripe_id.is_not(None), ~stripe_id.regexp_match(rf"^{STRIPE_CUSTOMER}\Z"))
    return _customers_where(session, condition, limit)
