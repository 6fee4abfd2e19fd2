"""What events leave behind: processed ids, invoices, changes of payment methods."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.models import InvoiceRow, MethodChangeRow, ProcessedEventRow
from services.portal.queries.statements import changed, table_of
from shared.database import insert_new

_INVOICE_FIELDS: Final = tuple(field.name for field in fields(Invoice))


def first_times(session: Session, event_ids: Iterable[str], now: dt.datetime) -> set[str]:
    """Note the events as processed; those that were not already. In one order, so that two batches with the same
    events never wait for each other in a circle."""
    rows = [{"event_id": one, "processed_at": now} for one in sorted(set(event_ids))]
    return set(
        insert_new(
            session,
            table_of(ProcessedEventRow),
            rows,
            conflict=["event_id"],
            returning="event_id",
        )
    )


def invoices_for_change(session: Session, customers: Mapping[str, str]) -> dict[str, InvoiceRow]:
    """These invoices (each with its Stripe customer), made where they are new, locked for change in one order."""
    blank = Invoice()
    values = {name: getattr(blank, name) for name in _INVOICE_FIELDS}
    insert_new(
        session,
        table_of(InvoiceRow),
        [
            {"invoice_id": invoice_id, "stripe_customer_id": stripe_customer_id, **values}
            for invoice_id, stripe_customer_id in sorted(customers.items())
        ],
        conflict=["invoice_id"],
        returning="invoice_id",
    )
    rows = session.scalars(
        select(InvoiceRow)
        .where(InvoiceRow.invoice_id.in_(list(customers)))
        .order_by(InvoiceRow.invoice_id)
        .with_for_update()
    )
    return {row.invoice_id: row for row in rows}


def read_invoice(row: InvoiceRow) -> Invoice:
    """The row as the domain knows it."""
    return Invoice(**{name: getattr(row, name) for name in _INVOICE_FIELDS})


def failed_and_open(session: Session, stripe_customer_id: str, limit: int) -> list[InvoiceRow]:
    """The customer's open invoices that failed, the newest failure first."""
    return list(
        session.scalars(
            select(InvoiceRow)
            .where(
                InvoiceRow.stripe_customer_id == stripe_customer_id,
                InvoiceRow.status == "open",
                InvoiceRow.first_failed_at.is_not(None),
            )
            .order_by(InvoiceRow.last_failed_at.desc(), InvoiceRow.invoice_id)
            .limit(limit)
        )
    )


def write_invoice(row: InvoiceRow, invoice: Invoice) -> None:
    """The domain's state into the row."""
    for name in _INVOICE_FIELDS:
        setattr(row, name, getattr(invoice, name))


def method_changes(
    session: Session, stripe_customer_ids: Collection[str]
) -> dict[str, dict[str, dt.datetime]]:
    """When the payment methods of these Stripe customers were last replaced: by customer, then by subscription or
    invoice (the empty one is the customer's own default)."""
    found: dict[str, dict[str, dt.datetime]] = defaultdict(dict)
    for row in session.execute(
        select(
            MethodChangeRow.stripe_customer_id,
            MethodChangeRow.subscription_id,
            MethodChangeRow.changed_at,
        ).where(MethodChangeRow.stripe_customer_id.in_(stripe_customer_ids))
    ):
        found[row.stripe_customer_id][row.subscription_id] = row.changed_at
    return found


def note_method_change(
    session: Session, stripe_customer_id: str, scope: str, changed_at: dt.datetime
) -> None:
    """Keep the latest time of a change; `scope` is a subscription, an invoice, or empty."""
    insert_new(
        session,
        table_of(MethodChangeRow),
        [
            {
                "stripe_customer_id": stripe_customer_id,
                "subscription_id": scope,
                "changed_at": changed_at,
            }
        ],
        conflict=["stripe_customer_id", "subscription_id"],
        returning="stripe_customer_id",
    )
    changed(
        session,
        update(MethodChangeRow)
        .where(
            MethodChangeRow.stripe_customer_id == stripe_customer_id,
            MethodChangeRow.subscription_id == scope,
            MethodChangeRow.changed_at < changed_at,
        )
        .values(changed_at=changed_at),
    )


def open_invoices(
    session: Session,
    stripe_customer_id: str,
    subscription_id: str | None,
    invoice_id: str | None = None,
) -> list[InvoiceRow]:
    """The invoices of a Stripe customer (of one subscription, or one of them, if named) that are not settled, locked for
    change."""
    statement = select(InvoiceRow).where(
        InvoiceRow.stripe_customer_id == stripe_customer_id,
        InvoiceRow.status.in_(("draft", "open")),
    )
    if invoice_id:
        statement = statement.where(InvoiceRow.invoice_id == invoice_id)
    if subscription_id:
        statement = statement.where(InvoiceRow.subscription_id == subscription_id)
    # In one order, so that two transactions never wait for each other.
    return list(session.scalars(statement.order_by(InvoiceRow.invoice_id).with_for_update()))
