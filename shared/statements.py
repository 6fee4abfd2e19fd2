"""Statements that every service makes alike, and bridges between SQLAlchemy's static types and what its calls return."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Dialect,
    Executable,
    Table,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    false,
    insert,
    or_,
    text,
    update,
)
from sqlalchemy.engine import CursorResult, Result
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from shared.contracts.accounts import StripeCustomer, StripeId, by_account, by_merchant
from shared.database import UnstorableValue, as_stored
from shared.postgresql import WITH_NEXT
from shared.prepared import prepared

_LISTED: Final = re.compile(r"__\[POSTCOMPILE_(\w+)\]")
"""What SQLAlchemy writes for a list of constants until the statement is used."""


class Kept:
    """A statement that is the same at each use but for its parameters. PostgreSQL is sent the text that was made once: SQLAlchemy's own way,
    from a statement with its parameters to a result, takes longer than to read sixteen customers."""

    def __init__(self, statement: Executable, options: Mapping[str, bool] | None = None) -> None:
        """A list among the parameters is one (`is_among`). `options` are those of its execution, beside its own (`shared.prepared`)."""
        self.statement = statement.execution_options(**(options or {}))
        self._options = dict(self.statement.get_execution_options())
        self._spelled: tuple[str, Mapping[str, Any]] | None = None
        """As psycopg2 takes it, and the values that are the same at each use."""

    def run(self, session: Session, parameters: Mapping[str, Any]) -> Result[Any]:
        """What the database answers, its moments in UTC as the parameters' are. On PostgreSQL values are as psycopg2 has them."""
        session.flush()  # what it was told and has not written yet may be asked for
        connection = session.connection()
        if connection.dialect.name != "postgresql":
            return session.execute(self.statement, parameters)
        if self._spelled is None:
            self._spelled = self._spell(connection.dialect)
        text, constants = self._spelled
        return connection.exec_driver_sql(text, {**constants, **parameters}, self._options)

    def _spell(self, dialect: Dialect) -> tuple[str, Mapping[str, Any]]:
        spelled = cast("Any", self.statement).compile(dialect=dialect)
        values = dict[str, Any](spelled.params)

        def one_by_one(found: re.Match[str]) -> str:
            listed = {f"{found[1]}_{number}": one for number, one in enumerate(values[found[1]])}
            values.update(listed)
            return ", ".join(f"%({name})s" for name in listed)

        return _LISTED.sub(one_by_one, str(spelled)), values


def insert_new(
    session: Session,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: Sequence[str] = (),
    returning: str | tuple[str, ...],
) -> list[Any]:
    """Insert the rows that are new by the unique columns `conflict`; leave the others as they are.

    Without `conflict`: by any key of the table. So are those of Stripe objects written, whose keys are (account, id) from
    `migrate --after-roll` on and the id alone before.

    Returns the `returning` column (several: tuples of them) of the rows that were really inserted, in one statement on both
    databases: the one idempotency primitive that inbox, outbox and consumers share.
    """
    if not rows:
        return []
    statement = insert(table).returning(*(table.c[name] for name in _names(returning)))
    # Both dialects' own `on_conflict_do_nothing` is compiled anew each time, which costs more than the database's work;
    # this is the same clause as text, which SQLAlchemy's cache knows. So are rows as parameters, not as `values()`.
    statement._post_values_clause = text(f"ON CONFLICT {_target(conflict)} DO NOTHING")
    return _returned(session.execute(statement, list(rows)), returning)


def _names(returning: str | tuple[str, ...]) -> tuple[str, ...]:
    return (returning,) if isinstance(returning, str) else returning


def _target(conflict: Sequence[str]) -> str:
    return f"({', '.join(conflict)})" if conflict else ""


def _returned(result: Result[Any], returning: str | tuple[str, ...]) -> list[Any]:
    if isinstance(returning, str):
        return list(result.scalars())
    return [tuple(row) for row in result]


_json: Final = msgspec.json.Encoder()
"""Moments as ISO 8601, numbers in full: what PostgreSQL reads into a column as it was."""


