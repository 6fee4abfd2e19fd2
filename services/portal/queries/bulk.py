"""Statements for many customers at once: an import writes a batch with a handful of them, however large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.portal.domain.people import PROFILE
from services.portal.models import CustomerRow
from shared.statements import insert_new, table_of


def customers_of_host(
    session: Session, business_pk: int, external_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Whole rows by the host's ids, locked in one order."""
    table = table_of(CustomerRow)
    rows = session.execute(
        select(*table.c)
        .where(table.c.business_pk == business_pk, table.c.external_id.in_(external_ids))
        .order_by(table.c.id)
        .with_for_update()
    ).mappings()
    return {row["external_id"]: dict(row) for row in rows}


def insert_customers(session: Session, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Write new customers; the host's ids of those that are really new."""
    return set(
        insert_new(
            session,
            table_of(CustomerRow),
            rows,
            conflict=["business_pk", "external_id"],
            returning="external_id",
        )
    )


def change_customers(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write whole rows that exist, in one statement: an UPDATE a row would be a round trip a row."""
    if not rows:
        return
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table_of(CustomerRow))
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: getattr(statement.excluded, name) for name in (*PROFILE, "updated_at")},
        ),
        list(rows),
    )


def page_of_customers(
    session: Session, business_pk: int, after: int, limit: int, **only: str
) -> list[CustomerRow]:
    """Customers of a business in the order they came, after one of them; with these values of columns alone."""
    statement = select(CustomerRow).where(
        CustomerRow.business_pk == business_pk, CustomerRow.id > after
    )
    return list(session.scalars(statement.filter_by(**only).order_by(CustomerRow.id).limit(limit)))


def count_customers(session: Session, business_pk: int) -> int:
    """How many customers a business has."""
    return (
        session.scalar(
            select(func.count())
            .select_from(CustomerRow)
            .where(CustomerRow.business_pk == business_pk)
        )
        or 0
    )
