"""What `make bench-growth` found, as tables for people, and into docs/benchmarks.md between its marks."""

from __future__ import annotations

import contextlib
import datetime as dt
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg2
from rich.console import Console
from rich.table import Table

from local.servers import PostgreSQL
from tests.bench.report import machine, paragraph, replace_part

AIM: Final = 1.3
"""How much slower a large table may be."""
MANY: Final = 100_000_000
"""Webhooks that the question is about."""
ENTRIES: Final = 150
"""What a page of an index above the leaves holds at least: 8 kB of entries of at most 52 bytes."""

SIZES = """
SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, c.reltuples, pg_relation_size(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid::regclass::text = ANY(%(tables)s) AND i.indpred IS NULL
ORDER BY 2, 1
"""
ROOT = """
SELECT m.level, s.live_items
FROM bt_metap(%(name)s) AS m, bt_page_stats(%(name)s, m.root::int) AS s
"""


@dataclass(frozen=True)
class Line:
    """One question or transaction on both sides: milliseconds of each call, and what it cost the server."""

    what: str
    together: int
    small: Sequence[float]
    large: Sequence[float]
    server: str

    @property
    def ratio(self) -> float:
        """How much longer the large side takes."""
        return statistics.median(self.large) / statistics.median(self.small)

    def cells(self) -> list[str]:
        """The row of a table."""
        return [
            self.what,
            str(self.together),
            f"{statistics.median(self.small):.2f}",
            f"{statistics.median(self.large):.2f}",
            f"{self.ratio:.2f}",
            f"{_high(self.small):.1f}",
            f"{_high(self.large):.1f}",
            self.server,
        ]


def _high(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


@dataclass(frozen=True)
class Index:
    """An index of the large side: its size, and how high its tree is (None without the extension pageinspect)."""

    name: str
    table: str
    rows: float
    megabytes: float
    levels: int | None
    root_entries: int | None

    def holds(self, rows: int) -> str:
        """Whether the tree would stay as high with so many rows."""
        if self.levels is None or self.root_entries is None:
            return "not known"
        needed = self.root_entries * rows / self.rows
        return str(self.levels) if needed <= ENTRIES else f"at most {self.levels + 1}"


@dataclass(frozen=True)
class Found:
    """Everything that one run measured."""

    lines: Sequence[Line]
    indexes: Sequence[Index]
    customers: int
    events: int
    fill_minutes: float


def indexes(postgres: PostgreSQL, database: str, tables: Sequence[str]) -> list[Index]:
    """The whole (not partial) indexes of some tables."""
    with postgres.connection(database) as connection, connection.cursor() as cursor:
        with contextlib.suppress(psycopg2.Error):
            cursor.execute("CREATE EXTENSION pageinspect")
        cursor.execute(SIZES, {"tables": list(tables)})
        found = cursor.fetchall()
        return [
            Index(name, table, rows, size / 1e6, *_height(cursor, name))
            for name, table, rows, size in found
        ]


def _height(cursor: Any, name: str) -> tuple[int | None, int | None]:
    with contextlib.suppress(psycopg2.Error):
        cursor.execute(ROOT, {"name": name})
        level, entries = cursor.fetchone()
        return level + 1, entries
    return None, None


LINE_COLUMNS = ("", "together", "small ms", "large ms", "ratio", "small p95", "large p95", "server")
INDEX_COLUMNS = ("index", "rows", "MB", "levels")


def _index_cells(index: Index) -> list[str]:
    levels = "" if index.levels is None else str(index.levels)
    return [index.name, f"{index.rows:,.0f}", f"{index.megabytes:,.0f}", levels]


def _events_indexes(found: Found) -> list[Index]:
    return [each for each in found.indexes if each.table in ("inbox", "outbox")]


def show(found: Found) -> None:
    """Print both tables."""
    console = Console(width=140)
    table = Table(
        title=f"{found.customers:,} customers against few, {found.events:,} old webhooks against none"
    )
    for column in LINE_COLUMNS:
        table.add_column(column, justify="left" if not column else "right")
    for line in found.lines:
        table.add_row(*line.cells(), style=None if line.ratio <= AIM else "red")
    console.print(table)
    sizes = Table(title="Indexes of the large side")
    for column in INDEX_COLUMNS:
        sizes.add_column(column, justify="left" if column == "index" else "right")
    for index in found.indexes:
        sizes.add_row(*_index_cells(index))
    console.print(sizes)
    console.print(f"filled in {found.fill_minutes:.1f} minutes")


def write(found: Found) -> None:
    """Replace the part of docs/benchmarks.md."""
    scattered = sum(
        each.megabytes
        for each in _events_indexes(found)
        if any(word in each.name for word in ("pk_inbox", "object_id", "stripe_customer_id", "uq_"))
    )
    per_row = 1e6 * scattered / found.events
    replace_part(
        "growth",
        [
            *paragraph(
                f"Measured {dt.datetime.now(dt.UTC):%Y-%m-%d} on {machine()}: {found.customers:,} customers against 10,000, and "
                f"{found.events:,} old webhooks with their published events against none (filled in "
                f"{found.fill_minutes:.0f} minutes). Medians of calls in turns; fsync on, 1 GB of shared buffers. Pages are of 8 kB, a "
                "call; in brackets those that PostgreSQL's own buffers did not have. The log's bytes are those right after a "
                "checkpoint."
            ),
            "",
            f"| | together | small, ms | large, ms | ratio (aim ≤ {AIM}) | small p95 | large p95 | on the server |",
            "|---|---|---|---|---|---|---|---|",
            *("| " + " | ".join(line.cells()) + " |" for line in found.lines),
            "",
            f"| index of the large side | rows | MB | levels | levels at {MANY:,} |",
            "|---|---|---|---|---|",
            *(
                f"| {' | '.join(_index_cells(index))} | "
                f"{index.holds(MANY) if index.table in ('inbox', 'outbox') else ''} |"
                for index in found.indexes
            ),
            "",
            *paragraph(
                f"Indexes whose entries are scattered take {per_row:,.0f} bytes a webhook: {per_row * MANY / 1e9:,.0f} GB at {MANY:,}."
            ),
        ],
    )
