"""Invoices as events told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.models import InvoiceRow
from shared.contracts.accounts import Account, StripeId
from shared.statements import among_objects, insert_new, is_object, table_of

_INVOICE_FIELDS: Final = tuple(field.name for field in fields(Invoice))


def invoices_for_change(
    session: Session, customers: Mapping[StripeId, str]
) -> dict[StripeId, InvoiceRow]:
    """These invoices (each with its Stripe customer), made where they are new, locked for change in one order."""
    blank = Invoice()
    values = {name: getattr(blank, name) for name in _INVOICE_FIELDS}
    insert_new(
        session,
        table_of(InvoiceRow),
        [
            {
                "account": invoice.account,
                "invoice_id": invoice.id,
                "stripe_customer_id": stripe_customer_id,
                **values,
            }
            for invoice, stripe_customer_id in sorted(customers.items())
        ],
        returning="invoice_id",
    )
    rows = session.scalars(
        select(InvoiceRow)
        .where(among_objects(InvoiceRow.account, InvoiceRow.invoice_id, customers))
        .order_by(InvoiceRow.account, InvoiceRow.invoice_id)
        .with_for_update()
    )
    return {StripeId(Account(row.account), row.invoice_id): row for row in rows}


def known_invoice(session: Session, invoice: StripeId) -> InvoiceRow | None:
    """What is known of an invoice."""
    return session.scalar(
        select(InvoiceRow).where(is_object(InvoiceRow.account, InvoiceRow.invoice_id, invoice))
    )


def read_invoice(row: InvoiceRow) -> Invoice:
    """The row as the domain knows it."""
    return Invoice(**{name: getattr(row, name) for name in _INVOICE_FIELDS})


def failed_and_open(
    session: Session, stripe_customer: StripeId, limit: int, on_behalf_of: str | None = None
) -> list[InvoiceRow]:
    """The customer's open invoices that failed, the newest failure first; of one merchant's, if given."""
    whose = true() if on_behalf_of is None else InvoiceRow.on_behalf_of == on_behalf_of
    return list(
        session.scalars(
            select(InvoiceRow)
            .where(
                is_object(InvoiceRow.account, InvoiceRow.stripe_customer_id, stripe_customer),
                whose,
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


def open_invoices(
    session: Session,
    stripe_customer: StripeId,
    subscription_id: str | None,
    invoice_id: str | None = None,
) -> list[InvoiceRow]:
    """The invoices of a Stripe customer (of one subscription, or one of them, if named) that are not settled, locked for
    change."""
    statement = select(InvoiceRow).where(
        is_object(InvoiceRow.account, InvoiceRow.stripe_customer_id, stripe_customer),
        InvoiceRow.status.in_(("draft", "open")),
    )
    if invoice_id:
        statement = statement.where(InvoiceRow.invoice_id == invoice_id)
    if subscription_id:
        statement = statement.where(InvoiceRow.subscription_id == subscription_id)
    # In one order, so that two transactions never wait for each other.
    return list(session.scalars(statement.order_by(InvoiceRow.invoice_id).with_for_update()))
