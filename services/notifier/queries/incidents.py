"""Statements on incidents, the stories of invoices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.models import IncidentRow
from shared.contracts.accounts import Account, StripeCustomer, StripeId
from shared.contracts.invoices import InvoiceStatus
from shared.json_documents import Documents, as_text, json_object
from shared.postgresql import WITH_NEXT
from shared.statements import (
    Kept,
    among_named,
    among_named_customers,
    insert_new_rows,
    is_customer,
    is_object,
    named_customers,
    named_objects,
    table_of,
    update_rows,
)

MOST_TOLD_TOGETHER: Final = 20
"""How many invoices of one customer an email to the business names."""
_FIELDS: Final = tuple(
    name for name in Incident.__struct_fields__ if not name.startswith("under_way_")
)
"""Whether a payment is under way billing is asked before each email: it knows by its webhooks, too, when Stripe is busy."""
_TABLE: Final = table_of(IncidentRow)
_COLUMNS: Final = {name: IncidentRow.__mapper__.columns[name] for name in _FIELDS}
_NAMES: Final = {column.name: name for name, column in _COLUMNS.items()}
DOCUMENT: Final = json_object(
    **_COLUMNS
    # NULL in rows of an earlier release
    | {"amount_remaining": func.coalesce(_TABLE.c.amount_remaining, 0)}
)
"""An `Incident`."""
_decode: Final = msgspec.json.Decoder(Incident).decode
_KEY: Final = ("account", "invoice_id")
_CUSTOMER: Final = (_TABLE.c.account, _TABLE.c.stripe_customer_id, _TABLE.c.on_behalf_of)
_ORDER: Final = tuple(_TABLE.c[name] for name in _KEY)
"""That of `StripeId`s: locks are taken in it."""


def add_incidents(session: Session, incidents: Iterable[Incident]) -> set[StripeId]:
    """Write down those of these incidents whose invoices are new, in one order; the names of these. They are locked until the
    transaction ends."""
    ordered = sorted(incidents, key=lambda one: one.name)
    made = insert_new_rows(
        session,
        _TABLE,
        [_values(one) for one in ordered],
        returning=_KEY,
    )
    return {StripeId(Account(account), invoice_id) for account, invoice_id in made}


def lock_known_incident(session: Session, invoice: StripeId | None) -> Incident | None:
    """The invoice's incident if there is one, locked until the transaction ends."""
    if invoice is None:
        return None
    found = _read(
        session,
        _select()
        .where(is_object(_TABLE.c.account, _TABLE.c.invoice_id, invoice))
        .with_for_update(),
    )
    return found[0] if found else None


def lock_incidents(session: Session, invoices: Iterable[StripeId]) -> dict[StripeId, Incident]:
    """Those incidents of these invoices that exist, by invoice, locked in one order until the transaction ends."""
    wanted = sorted(set(invoices))
    if not wanted:
        return {}
    accounts, names = named_objects(wanted)
    return _by_name(_locking(accounts).read(session, names))


@lru_cache
def _locking(accounts: int) -> Documents:
    return Documents(_naming(accounts).order_by(*_ORDER).with_for_update())


def _naming(accounts: int) -> Select[Any]:
    return _select().where(among_named(_TABLE.c.account, _TABLE.c.invoice_id, accounts))


def lock_open_incidents(
    session: Session, invoices: Collection[StripeId], customers: Collection[StripeCustomer]
) -> dict[StripeId, Incident]:
    """The incidents of these invoices, and the open ones of these Stripe customers, by invoice, locked in one order
    until the transaction ends: so that what is said to one customer is decided one after another."""
    accounts, names = named_objects(invoices)
    merchants, customers_names = named_customers(customers)
    return _by_name(_locking_open(accounts, merchants).read(session, names | customers_names))


@lru_cache
def _locking_open(accounts: int, merchants: int) -> Documents:
    return Documents(locking_open(accounts, merchants, as_text(DOCUMENT)))


def locking_open(accounts: int, merchants: int, what: ColumnElement[Any]) -> Select[Any]:
    """The statement of `lock_open_incidents` for invoices of so many accounts and customers of so many merchants; `what` is told of each incident."""
    return (
        select(what)
        .where(
            or_(
                among_named(_TABLE.c.account, _TABLE.c.invoice_id, accounts),
                and_(
                    among_named_customers(*_CUSTOMER, merchants),
                    _TABLE.c.closed_at.is_(None),
                ),
            )
        )
        .order_by(*_ORDER)
        .with_for_update()
    )


