"""Statements that every service makes alike, and bridges between SQLAlchemy's static types and what its calls return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Table, insert, text
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import DeclarativeBase, Session


def insert_new(
    session: Session,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: Sequence[str],
    returning: str,
) -> list[Any]:
    """Insert the rows that are new by the unique columns `conflict`; leave the others as they are.

    Returns the `returning` column of the rows that were really inserted, in one statement on both databases:
    the one idempotency primitive that inbox, outbox and consumers share.
    """
    if not rows:
        return []
    statement = insert(table).returning(table.c[returning])
    # Both dialects' own `on_conflict_do_nothing` is compiled anew each time, which costs more than the database's work;
    # this is the same clause as text, which SQLAlchemy's cache knows. So are rows as parameters, not as `values()`.
    statement._post_values_clause = text(f"ON CONFLICT ({', '.join(conflict)}) DO NOTHING")
    return list(session.execute(statement, list(rows)).scalars())


def changed(session: Session, statement: Any) -> int:
    """Run an UPDATE or DELETE; how many rows it changed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def table_of(model: type[DeclarativeBase]) -> Table:
    """The table of a mapped class."""
    return cast(Table, model.__table__)
