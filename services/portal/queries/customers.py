"""Businesses, customers, their appointments, and which Stripe customer is whose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Row, Update, and_, bindparam, func, null, or_, select, union_all, update
from sqlalchemy.orm import Session

from services.portal.domain.linking import Source
from services.portal.domain.people import PROFILE
from services.portal.domain.snapshot import Business
from services.portal.models import (
    AppointmentRow,
    BusinessRow,
    CustomerAliasRow,
    CustomerRow,
    LinkEvidenceRow,
)
from services.portal.queries import aliases
from services.portal.queries.account_states import is_disconnected
from shared.contracts.accounts import OWN, Merchant, StripeCustomer, StripeId, by_merchant
from shared.database import UtcDateTime
from shared.prepared import prepared
from shared.statements import Kept, changed, is_among, is_object, table_of

_customer, _business = table_of(CustomerRow), table_of(BusinessRow)
_appointment, _word = table_of(AppointmentRow), table_of(LinkEvidenceRow)

_NEXT: Final = (
    select(func.min(_appointment.c.starts_at))
    .where(
        _appointment.c.customer_pk == _customer.c.id,
        _appointment.c.status == "scheduled",
        _appointment.c.starts_at > bindparam("now", type_=UtcDateTime()),
    )
    .correlate(_customer)
    .scalar_subquery()
    .label("next_appointment")
)

DISCONNECTED: Final = is_disconnected(_customer.c.account).label("disconnected")
"""Whether nothing is to be paid or mailed through us, since the customer's account is connected no more."""

_ENROLLED: Final = (
    select(func.max(_word.c.noted_at, type_=UtcDateTime()))
    .where(
        _word.c.account == _customer.c.account,
        _word.c.stripe_customer_id == _customer.c.platform_stripe_customer_id,
        _word.c.source == Source.ENROLLED,
        _word.c.customer_ref == _customer.c.public_id,
    )
    .correlate(_customer)
    .scalar_subquery()
    .label("enrolled_since")
)
"""When this Stripe customer was enrolled as the customer. The evidence of it goes with them when the host claims them; their
`enrolled_at` does not."""

_MERGED: Final = (
    select(func.aggregate_strings(CustomerAliasRow.public_id, ","))
    .where(CustomerAliasRow.customer_pk == _customer.c.id)
    .correlate(_customer)
    .scalar_subquery()
    .label("merged_ids")
)
"""The public ids of those who were merged into the customer, with commas between: looked up where one is asked for by such an id."""

# Built once: SQLAlchemy remembers the compiled form of a statement by the object. Two halves, so that each has its
# own unique index to go by.
_CONTACT: Final = select(
    *(column.label(f"c_{column.name}") for column in _customer.c),
    *(column.label(f"b_{column.name}") for column in _business.c),
    _NEXT,
    _ENROLLED,
    DISCONNECTED,
).join_from(_customer, _business, _customer.c.business_pk == _business.c.id)
_CONTACTS: Final = Kept(
    prepared(
        union_all(
            _CONTACT.add_columns(null().label("merged_ids")).where(
                _customer.c.account == bindparam("account"),
                _customer.c.on_behalf_of == bindparam("on_behalf_of"),
                is_among(_customer.c.platform_stripe_customer_id, "stripe_customer_ids"),
            ),
            _CONTACT.add_columns(_MERGED).where(is_among(_customer.c.public_id, "public_ids")),
        )
    )
)


_UPSERTED: Final = (
    select(
        _customer.c.id,
        _customer.c.public_id,
        _customer.c.account,
        _customer.c.platform_stripe_customer_id,
        *(_customer.c[name] for name in PROFILE),
        _word.c.stripe_customer_id.label("host_word"),
    )
    .join_from(_customer, _business, _customer.c.business_pk == _business.c.id)
    .outerjoin(
        _word,
        and_(
            _word.c.account == _customer.c.account,
            _word.c.on_behalf_of == _customer.c.on_behalf_of,
            _word.c.object_id == _customer.c.public_id,
            _word.c.source == Source.HOST,
            _word.c.withdrawn_at.is_(None),
            _word.c.denies.is_(False),
        ),
    )
    .where(
        _business.c.business_id == bindparam("business_id"),
        _customer.c.external_id == bindparam("external_id"),
    )
    .limit(1)
)


