"""Statements on incidents, the stories of invoices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from services.notifier.domain.incidents import Incident
from services.notifier.models import IncidentRow
from shared.contracts.invoices import InvoiceStatus
from shared.statements import insert_new, table_of

MOST_TOLD_TOGETHER: Final = 20
"""How many invoices of one customer an email to the business names."""
_FIELDS: Final = tuple(field.name for field in fields(Incident) if field.name != "under_way_since")
"""Whether a payment is under way billing is asked before each email: it knows by its webhooks, too, when Stripe is busy."""


def lock_incidents_made(session: Session, customers: Mapping[str, str]) -> dict[str, Incident]:
    """The incidents of these invoices (each with its Stripe customer), made where they are new, and locked until the
    transaction ends."""
    insert_new(
        session,
        table_of(IncidentRow),
        [
            _values(Incident(invoice_id=invoice_id, stripe_customer_id=stripe_customer_id))
            for invoice_id, stripe_customer_id in sorted(customers.items())
        ],
        conflict=["invoice_id"],
        returning="invoice_id",
    )
    return lock_incidents(session, customers)


def lock_known_incident(session: Session, invoice_id: str | None) -> Incident | None:
    """The invoice's incident if there is one, locked until the transaction ends."""
    if invoice_id is None:
        return None
    row = session.scalar(
        select(IncidentRow)
        .where(IncidentRow.invoice_id == invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return _incident(row) if row else None


def lock_incidents(session: Session, invoice_ids: Iterable[str]) -> dict[str, Incident]:
    """Those incidents of these invoices that exist, by invoice id, locked in one order until the transaction ends."""
    wanted = sorted(set(invoice_ids))
    if not wanted:
        return {}
    rows = session.scalars(
        select(IncidentRow)
        .where(IncidentRow.invoice_id.in_(wanted))
        .order_by(IncidentRow.invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.invoice_id: _incident(row) for row in rows}


def lock_open_incidents(
    session: Session, invoice_ids: Collection[str], customers: Collection[str]
) -> dict[str, Incident]:
    """The incidents of these invoices, and the open ones of these Stripe customers, by invoice id, locked in one order
    until the transaction ends: so that what is said to one customer is decided one after another."""
    rows = session.scalars(
        select(IncidentRow)
        .where(
            or_(
                IncidentRow.invoice_id.in_(invoice_ids),
                and_(
                    IncidentRow.stripe_customer_id.in_(customers), IncidentRow.closed_at.is_(None)
                ),
            )
        )
        .order_by(IncidentRow.invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.invoice_id: _incident(row) for row in rows}


def lock_incidents_of(session: Session, stripe_customer_id: str) -> list[str]:
    """Lock all incidents of a Stripe customer, in one order; their invoice ids."""
    return list(
        session.scalars(
            select(IncidentRow.invoice_id)
            .where(IncidentRow.stripe_customer_id == stripe_customer_id)
            .order_by(IncidentRow.invoice_id)
            .with_for_update()
        )
    )


def lock_unpaid_of_subscription(
    session: Session, stripe_customer_id: str, subscription_id: str
) -> list[Incident]:
    """The incidents of a subscription that are open or bad debts, locked in one order until the transaction ends."""
    rows = session.scalars(
        select(IncidentRow)
        .where(
            IncidentRow.stripe_customer_id == stripe_customer_id,
            IncidentRow.subscription_id == subscription_id,
            IncidentRow.status.in_((InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)),
        )
        .order_by(IncidentRow.invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return [_incident(row) for row in rows]


def lock_silent(session: Session, before: dt.datetime, limit: int) -> list[Incident]:
    """Open incidents whose last failure was heard of before a moment, without an email about their end; those that somebody
    else works on are left out."""
    rows = session.scalars(
        select(IncidentRow)
        .where(
            IncidentRow.failure_heard_at < before,
            IncidentRow.closed_at.is_(None),
            ~IncidentRow.end_noted,
        )
        .order_by(IncidentRow.failure_heard_at, IncidentRow.invoice_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return [_incident(row) for row in rows]


def read_open_incidents(session: Session, stripe_customer_id: str) -> list[Incident]:
    """The incidents of a Stripe customer that are open or bad debts, unlocked."""
    rows = session.scalars(
        select(IncidentRow)
        .where(
            IncidentRow.stripe_customer_id == stripe_customer_id,
            IncidentRow.status.in_((InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)),
        )
        .order_by(IncidentRow.first_failed_at, IncidentRow.invoice_id)
        .limit(MOST_TOLD_TOGETHER)
    )
    return [_incident(row) for row in rows]


def store_incidents(session: Session, incidents: Iterable[Incident]) -> None:
    """Write incidents back, all in one message to the database."""
    rows = [_values(one) for one in incidents]
    if rows:
        session.execute(update(IncidentRow), rows)


def _values(incident: Incident) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in _FIELDS}


def _incident(row: IncidentRow) -> Incident:
    values = {name: getattr(row, name) for name in _FIELDS}
    values["amount_remaining"] = (
        values["amount_remaining"] or 0
    )  # NULL in rows of an earlier release
    return Incident(**values)


def read_incidents(session: Session, invoice_ids: Iterable[str]) -> dict[str, Incident]:
    """The incidents of these invoices, unlocked, by invoice id."""
    rows = session.scalars(select(IncidentRow).where(IncidentRow.invoice_id.in_(list(invoice_ids))))
    return {row.invoice_id: _incident(row) for row in rows}
