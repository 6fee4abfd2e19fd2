"""Whether a statement that finds Stripe objects by their ids names their account, too: looked at for each statement that a unit
test runs, and that those of the statements of PostgreSQL's own run."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any, Final

from sqlalchemy import Engine, Table, event
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnClause, TextClause
from sqlalchemy.sql.schema import Column
from sqlalchemy.sql.selectable import Alias, Join, Select

from shared.statements import IsAmong

STRIPES: Final = frozenset(
    {
        "invoice_id",
        "stripe_customer_id",
        "platform_stripe_customer_id",
        "subscription_id",
        "configuration_id",
        "change_id",
        "object_id",
    }
)
"""Columns that hold an id of Stripe's, wherever they stand."""
BY_TABLE: Final = {
    "inbox": frozenset({"id"}),
    "payment_method_changes": frozenset({"id"}),
    "payment_method_change_events": frozenset({"event_id"}),
    "reconciliations": frozenset({"name"}),
    "portal_configurations": frozenset({"key"}),
}
"""Further ones of one table: Stripe's ids of events, and what an account has one of."""


FINDS: Final = (operators.eq, operators.in_op)
"""Operators by which objects are found; by others pages of a list are turned."""


_TEXT_CONDITION: Final = re.compile(
    r"\b(?:WHERE|ON(?!\s+CONFLICT)|USING)\b(.*?)"
    r"(?=\b(?:WHERE|ON|USING|SELECT|FROM|JOIN|INSERT|UPDATE|DELETE|SET|GROUP|ORDER|RETURNING)\b|$)",
    re.DOTALL,
)
"""Where SQL that is written as text says which rows it means."""


class NoAccount(AssertionError):
    """A statement that would find the objects of any account."""


def watch(engine: Engine) -> None:
    """Raise NoAccount at each statement of this engine that does not name the account. One that does is not looked at again when
    it comes with other values: looking at each took a tenth of the unit tests' time."""
    name_it: set[str] = set()

    def check(
        connection: Any, cursor: Any, sql: str, values: Any, context: Any, many: bool
    ) -> None:
        if sql in name_it or context.compiled is None:
            return
        unnamed = without_account(context.compiled.statement)
        if not unnamed:
            name_it.add(sql)
        elif not _is_none_of_ours():
            raise NoAccount(f"{', '.join(sorted(unnamed))} without an account in:\n{sql}")

    event.listen(engine, "before_cursor_execute", check)


def _is_none_of_ours() -> bool:
    """Whether SQLAlchemy itself writes or reads again a row that was found before, by its key, or a test looks."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith(("/orm/persistence.py", "/orm/bulk_persistence.py")):
            return "_do_pre_synchronize" not in frame.f_code.co_name and "unitofwork" in _callers(
                frame
            )
        if "/site-packages/" not in file:
            return "/tests/" in file
        if frame.f_code.co_name == "load_scalar_attributes":
            return True
        frame = frame.f_back
    return False


def _callers(frame: FrameType) -> str:
    names = []
    above: FrameType | None = frame
    while above is not None and "/site-packages/" in above.f_code.co_filename:
        names.append(above.f_code.co_filename)
        above = above.f_back
    return " ".join(names)


def without_account(clause: Any) -> set[str]:
    """The columns by which a statement finds Stripe objects, of tables whose account it does not name."""
    if not hasattr(clause, "get_children"):
        return set()
    asked: dict[Any, set[str]] = {}
    named: set[Any] = set()
    written: set[str] = set()
    for part in visitors.iterate(clause):
        if isinstance(part, TextClause):
            written |= _unnamed_in_text(part.text)
        if isinstance(part, BinaryExpression | IsAmong):
            if isinstance(part, IsAmong):
                finds, sides = True, (part,)
            else:
                finds = part.operator in FINDS and not _reads_keys(part)
                sides = (part.left, part.right)
            for side in sides:
                for column in _columns(side):
                    table = column.table
                    if finds and column.name == "account":
                        named.add(table)
                    elif finds and _is_stripes(column):
                        asked.setdefault(table, set()).add(f"{_name(table)}.{column.name}")
    return written | {
        name for table, names in asked.items() if table not in named for name in names
    }


def _unnamed_in_text(sql: str) -> set[str]:
    """The same for SQL as text: each of its conditions for itself."""
    wanted = STRIPES.union(*(ids for table, ids in BY_TABLE.items() if table in sql))
    return {
        name
        for condition in _TEXT_CONDITION.findall(sql)
        for name in wanted & set(re.findall(r"\w+", condition))
        if not re.search(r"\baccount\b", condition)
    }


def _reads_keys(part: BinaryExpression[Any]) -> bool:
    """Whether rows of a table are taken by keys that the same statement reads from it: as those that are old."""
    keys = {one.table for one in _columns(part.left)}
    froms = [
        found
        for one in visitors.iterate(part.right)
        if isinstance(one, Select)
        for found in one.get_final_froms()
    ]
    return bool(froms) and keys <= set(froms)


def _columns(side: Any) -> list[Any]:
    return [
        one
        for one in visitors.iterate(side)
        if isinstance(one, Column | ColumnClause)
        and not isinstance(one, BindParameter)
        and getattr(one, "table", None) is not None
    ]


def _is_stripes(column: Any) -> bool:
    table = column.table
    real = table.element if isinstance(table, Alias) else table
    if not isinstance(real, Table) or "account" not in real.c:
        return False
    return column.name in STRIPES or column.name in BY_TABLE.get(real.name, ())


def _name(table: Any) -> str:
    return "a join" if isinstance(table, Join) else str(table.name)
