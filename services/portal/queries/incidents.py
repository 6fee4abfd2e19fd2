"""Statements on what failed of a business's customers, newest first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select
from sqlalchemy.orm import Session

from services.portal.models import BusinessRow, CustomerRow, InvoiceRow, SubscriptionRow
from services.portal.queries.behalves import counts_for
from services.portal.queries.subscriptions import NOT_TOLD
from shared.contracts.accounts import StripeId
from shared.statements import is_object

_FAILED: Final = (
    select(
        InvoiceRow,
        SubscriptionRow,
        CustomerRow.public_id.label("customer_id"),
        CustomerRow.external_id,
        BusinessRow.business_id,
    )
    .select_from(InvoiceRow)
    .join(
        CustomerRow,
        and_(
            CustomerRow.account == InvoiceRow.account,
            CustomerRow.platform_stripe_customer_id == InvoiceRow.stripe_customer_id,
            counts_for(InvoiceRow.account, InvoiceRow.on_behalf_of, CustomerRow.on_behalf_of),
        ),
    )
    .join(BusinessRow, BusinessRow.id == CustomerRow.business_pk)
    .outerjoin(
        SubscriptionRow,
        and_(
            SubscriptionRow.account == InvoiceRow.account,
            SubscriptionRow.subscription_id == InvoiceRow.subscription_id,
            SubscriptionRow.status != NOT_TOLD,
        ),
    )
    .where(InvoiceRow.first_failed_at.is_not(None))
)


def of_business(
    session: Session,
    business_pk: int,
    *,
    after: tuple[dt.datetime, str] | None,
    customer_id: str | None,
    open_: bool | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Invoices that failed, after one of them (when it first failed, and its id)."""
    statement = _FAILED.where(CustomerRow.business_pk == business_pk)
    if customer_id is not None:
        statement = statement.where(CustomerRow.public_id == customer_id)
    if open_ is not None:
        statement = statement.where(_is_open() if open_ else ~_is_open())
    if after is not None:
        at, invoice_id = after
        statement = statement.where(
            or_(
                InvoiceRow.first_failed_at < at,
                and_(InvoiceRow.first_failed_at == at, InvoiceRow.invoice_id < invoice_id),
            )
        )
    return _read(session, statement.limit(limit))


def _is_open() -> ColumnElement[bool]:
    return InvoiceRow.status == "open"


def of_invoice(session: Session, business_pk: int, invoice: StripeId) -> Row[Any] | None:
    """This invoice, if it failed and is a customer's of this business."""
    rows = _read(
        session,
        _FAILED.where(
            is_object(InvoiceRow.account, InvoiceRow.invoice_id, invoice),
            CustomerRow.business_pk == business_pk,
        ),
    )
    return rows[0] if rows else None


def _read(session: Session, statement: Select[Any]) -> Sequence[Row[Any]]:
    newest = (InvoiceRow.first_failed_at.desc(), InvoiceRow.invoice_id.desc())
    return session.execute(statement.order_by(*newest)).all()
