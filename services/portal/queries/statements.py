"""Two small bridges between SQLAlchemy's static types and what its calls return."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Table
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from services.portal.models import Base


def changed(session: Session, statement: Any) -> int:
    """Run an UPDATE or DELETE; how many rows it changed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def table_of(row: type[Base]) -> Table:
    """The table of a mapped class."""
    return cast("Table", row.__table__)
