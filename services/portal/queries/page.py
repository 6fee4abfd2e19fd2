"""The hot path: all that the page shows, in two statements, and a third for those who pay through Stripe."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import BindParameter, Row, Select, bindparam, case, func, literal_column, select
from sqlalchemy.orm import Session

from services.portal.domain.invoices import THANKS_FOR, Invoice
from services.portal.domain.people import PROFILE
from services.portal.domain.snapshot import (
    Appointment,
    Business,
    OwnedInvoice,
    Snapshot,
    Subscription,
)
from services.portal.models import (
    AppointmentRow,
    BusinessRow,
    CustomerRow,
    InvoiceRow,
    MethodChangeRow,
    SubscriptionRow,
)
from services.portal.queries import subscriptions
from shared.contracts.invoices import SubscriptionState
from shared.database import UtcDateTime
from shared.statements import table_of

UPCOMING: Final = 20
PAST: Final = 10
"""How many appointments of each kind a look brings."""

_INVOICE_FIELDS: Final = tuple(field.name for field in fields(Invoice))


_customer, _business = table_of(CustomerRow), table_of(BusinessRow)
_invoice, _visit, _change, _subscription = (
    table_of(InvoiceRow),
    table_of(AppointmentRow),
    table_of(MethodChangeRow),
    table_of(SubscriptionRow),
)


def _people_statement() -> Select[Any]:
    changed = (
        select(func.max(_change.c.changed_at))
        .where(_change.c.stripe_customer_id == _customer.c.platform_stripe_customer_id)
        .scalar_subquery()
        .label("method_changed_at")
    )
    worth_telling = (
        (_invoice.c.stripe_customer_id == _customer.c.platform_stripe_customer_id)
        & _invoice.c.first_failed_at.is_not(None)
        & (
            (_invoice.c.status == "open")
            | ((_invoice.c.status == "paid") & (_invoice.c.closed_at > _moment("thanks_after")))
        )
    )
    return (
        select(
            *(column.label(f"c_{column.name}") for column in _customer.c),
            *(column.label(f"b_{column.name}") for column in _business.c),
            *(column.label(f"i_{column.name}") for column in _invoice.c),
            _subscription.c.status.label("s_status"),
            _subscription.c.end_reason.label("s_end_reason"),
            _subscription.c.ends_at.label("s_ends_at"),
            changed,
        )
        .join_from(_customer, _business, _customer.c.business_pk == _business.c.id)
        .outerjoin(_invoice, worth_telling)
        .outerjoin(_subscription, _subscription.c.subscription_id == _invoice.c.subscription_id)
        .where(_customer.c.public_id.in_(bindparam("public_ids", expanding=True)))
    )


def _visits_statement() -> Select[Any]:
    upcoming = func.coalesce(_visit.c.ends_at, _visit.c.starts_at) >= _moment("now")
    ahead = case((upcoming, literal_column("1")), else_=literal_column("0"))
    place = func.row_number().over(
        partition_by=(_visit.c.customer_pk, ahead),
        order_by=(
            case((upcoming, _visit.c.starts_at)).asc(),
            case((~upcoming, _visit.c.starts_at)).desc(),
            _visit.c.id,
        ),
    )
    ranked = (
        select(*_visit.c, ahead.label("ahead"), place.label("place"))
        .where(_visit.c.customer_pk.in_(bindparam("customers", expanding=True)))
        .subquery()
    )
    return (
        select(ranked)
        .where(ranked.c.place <= case((ranked.c.ahead == 1, UPCOMING), else_=PAST))
        .order_by(ranked.c.customer_pk, ranked.c.ahead.desc(), ranked.c.place)
    )


def _moment(name: str) -> BindParameter[dt.datetime]:
    return bindparam(name, type_=UtcDateTime())


# Built once: SQLAlchemy remembers the compiled form of a statement by the object, and building them anew for each
# look cost more than the look.
_PEOPLE: Final = _people_statement()
_VISITS: Final = _visits_statement()


def lookup_many(
    session: Session, public_ids: Sequence[str], now: dt.datetime
) -> dict[str, Snapshot]:
    """The customers with these public ids, each whole, in two or three statements. Unknown ids are left out."""
    people = session.execute(
        _PEOPLE, {"public_ids": list(public_ids), "thanks_after": now - THANKS_FOR}
    ).all()
    if not people:
        return {}
    visits = _appointments(session, {row.c_id for row in people}, now)
    stripe_ids = {each for row in people if (each := row.c_platform_stripe_customer_id)}
    bought = subscriptions.of_customers(session, stripe_ids, now)
    grouped: dict[str, list[Row[Any]]] = {}
    for row in people:
        grouped.setdefault(row.c_public_id, []).append(row)
    return {
        public_id: _snapshot(
            rows,
            visits.get(rows[0].c_id, ()),
            bought.get(rows[0].c_platform_stripe_customer_id or "", ()),
        )
        for public_id, rows in grouped.items()
    }


def _appointments(
    session: Session, customers: set[int], now: dt.datetime
) -> dict[int, tuple[Appointment, ...]]:
    grouped: dict[int, list[Appointment]] = {}
    for each in session.execute(_VISITS, {"customers": sorted(customers), "now": now}):
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


def _snapshot(
    rows: list[Row[Any]],
    appointments: tuple[Appointment, ...],
    subscribed: tuple[Subscription, ...],
) -> Snapshot:
    first = rows[0]
    return Snapshot(
        customer_id=first.c_public_id,
        external_id=first.c_external_id,
        **profile_of(first),
        link_generation=first.c_link_generation,
        platform_stripe_customer_id=first.c_platform_stripe_customer_id,
        billing_opened_at=first.c_billing_opened_at,
        method_changed_at=first.method_changed_at,
        business=business_of(first),
        subscriptions=subscribed,
        appointments=appointments,
        invoices=tuple(
            OwnedInvoice(
                invoice_id=row.i_invoice_id,
                invoice=Invoice(**{name: getattr(row, f"i_{name}") for name in _INVOICE_FIELDS}),
                subscription=SubscriptionState(row.s_status, row.s_end_reason, row.s_ends_at)
                if row.s_status is not None
                else None,
            )
            for row in sorted(rows, key=lambda row: row.i_invoice_id or "")
            if row.i_invoice_id is not None
        ),
    )


def profile_of(row: Row[Any]) -> dict[str, Any]:
    """The fields of `CustomerProfile` in a row whose columns of the customer are called `c_…`."""
    return {name: getattr(row, f"c_{name}") for name in PROFILE}


def business_of(row: Row[Any]) -> Business:
    """The business in a row whose columns of it are called `b_…`."""
    return Business(
        business_id=row.b_business_id,
        name=row.b_name,
        email=row.b_email,
        phone=row.b_phone,
        website=row.b_website,
        logo_url=row.b_logo_url,
        color=row.b_color,
        locale=row.b_locale,
        timezone=row.b_timezone,
        service_note=row.b_service_note,
        may_cancel=row.b_may_cancel,
    )