def insert_new_rows(
    session: Session,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: tuple[str, ...] = (),
    returning: str | tuple[str, ...],
) -> list[Any]:
    """The same as `insert_new` for many rows of texts, numbers, moments and JSON, each of which names the same columns and all
    that have no default of the database's own: PostgreSQL gets them as one value, which costs less.

    An absent JSON value is NULL.
    """
    if not rows:
        return []
    if not _has_recordsets(session):
        return insert_new(session, table, rows, conflict=conflict, returning=returning)
    told = f"RETURNING {', '.join(_names(returning))}"
    clause = f"ON CONFLICT {_target(conflict)} DO NOTHING {told}"
    statement = _recordset(table, tuple(rows[0]), clause)
    return _returned(statement.run(session, {"rows": _encoded(rows)}), returning)


def add_to_rows(
    session: Session,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: tuple[str, ...],
    changes: str,
) -> None:
    """Insert rows as of `insert_new_rows`, and do `changes` to those that are there by the unique columns `conflict`: SQL in which
    what was given is `excluded`. No two of the rows are the same by these. One statement, which locks rows in the order given."""
    if not rows:
        return
    clause = f"ON CONFLICT {_target(conflict)} DO UPDATE SET {changes}"
    if _has_recordsets(session):
        _recordset(table, tuple(rows[0]), clause).run(session, {"rows": _encoded(rows)})
        return
    statement = insert(table)
    statement._post_values_clause = text(clause)
    session.execute(statement, list(rows))


def update_rows(
    session: Session, table: Table, rows: Sequence[dict[str, Any]], key: tuple[str, ...]
) -> None:
    """Write these columns of rows that are there, found by the columns `key`; all name the same ones, of the same types as for
    `insert_new_rows`. On PostgreSQL it is one statement, which travels with the next one."""
    if not rows:
        return
    columns = tuple(rows[0])
    if _has_recordsets(session):
        _update_recordset(table, columns, key).run(session, {"rows": _encoded(rows)})
        return
    by_key = [
        {f"the_{name}" if name in key else name: one[name] for name in columns} for one in rows
    ]
    session.execute(
        update(table)
        .where(*(table.c[name] == bindparam(f"the_{name}") for name in key))
        .values({name: bindparam(name) for name in columns if name not in key}),
        by_key,
    )