def before_upsert(session: Session, business_id: str, external_id: str) -> Row[Any] | None:
    """What there is of the customer with the host's ids, the Stripe customer that the host has named for them (`host_word`) among it; not
    locked."""
    asked = {"business_id": business_id, "external_id": external_id}
    return session.execute(_UPSERTED, asked).one_or_none()


def change_customer(session: Session, customer_pk: int, values: Mapping[str, Any]) -> bool:
    """Write these columns. False: the customer is gone."""
    statement = _change_of(tuple(values))
    return bool(changed(session, statement, {**values, "customer_pk": customer_pk}))


@lru_cache(maxsize=64)
def _change_of(names: tuple[str, ...]) -> Update:
    return (
        update(_customer)
        .where(_customer.c.id == bindparam("customer_pk"))
        .values({name: bindparam(name) for name in names})
    )


def business(session: Session, business_id: str, *, lock: bool = False) -> BusinessRow | None:
    """The business with the host's id."""
    statement = select(BusinessRow).where(BusinessRow.business_id == business_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def businesses(session: Session, limit: int) -> list[BusinessRow]:
    """Up to `limit` businesses, the oldest first."""
    return list(session.scalars(select(BusinessRow).order_by(BusinessRow.id).limit(limit)))


def page_of_businesses(
    session: Session, business_ids: Collection[str] | None, after: int, limit: int
) -> list[BusinessRow]:
    """Businesses in the order in which they were made, after one of them; of these alone, unless None."""
    statement = select(BusinessRow).where(BusinessRow.id > after)
    if business_ids is not None:
        statement = statement.where(BusinessRow.business_id.in_(business_ids))
    return list(session.scalars(statement.order_by(BusinessRow.id).limit(limit)))


def sender_addresses(session: Session) -> dict[str, str]:
    """The businesses' own sender addresses, by the host's ids of the businesses that have one."""
    rows = session.execute(
        select(BusinessRow.business_id, BusinessRow.sender_email).where(
            BusinessRow.sender_email.is_not(None)
        )
    )
    return {row.business_id: row.sender_email for row in rows}


def customer(session: Session, public_id: str, *, lock: bool = False) -> CustomerRow | None:
    """The customer with this public id, or into whom the one with it was merged; locked for change on demand."""
    statement = select(CustomerRow).where(CustomerRow.public_id == public_id)
    statement = statement.with_for_update() if lock else statement
    row = session.scalars(statement).one_or_none()
    if row is None and (target := aliases.resolve(session, public_id)) is not None:
        return customer(session, target, lock=lock)
    return row


def business_id_of(session: Session, public_id: str) -> str | None:
    """The host's id of a customer's business; None: there is no such customer."""
    row = customer(session, public_id)
    return None if row is None else session.get_one(BusinessRow, row.business_pk).business_id


def enrolled(
    session: Session, business_pk: int, external_ids: Collection[str]
) -> list[CustomerRow]:
    """The enrolled customers of a business with these ids in the place of the host's, locked for change, and as they are by then."""
    return list(
        session.scalars(
            select(CustomerRow)
            .where(
                CustomerRow.business_pk == business_pk,
                CustomerRow.external_id.in_(external_ids),
                CustomerRow.enrolled_at.is_not(None),
            )
            .order_by(CustomerRow.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def keys_of_enrolled(
    session: Session, businesses: Collection[int], external_ids: Collection[str]
) -> set[int]:
    """The enrolled customers of these businesses with these ids in the place of the host's; not locked."""
    return set(
        session.scalars(
            select(CustomerRow.id).where(
                CustomerRow.business_pk.in_(businesses),
                CustomerRow.external_id.in_(external_ids),
                CustomerRow.enrolled_at.is_not(None),
            )
        )
    )


def lock(session: Session, keys: Collection[int]) -> None:
    """Lock these customers for change, all in one order, and read them anew: who was loaded before may have changed meanwhile."""
    session.scalars(
        select(CustomerRow)
        .where(CustomerRow.id.in_(keys))
        .order_by(CustomerRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def businesses_of(session: Session, customers: Collection[int]) -> set[int]:
    """The keys of these customers' businesses."""
    return set(
        session.scalars(
            select(CustomerRow.business_pk).where(CustomerRow.id.in_(customers)).distinct()
        )
    )


def customer_of_host(session: Session, business_pk: int, external_id: str) -> CustomerRow | None:
    """The customer with the host's own id, locked for change."""
    return session.scalars(
        select(CustomerRow)
        .where(CustomerRow.business_pk == business_pk, CustomerRow.external_id == external_id)
        .with_for_update()
    ).one_or_none()


def businesses_that_know(session: Session, external_id: str, limit: int) -> list[str]:
    """The host's ids of up to `limit` businesses that have a customer with this id of the host's; of the oldest thousand, since
    no index finds an id without its business."""
    oldest = select(BusinessRow.id).order_by(BusinessRow.id).limit(1000).scalar_subquery()
    statement = (
        select(BusinessRow.business_id)
        .join(CustomerRow, CustomerRow.business_pk == BusinessRow.id)
        .where(BusinessRow.id.in_(oldest), CustomerRow.external_id == external_id)
    )
    return list(session.scalars(statement.order_by(BusinessRow.id).limit(limit)))


def customers_of_stripe(session: Session, stripe_customer: StripeId) -> list[CustomerRow]:
    """The customers that a Stripe customer belongs to: one, but for a platform's, which may be one of several businesses."""
    statement = select(CustomerRow).where(
        is_object(CustomerRow.account, CustomerRow.platform_stripe_customer_id, stripe_customer)
    )
    return list(session.scalars(statement.order_by(CustomerRow.id)))


def customer_of_stripe(session: Session, stripe_customer: StripeCustomer) -> CustomerRow | None:
    """The customer that a Stripe customer belongs to, of this merchant's."""
    found = customers_of_stripe(session, stripe_customer.name)
    return next((one for one in found if one.on_behalf_of == stripe_customer.on_behalf_of), None)


def contacts(
    session: Session,
    *,
    stripe_customers: Collection[StripeCustomer],
    public_ids: Collection[str],
    now: dt.datetime,
) -> Sequence[Row[Any]]:
    """The customers of these Stripe customers and those with these public ids, each with its business and when their
    next appointment begins."""
    # Of one merchant nearly always, and then one statement.
    asked = by_merchant(stripe_customers) or {Merchant(OWN): []}
    found: list[Row[Any]] = []
    for number, (merchant, ids) in enumerate(asked.items()):
        found += _CONTACTS.run(
            session,
            {
                "account": merchant.account,
                "on_behalf_of": merchant.on_behalf_of,
                "stripe_customer_ids": ids,
                "public_ids": [] if number else list(public_ids),
                "now": now,
            },
        )
    return found


def profile_of(row: Row[Any]) -> dict[str, Any]:
    """The fields of `CustomerProfile` in a row whose columns of the customer are called `c_…`."""
    return {name: getattr(row, f"c_{name}") for name in PROFILE}


def business_of(row: Row[Any]) -> Business:
    """The business in a row whose columns of it are called `b_…`."""
    return Business(**{field.name: getattr(row, f"b_{field.name}") for field in fields(Business)})


def appointments_of(
    session: Session, customer_pk: int, external_ids: Sequence[str]
) -> dict[str, AppointmentRow]:
    """The customer's appointments with the host's ids, by those ids."""
    rows = session.scalars(
        select(AppointmentRow).where(
            AppointmentRow.customer_pk == customer_pk, AppointmentRow.external_id.in_(external_ids)
        )
    )
    return {row.external_id: row for row in rows}


def note_billing_opened(session: Session, public_id: str, now: dt.datetime) -> None:
    """Remember that Stripe's page was opened from here."""
    changed(
        session,
        update(CustomerRow).where(CustomerRow.public_id == public_id).values(billing_opened_at=now),
    )


def take_fresh_link(
    session: Session, public_id: str, now: dt.datetime, every: dt.timedelta
) -> bool:
    """Take the one fresh link that a customer may ask for in a time. False: it was taken already."""
    return bool(
        changed(
            session,
            update(CustomerRow)
            .where(
                CustomerRow.public_id == public_id,
                or_(CustomerRow.fresh_link_at.is_(None), CustomerRow.fresh_link_at <= now - every),
            )
            .values(fresh_link_at=now),
        )
    )


def give_back_fresh_link(session: Session, public_id: str, taken_at: dt.datetime) -> None:
    """Undo `take_fresh_link` when the mail could not be asked for."""
    changed(
        session,
        update(CustomerRow)
        .where(CustomerRow.public_id == public_id, CustomerRow.fresh_link_at == taken_at)
        .values(fresh_link_at=None),
    )
