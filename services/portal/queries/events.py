"""What events leave behind: processed ids, invoices, changes of payment methods."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.models import InvoiceRow, MethodChangeRow, ProcessedEventRow
from services.portal.queries.statements import changed, table_of
from shared.database import insert_new

_INVOICE_FIELDS: Final = tuple(field.name for field in fields(Invoice))


def first_time(session: Session, event_id: str, now: dt.datetime) -> bool:
    """Note the event as processed. False: it was already."""
    rows = [{"event_id": event_id, "processed_at": now}]
    return bool(
        insert_new(
            session,
            table_of(ProcessedEventRow),
            rows,
            conflict=["event_id"],
            returning="event_id",
        )
    )


def forget_events(session: Session, before: dt.datetime, limit: int) -> int:
    """Forget up to `limit` events processed before a moment; how many they were."""
    old = (
        select(ProcessedEventRow.event_id)
        .where(ProcessedEventRow.processed_at < before)
        .limit(limit)
    )
    return changed(session, delete(ProcessedEventRow).where(ProcessedEventRow.event_id.in_(old)))


def invoice_for_change(session: Session, invoice_id: str, stripe_customer_id: str) -> InvoiceRow:
    """The invoice, made when it is new, locked for change."""
    blank = Invoice()
    values = {name: getattr(blank, name) for name in _INVOICE_FIELDS}
    insert_new(
        session,
        table_of(InvoiceRow),
        [{"invoice_id": invoice_id, "stripe_customer_id": stripe_customer_id, **values}],
        conflict=["invoice_id"],
        returning="invoice_id",
    )
    return session.scalars(
        select(InvoiceRow).where(InvoiceRow.invoice_id == invoice_id).with_for_update()
    ).one()


def read_invoice(row: InvoiceRow) -> Invoice:
    """The row as the domain knows it."""
    return Invoice(**{name: getattr(row, name) for name in _INVOICE_FIELDS})


def write_invoice(row: InvoiceRow, invoice: Invoice) -> None:
    """The domain's state into the row."""
    for name in _INVOICE_FIELDS:
        setattr(row, name, getattr(invoice, name))


def method_changed_at(
    session: Session, stripe_customer_id: str, subscription_id: str | None
) -> dt.datetime | None:
    """When the payment method that a subscription (or the customer alone) is charged to was last replaced."""
    return session.scalar(
        select(func.max(MethodChangeRow.changed_at)).where(
            MethodChangeRow.stripe_customer_id == stripe_customer_id,
            MethodChangeRow.subscription_id.in_({"", subscription_id or ""}),
        )
    )


def note_method_change(
    session: Session, stripe_customer_id: str, subscription_id: str, changed_at: dt.datetime
) -> None:
    """Keep the latest time of a change."""
    insert_new(
        session,
        table_of(MethodChangeRow),
        [
            {
                "stripe_customer_id": stripe_customer_id,
                "subscription_id": subscription_id,
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
            MethodChangeRow.subscription_id == subscription_id,
            MethodChangeRow.changed_at < changed_at,
        )
        .values(changed_at=changed_at),
    )


def open_invoices(
    session: Session, stripe_customer_id: str, subscription_id: str | None
) -> list[InvoiceRow]:
    """The invoices of a Stripe customer (of one subscription, if named) that are not settled, locked for change."""
    statement = select(InvoiceRow).where(
        InvoiceRow.stripe_customer_id == stripe_customer_id,
        InvoiceRow.status.in_(("draft", "open")),
    )
    if subscription_id:
        statement = statement.where(InvoiceRow.subscription_id == subscription_id)
    # In one order, so that two transactions never wait for each other.
    return list(session.scalars(statement.order_by(InvoiceRow.invoice_id).with_for_update()))