def _has_recordsets(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _encoded(rows: Sequence[dict[str, Any]]) -> str:
    stored = [_stored(row) for row in rows]
    try:
        return _json.encode(stored).decode()
    except (ValueError, OverflowError) as error:  # half a character, a number without end
        raise UnstorableValue(str(error)) from error


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is stored: as it is, where its moments are in UTC, as nearly all are."""
    for value in row.values():
        if isinstance(value, dt.datetime) and value.tzinfo is not dt.UTC:
            return {k: as_stored(v) if isinstance(v, dt.datetime) else v for k, v in row.items()}
    return row


_ROWS: Final = "json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json))"


@lru_cache
def _recordset(table: Table, columns: tuple[str, ...], clause: str) -> Kept:
    names = ", ".join(columns)
    rows = _ROWS.format(table=table.name)
    statement = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {rows} {clause}"  # noqa: S608 (ours)
    return Kept(prepared(text(statement)))


@lru_cache
def _update_recordset(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> Kept:
    changes = ", ".join(f"{name} = new.{name}" for name in columns if name not in key)
    same = " AND ".join(f"old.{name} = new.{name}" for name in key)
    statement = (
        f"UPDATE {table.name} AS old SET {changes} FROM {_ROWS.format(table=table.name)} AS new "  # noqa: S608 (ours)
        f"WHERE {same}"
    )
    return Kept(text(statement), WITH_NEXT)


def hold_lock(session: Session, key: int, *, shared: bool = False) -> None:
    """Wait for the advisory lock of this key, and hold it until the transaction ends; `shared`: beside others who hold it so. PostgreSQL
    alone has them; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        session.execute(text(f"SELECT {name}({key})"))


def changed(session: Session, statement: Any, values: dict[str, Any] | None = None) -> int:
    """Run an UPDATE or DELETE, with what it names by `bindparam`; how many rows it changed."""
    return cast("CursorResult[Any]", session.execute(statement, values)).rowcount


def table_of(model: type[DeclarativeBase]) -> Table:
    """The table of a mapped class."""
    return cast(Table, model.__table__)


Column = ColumnElement[Any] | InstrumentedAttribute[Any]


class Portable(FunctionElement[Any]):
    """An expression that PostgreSQL and SQLite write differently. The arguments come as SQL."""

    type: TypeEngine[Any] = Text()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.inherit_cache = True  # SQLAlchemy asks each class for itself

    def postgresql(self, *arguments: str) -> str:
        raise NotImplementedError

    def sqlite(self, *arguments: str) -> str:
        raise NotImplementedError


@compiles(Portable)
def _compiled(element: Portable, compiler: SQLCompiler, **how: Any) -> str:
    write = element.sqlite if compiler.dialect.name == "sqlite" else element.postgresql
    return write(*(compiler.process(each, **how) for each in element.clauses))


class _Texts(TypeDecorator[Sequence[str]]):
    """A list of texts as one parameter: an array, which SQLite has not."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        listed = list(value or ())
        return listed if dialect.name == "postgresql" else json.dumps(listed)


class IsAmong(Portable):
    """See `is_among`."""

    type = Boolean()

    def postgresql(self, *arguments: str) -> str:
        column, texts = arguments
        return f"{column} = ANY ({texts})"

    def sqlite(self, *arguments: str) -> str:
        column, texts = arguments
        return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 (SQL of SQLAlchemy's)


def is_among(column: Column, name: str) -> ColumnElement[bool]:
    """Whether a column of texts is one of those in the parameter `name`, a list. Unlike `in_` it is the same SQL however many they
    are, as a statement needs that is `prepared`."""
    return IsAmong(column, bindparam(name, type_=_Texts()))


def is_object(account: Column, id: Column, wanted: StripeId) -> ColumnElement[bool]:
    """Whether a row's columns of account and id name this Stripe object."""
    return and_(account == wanted.account, id == wanted.id)


def is_customer(
    account: Column, id: Column, on_behalf_of: Column, wanted: StripeCustomer
) -> ColumnElement[bool]:
    """Whether a row's columns name this Stripe customer, as a customer of the same merchant."""
    return and_(is_object(account, id, wanted.name), on_behalf_of == wanted.on_behalf_of)


def among_customers(
    account: Column, id: Column, on_behalf_of: Column, wanted: Iterable[StripeCustomer]
) -> ColumnElement[bool]:
    """Whether they name one of these: one term a merchant."""
    terms = (
        and_(account == merchant.account, on_behalf_of == merchant.on_behalf_of, id.in_(ids))
        for merchant, ids in by_merchant(wanted).items()
    )
    return or_(false(), *terms)


def among_objects(account: Column, id: Column, wanted: Iterable[StripeId]) -> ColumnElement[bool]:
    """Whether they name one of these: one term an account, so that an index on the id serves each."""
    terms = (and_(account == name, id.in_(ids)) for name, ids in by_account(wanted).items())
    return or_(false(), *terms)


def among_named(account: Column, id: Column, accounts: int) -> ColumnElement[bool]:
    """`among_objects` for a statement that is made once and kept, not built and keyed anew, nor
    spelled anew for each number of ids: of so many accounts, its parameters are those of `named_objects`."""
    terms = (
        and_(
            account == bindparam(f"object_account_{number}"),
            is_among(id, f"object_ids_{number}"),
        )
        for number in range(accounts)
    )
    return or_(false(), *terms)


def named_objects(wanted: Iterable[StripeId]) -> tuple[int, dict[str, Any]]:
    """How many accounts these are of, and the parameters of `among_named`."""
    found = by_account(wanted)
    parameters: dict[str, Any] = {}
    for number, (account, ids) in enumerate(found.items()):
        parameters |= {f"object_account_{number}": account, f"object_ids_{number}": ids}
    return len(found), parameters


def among_named_customers(
    account: Column, id: Column, on_behalf_of: Column, merchants: int
) -> ColumnElement[bool]:
    """`among_customers` for a statement that is kept: of so many merchants, its parameters are those of `named_customers`."""
    terms = (
        and_(
            account == bindparam(f"merchant_account_{number}"),
            on_behalf_of == bindparam(f"merchant_behalf_{number}"),
            is_among(id, f"merchant_ids_{number}"),
        )
        for number in range(merchants)
    )
    return or_(false(), *terms)


def named_customers(wanted: Iterable[StripeCustomer]) -> tuple[int, dict[str, Any]]:
    """How many merchants these are of, and the parameters of `among_named_customers`."""
    found = by_merchant(wanted)
    parameters: dict[str, Any] = {}
    for number, (merchant, ids) in enumerate(found.items()):
        parameters |= {
            f"merchant_account_{number}": merchant.account,
            f"merchant_behalf_{number}": merchant.on_behalf_of,
            f"merchant_ids_{number}": ids,
        }
    return len(found), parameters
