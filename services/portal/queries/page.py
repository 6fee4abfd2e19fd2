"""The hot path: all that the page shows, in two statements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.orm import Session

from services.portal.domain.invoices import THANKS_FOR, Invoice
from services.portal.domain.snapshot import Appointment, Business, OwnedInvoice, Snapshot
from services.portal.models import (
    AppointmentRow,
    BusinessRow,
    CustomerRow,
    InvoiceRow,
    MethodChangeRow,
)

UPCOMING: Final = 20
PAST: Final = 10
"""How many appointments of each kind a look brings."""

_INVOICE_FIELDS: Final = tuple(field.name for field in fields(Invoice))


def _people() -> Select[Any]:
    changed = (
        select(func.max(MethodChangeRow.changed_at))
        .where(MethodChangeRow.stripe_customer_id == CustomerRow.platform_stripe_customer_id)
        .scalar_subquery()
        .label("method_changed_at")
    )
    customer, business, invoice = CustomerRow.__table__, BusinessRow.__table__, InvoiceRow.__table__
    return select(
        *(column.label(f"c_{column.name}") for column in customer.c),
        *(column.label(f"b_{column.name}") for column in business.c),
        *(column.label(f"i_{column.name}") for column in invoice.c),
        changed,
    ).join_from(customer, business, customer.c.business_pk == business.c.id)


def lookup_many(
    session: Session, public_ids: Sequence[str], now: dt.datetime
) -> dict[str, Snapshot]:
    """The customers with these public ids, each whole, in two statements. Unknown ids are left out."""
    customer, invoice = CustomerRow.__table__, InvoiceRow.__table__
    people = session.execute(
        _people()
        .outerjoin(
            invoice,
            (invoice.c.stripe_customer_id == customer.c.platform_stripe_customer_id)
            & invoice.c.first_failed_at.is_not(None)
            & (
                (invoice.c.status == "open")
                | ((invoice.c.status == "paid") & (invoice.c.closed_at > now - THANKS_FOR))
            ),
        )
        .where(customer.c.public_id.in_(public_ids))
    ).all()
    if not people:
        return {}
    visits = _appointments(session, {row.c_id for row in people}, now)
    grouped: dict[str, list[Row[Any]]] = {}
    for row in people:
        grouped.setdefault(row.c_public_id, []).append(row)
    return {
        public_id: _snapshot(rows, visits.get(rows[0].c_id, ()))
        for public_id, rows in grouped.items()
    }


def lookup(session: Session, public_id: str, now: dt.datetime) -> Snapshot | None:
    """One customer, whole, or None."""
    return lookup_many(session, [public_id], now).get(public_id)


def _appointments(
    session: Session, customers: set[int], now: dt.datetime
) -> dict[int, tuple[Appointment, ...]]:
    row = AppointmentRow
    upcoming = func.coalesce(row.ends_at, row.starts_at) >= now
    ahead = case((upcoming, 1), else_=0)
    ranked = (
        select(
            row.id,
            row.customer_pk,
            row.external_id,
            row.title,
            row.starts_at,
            row.ends_at,
            row.location,
            row.status,
            ahead.label("ahead"),
            func.row_number()
            .over(
                partition_by=(row.customer_pk, ahead),
                order_by=(
                    case((upcoming, row.starts_at)).asc(),
                    case((~upcoming, row.starts_at)).desc(),
                    row.id,
                ),
            )
            .label("place"),
        )
        .where(row.customer_pk.in_(customers))
        .subquery()
    )
    found = session.execute(
        select(ranked)
        .where(ranked.c.place <= case((ranked.c.ahead == 1, UPCOMING), else_=PAST))
        .order_by(ranked.c.customer_pk, ranked.c.ahead.desc(), ranked.c.place)
    )
    grouped: dict[int, list[Appointment]] = {}
    for each in found:
        grouped.setdefault(each.customer_pk, []).append(
            Appointment(
                ref=each.id,
                external_id=each.external_id,
                title=each.title,
                starts_at=each.starts_at,
                ends_at=each.ends_at,
                location=each.location,
                status=each.status,
            )
        )
    return {key: tuple(value) for key, value in grouped.items()}


def _snapshot(rows: list[Row[Any]], appointments: tuple[Appointment, ...]) -> Snapshot:
    first = rows[0]
    return Snapshot(
        customer_id=first.c_public_id,
        external_id=first.c_external_id,
        name=first.c_name,
        email=first.c_email,
        locale=first.c_locale,
        timezone=first.c_timezone,
        link_generation=first.c_link_generation,
        platform_stripe_customer_id=first.c_platform_stripe_customer_id,
        billing_opened_at=first.c_billing_opened_at,
        method_changed_at=first.method_changed_at,
        business=Business(
            business_id=first.b_business_id,
            name=first.b_name,
            email=first.b_email,
            phone=first.b_phone,
            website=first.b_website,
            logo_url=first.b_logo_url,
            color=first.b_color,
            locale=first.b_locale,
            timezone=first.b_timezone,
        ),
        appointments=appointments,
        invoices=tuple(
            OwnedInvoice(
                invoice_id=row.i_invoice_id,
                invoice=Invoice(**{name: getattr(row, f"i_{name}") for name in _INVOICE_FIELDS}),
            )
            for row in sorted(rows, key=lambda row: row.i_invoice_id or "")
            if row.i_invoice_id is not None
        ),
    )
