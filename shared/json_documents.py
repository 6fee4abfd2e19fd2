"""Rows as JSON that the database makes: a document a row, with what belongs to it inside, for msgspec to read in one go.

A driver and SQLAlchemy take each column of each row by itself, which costs more than all the rest of a look-up. One statement is
for PostgreSQL and SQLite. Moments are UTC, to the microsecond, whatever the session's time zone; numbers have all their
digits; a list has the order of its SELECT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Boolean, ColumnElement, Select, Text, cast, literal_column
from sqlalchemy.orm import Session

from shared.database import UtcDateTime
from shared.statements import Kept, Portable


def json_object(**values: Any) -> ColumnElement[Any]:
    """A document with these names, which must be identifiers, and fifty at most; values are columns and documents."""
    pairs: list[Any] = []
    for name, value in values.items():
        pairs += (literal_column(f"'{name}'"), _as_json(value))
    return _Object(*pairs)


def json_list(*selects: Select[Any]) -> ColumnElement[Any]:
    """A list of documents: those of the first SELECT, then those of the next. Each gives a column `document`."""
    return _List(*(each.scalar_subquery() for each in selects))


def json_one(select: Select[Any]) -> ColumnElement[Any]:
    """The document that the SELECT gives; null where it gives none."""
    return _Nested(select.scalar_subquery())


def as_text(document: ColumnElement[Any]) -> ColumnElement[str]:
    """A document as the column of a statement: psycopg2 would read JSON by itself."""
    return cast(document, Text)


class Documents(Kept):
    """A statement that gives documents (`as_text`), one a row."""

    def read(self, session: Session, parameters: Mapping[str, Any]) -> Sequence[str]:
        """The documents as the database has them, with moments in UTC and lists among the parameters."""
        return self.run(session, parameters).scalars().all()


def _as_json(value: Any) -> Any:
    if isinstance(value.type, UtcDateTime):
        return _Moment(value)
    if isinstance(value.type, JSON):
        return _Nested(value)
    return _Flag(value) if isinstance(value.type, Boolean) else value


class _Object(Portable):
    def postgresql(self, *arguments: str) -> str:
        return f"json_build_object({', '.join(arguments)})"

    def sqlite(self, *arguments: str) -> str:
        return f"json_object({', '.join(arguments)})"


class _List(Portable):
    def postgresql(self, *arguments: str) -> str:
        # An ARRAY has the order of its SELECT, which an aggregate does not promise.
        return f"array_to_json({' || '.join(f'ARRAY{each}' for each in arguments)})"

    def sqlite(self, *arguments: str) -> str:
        rows = " UNION ALL ".join(f"SELECT document FROM {each}" for each in arguments)  # noqa: S608 (SQL of SQLAlchemy's)
        return f"json((SELECT json_group_array(json(document)) FROM ({rows})))"  # noqa: S608


class _Moment(Portable):
    def postgresql(self, *arguments: str) -> str:
        # psycopg2 has every session write moments as ISO 8601 has them.
        return f"timezone('UTC', {''.join(arguments)})::text || 'Z'"

    def sqlite(self, *arguments: str) -> str:
        return f"{''.join(arguments)} || 'Z'"


class _Flag(Portable):
    def postgresql(self, *arguments: str) -> str:
        return "".join(arguments)

    def sqlite(self, *arguments: str) -> str:
        return f"json(CASE {''.join(arguments)} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"


class _Nested(Portable):
    def postgresql(self, *arguments: str) -> str:
        return "".join(arguments)

    def sqlite(self, *arguments: str) -> str:
        return f"json({''.join(arguments)})"
