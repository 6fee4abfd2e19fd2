"""Invoices as events told of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from services.portal.domain.invoices import Invoice
from services.portal.models import InvoiceRow
from services.portal.queries.behalves import counts_for
from shared.contracts.accounts import Account, StripeId
from shared.statements import (
    Kept,
    among_named,
    insert_new_rows,
    is_object,
    named_objects,
    table_of,
    update_rows,
)

_INVOICE_FIELDS: Final = Invoice.__struct_fields__
_TABLE: Final = table_of(InvoiceRow)
_KEY: Final = ("account", "invoice_id")
COLUMNS: Final = tuple(_TABLE.c[name] for name in (*_KEY, *_INVOICE_FIELDS))
"""What `read_invoices` reads."""


def add_invoices(
    session: Session, invoices: Mapping[StripeId, Invoice], customers: Mapping[StripeId, str]
) -> set[StripeId]:
    """Write down those of these invoices (`customers` are their Stripe customers) that are new, in one order; which they are.
    They are locked until the transaction ends."""
    ordered = sorted(invoices)
    made = insert_new_rows(
        session,
        _TABLE,
        [
            {"stripe_customer_id": customers[name], **_values(name, invoices[name])}
            for name in ordered
        ],
        returning=("account", "invoice_id"),
    )
    return {StripeId(Account(account), invoice_id) for account, invoice_id in made}


def lock_invoices(session: Session, invoices: Collection[StripeId]) -> dict[StripeId, Invoice]:
    """What is known of those of these invoices that are there, locked for change in one order."""
    if not invoices:
        return {}
    accounts, names = named_objects(invoices)
    return read_invoices(_locking(accounts).run(session, names))


@lru_cache
def _locking(accounts: int) -> Kept:
    return Kept(
        select(*COLUMNS)
        .where(among_named(_TABLE.c.account, _TABLE.c.invoice_id, accounts))
        .order_by(_TABLE.c.account, _TABLE.c.invoice_id)
        .with_for_update()
    )


def read_invoices(rows: Iterable[Any]) -> dict[StripeId, Invoice]:
    """Rows of `COLUMNS` as the domain knows them, in their order."""
    return {
        StripeId(Account(account), invoice_id): Invoice(
            **dict(zip(_INVOICE_FIELDS, values, strict=True))
        )
        for account, invoice_id, *values in rows
    }


def store_invoices(session: Session, invoices: Mapping[StripeId, Invoice]) -> None:
    """Write these invoices back, which are locked, all in one message to the database."""
    update_rows(session, _TABLE, [_values(*one) for one in invoices.items()], _KEY)


def _values(name: StripeId, invoice: Invoice) -> dict[str, Any]:
    return {
        "account": name.account,
        "invoice_id": name.id,
        **{field: getattr(invoice, field) for field in _INVOICE_FIELDS},
    }


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
    whose = (
        true()
        if on_behalf_of is None
        else counts_for(InvoiceRow.account, InvoiceRow.on_behalf_of, on_behalf_of)
    )
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
