"""Output: a table for people, JSON for scripts. Nothing here prints a secret, because nothing secret is handed in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

WIDE = 240
"""Columns of a table that goes into a file or a pipe: ids must not be cut there."""


def console(*, stderr: bool = False) -> Console:
    """The terminal, made anew so that tests and pipes see their own streams."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr, width=None if stream.isatty() else WIDE, highlight=False, soft_wrap=False
    )


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def plain(value: Any) -> str:
    """A cell of a table."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def as_moment(value: str | None) -> str:
    """`2026-11-23T10:00:00.123456Z` as `2026-11-23 10:00:00`, UTC."""
    return value.replace("T", " ")[:19] if value else "–"


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "Nothing there."
) -> None:
    """A table, or one line when it has no rows."""
    listed = [[escape(plain(cell)) for cell in row] for row in rows]
    if not listed:
        console().print(empty)
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in listed:
        table.add_row(*row)
    console().print(table)


def progress_bar(*columns: str) -> Progress:
    """A progress bar on standard error, with these fields at its end; silent where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *(TextColumn(f"{{task.fields[{name}]}}") for name in columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