def last_asked(session: Session, customer: StripeCustomer) -> dt.datetime | None:
    """When an email last asked this Stripe customer for money; None: none has, as far as is known."""
    return session.scalar(
        select(func.max(IncidentRow.asked_at)).where(is_customer(*_CUSTOMER, customer))
    )


def lock_incidents_of(session: Session, stripe_customer: StripeId) -> list[str]:
    """Lock all incidents of a Stripe customer, in one order; their invoice ids."""
    return list(
        session.scalars(
            select(_TABLE.c.invoice_id)
            .where(is_object(_TABLE.c.account, _TABLE.c.stripe_customer_id, stripe_customer))
            .order_by(*_ORDER)
            .with_for_update()
        )
    )


def lock_unpaid_of_subscription(
    session: Session, stripe_customer: StripeCustomer, subscription_id: str
) -> list[Incident]:
    """The incidents of a subscription that are open or bad debts, locked in one order until the transaction ends."""
    return _read(
        session,
        _select()
        .where(
            is_customer(*_CUSTOMER, stripe_customer),
            _TABLE.c.subscription_id == subscription_id,
            _TABLE.c.status.in_((InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)),
        )
        .order_by(*_ORDER)
        .with_for_update(),
    )


def lock_silent(session: Session, before: dt.datetime, limit: int) -> list[Incident]:
    """Open incidents whose last failure was heard of before a moment, without an email about their end; those that somebody
    else works on are left out."""
    return _read(
        session,
        _select()
        .where(
            _TABLE.c.failure_heard_at < before,
            _TABLE.c.closed_at.is_(None),
            ~_TABLE.c.end_noted,
        )
        .order_by(_TABLE.c.failure_heard_at, _TABLE.c.invoice_id)
        .limit(limit)
        .with_for_update(skip_locked=True),
    )


def read_open_incidents(session: Session, stripe_customer: StripeCustomer) -> list[Incident]:
    """The incidents of a Stripe customer that are open or bad debts, unlocked."""
    return _read(
        session,
        _select()
        .where(
            is_customer(*_CUSTOMER, stripe_customer),
            _TABLE.c.status.in_((InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)),
        )
        .order_by(_TABLE.c.first_failed_at, _TABLE.c.invoice_id)
        .limit(MOST_TOLD_TOGETHER),
    )


def store_incidents(session: Session, incidents: Iterable[Incident]) -> None:
    """Write incidents back, all in one message to the database."""
    update_rows(session, _TABLE, [_values(one) for one in incidents], _KEY)


def note_asked(
    session: Session, invoices: Collection[StripeId], asked_at: dt.datetime | None
) -> None:
    """Write down when the last email about these invoices was begun (`Incident.asked_at`). Their incidents are locked."""
    if invoices:
        accounts, names = named_objects(invoices)
        _noting_asked(accounts).run(session, {"asked": asked_at, **names})


@lru_cache
def _noting_asked(accounts: int) -> Kept:
    named = among_named(_TABLE.c.account, _TABLE.c.invoice_id, accounts)
    return Kept(update(_TABLE).where(named).values(asked_at=bindparam("asked")), WITH_NEXT)


def note_mailed(session: Session, incidents: Iterable[Incident]) -> None:
    """Write down when the customers of these incidents, which are locked, were last asked (`Incident.last_mailed_at`)."""
    rows = [
        {
            "account": one.account,
            "invoice_id": one.invoice_id,
            "last_mailed_at": one.last_mailed_at,
        }
        for one in incidents
    ]
    update_rows(session, _TABLE, rows, _KEY)


def _values(incident: Incident) -> dict[str, Any]:
    """By the names of the columns."""
    return {column: getattr(incident, name) for column, name in _NAMES.items()}


def _select() -> Select[Any]:
    return select(as_text(DOCUMENT))


def _read(session: Session, statement: Select[Any]) -> list[Incident]:
    return [_decode(document) for document in session.scalars(statement)]


def _by_name(documents: Iterable[str]) -> dict[StripeId, Incident]:
    return {one.name: one for one in map(_decode, documents)}


def read_incidents(session: Session, invoices: Iterable[StripeId]) -> dict[StripeId, Incident]:
    """The incidents of these invoices, unlocked, by invoice."""
    accounts, names = named_objects(invoices)
    return _by_name(_reading(accounts).read(session, names))


@lru_cache
def _reading(accounts: int) -> Documents:
    return Documents(_naming(accounts))
