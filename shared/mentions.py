"""Whether a stored text names somebody: Stripe's id of a customer, Portico's, or an address. What is to be forgotten, or told of, is found
by it: in tables and among dead letters alike.

A name counts where it stands whole. It may be how others' ids begin or end (`cus_1` in `cus_12`, `da@example.com` in `ada@example.com`),
and who gave it may have made it up for that.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

# Whom only `mentions` concerns, such as the command line, loads no SQLAlchemy for it.
if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

_ESCAPE_BEFORE: Final = r"(?<=\\[nrt])"
"""JSON writes the end of a line before a name as a letter."""


def mentions(text: str, name: str) -> bool:
    """Whether the text, JSON or any other, names this id or address."""
    return name in text and re.search(_pattern(name), text) is not None


def mentioned(column: Any, name: str) -> ColumnElement[bool]:
    """The same of a column, as a condition for PostgreSQL and SQLite."""
    # An expression is looked for only where its text stands.
    found: ColumnElement[bool] = column.contains(name, autoescape=True) & column.regexp_match(
        _pattern(name)
    )
    return found


@lru_cache(maxsize=64)
def _pattern(name: str) -> str:
    """An expression that Python and PostgreSQL read alike. In a sentence a dot may follow a name; in an address a name goes on behind
    one."""
    before, after = (r"[\w.+-]", r"(?![\w-]|\.\w)") if "@" in name else (r"[\w-]", r"(?![\w-])")
    return rf"(?:(?<!{before})|{_ESCAPE_BEFORE}){re.escape(name)}{after}"
