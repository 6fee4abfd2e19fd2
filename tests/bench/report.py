"""What was measured, as tables for people, and into docs/benchmarks.md between its marks."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from local.python_process import REPOSITORY
from tests.bench.alone import Alone
from tests.bench.measure import Figure

PAGE = REPOSITORY / "docs/benchmarks.md"
PLOT = REPOSITORY / "docs/images/benchmarks.svg"
FIGURES = "one process each", "answers/s", "CPU µs an answer", "p50 ms", "p99 ms", "memory MB"
TARGETS = "target", "aim", "measured", "by CPU", ""
OVER = (
    ("page", "fastapi page", "page: rate over FastAPI's", 5),
    ("page", "hello", "page: rate over nameko's hello-world", 0.8),
    ("webhook", "fastapi webhook", "webhook: rate over FastAPI's", 7),
    ("webhook", "hello", "webhook: rate over nameko's hello-world", 1.2),
    ("healthz", "hello", "/healthz: rate over nameko's hello-world", 5),
    ("lookup", "plain lookup", "RPC lookup: rate over a plain one", 4),
)
"""Figure, yardstick, what is said of them, and the least ratio that was aimed at."""
AFTER_LOAD = {"portal": "page", "billing": "webhook"}
"""Services and the figures that load them."""

Row = Sequence[str]
Tick = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Target:
    """What was aimed at and what was measured; `cpu`: the same ratio, by CPU."""

    what: str
    aim: str
    measured: str
    met: bool
    cpu: str = ""

    def cells(self, met: str, not_met: str) -> Row:
        """The row of a table."""
        return self.what, self.aim, self.measured, self.cpu, met if self.met else not_met


def at_least(what: str, least: float, value: float, *, cpu: float) -> Target:
    """A ratio of rates that should not be lower."""
    return Target(what, f"≥ {least:g}", f"{value:.2f}", value >= least, f"{cpu:.1f}")


def at_least_of(what: str, least: float, value: float) -> Target:
    """A figure that should not be lower."""
    return Target(what, f"≥ {least:g}", f"{value:.0f}", value >= least)


def at_most(what: str, most: float, value: float, unit: str = "") -> Target:
    """A figure that should not be higher."""
    measured = f"{value:.2f}" if most < 20 else f"{value:.0f}"
    return Target(what, f"≤ {most:g} {unit}".strip(), f"{measured} {unit}".strip(), value <= most)


@dataclass(frozen=True)
class Found:
    """Everything that one run measured."""

    figures: dict[str, Figure]
    curve: dict[str, list[tuple[int, float, float]]]
    starts: dict[str, tuple[float, float]]
    alone: Alone
    conditions: str
    minutes: float


def targets(found: Found) -> list[Target]:
    """What was aimed at: what, target, measured, and whether it is met."""
    figures, alone = found.figures, found.alone
    rows = [
        at_least(what, least, mine.over(theirs), cpu=mine.cheaper_than(theirs))
        for name, other, what, least in OVER
        if (mine := figures[name]) and (theirs := figures[other]).rounds
    ]
    rows += [
        at_most("one failure, idle: p50 over the sum of its parts", 2.0, alone.over_parts),
        at_most("one failure, idle: p99 over p50", 2, alone.p99 / alone.p50),
    ]
    for service, (seconds, memory) in found.starts.items():
        rows += [
            at_most(f"{service}: start to ready", 1.5, seconds, "s"),
            at_most(f"{service}: memory at rest", 85, memory, "MB"),
        ]
    return rows + [
        at_most(f"{service}: memory after load", 100, figures[name].memory, "MB")
        for service, name in AFTER_LOAD.items()
    ]


# -- for people --------------------------------------------------------------------------------------------


def show(title: str, columns: Row, rows: Iterable[Row]) -> None:
    """Print a table: words at the left, what was measured at the right."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def show_targets(rows: Iterable[Target]) -> None:
    """Print what was aimed at."""
    show("Targets", TARGETS, [row.cells("[green]met", "[red]not met") for row in rows])


def progress() -> Progress:
    """A bar on the terminal's error stream."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def ticking(bar: Progress) -> Tick:
    """How far each of several things has come, a line each: by its name, so many of so many."""
    tasks: dict[str, TaskID] = {}

    def tick(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=min(done, total))

    return tick


def conclude(
    part: str, title: str, aims: Sequence[Target], columns: Row, rows: Iterable[Row]
) -> None:
    """Print what a bench has measured and what was aimed at, and write it into its part of the page, but with BENCH_WRITE= (empty)."""
    rows = list(rows)
    show(title, columns, rows)
    show_targets(aims)
    if os.environ.get("BENCH_WRITE", "yes"):
        write_part(part, f"{title}.", aims, columns, rows)


def show_found(found: Found) -> None:
    """Print what `make bench` has measured."""
    show(found.conditions, FIGURES, map(_cells, found.figures.values()))
    show_alone(found.alone)
    show_targets(targets(found))
    Console().print(f"{found.minutes:.1f} minutes")


def show_alone(alone: Alone) -> None:
    """Print what one failure takes beside its parts."""
    ratio = f"{alone.over_parts:.2f} times their sum, p99 over p50 {alone.p99 / alone.p50:.2f}"
    show(f"One failure alone: {ratio}", ("", "p50 ms", "p99 ms"), _alone(alone))


def _cells(figure: Figure) -> Row:
    if not figure.rounds:
        return figure.name, *[""] * (len(FIGURES) - 1)
    values = (figure.rate, figure.cpu, figure.p50, figure.p99, figure.memory)
    return (
        figure.name,
        *(f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value else "" for value in values),
    )


def _alone(alone: Alone) -> list[Row]:
    parts = [(name, f"{p50:.1f}", f"{p99:.1f}") for name, (p50, p99) in alone.parts_ms.items()]
    return [
        *parts,
        ("their sum", f"{sum(p50 for p50, _ in alone.parts_ms.values()):.1f}", ""),
        ("one failure, to its mail", f"{alone.p50:.1f}", f"{alone.p99:.1f}"),
    ]


def machine() -> str:
    """What it ran on."""
    info = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", info)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) >> 20  # type: ignore[index]
    busy = os.getloadavg()[2]
    return (
        f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores, {memory} GB, "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}; load average over 15 minutes {busy:.1f}"
    )


# -- for the page ------------------------------------------------------------------------------------------


def write(found: Found) -> None:
    """Replace the measured part of docs/benchmarks.md, and draw the plot."""
    curve = zip(found.curve["page"], found.curve["webhook"], strict=True)
    generator = found.figures["healthz"].median("generator")
    write_part(
        "measured",
        found.conditions,
        targets(found),
        FIGURES,
        map(_cells, found.figures.values()),
        [
            *paragraph(
                f"A request to `/healthz` costs the load generator itself {generator:.0f} µs on the other core: what bounds that rate too."
            ),
            "",
            *markdown(("one failure alone", "p50 ms", "p99 ms"), _alone(found.alone)),
            "",
            *markdown(
                ("callers", "page/s", "CPU µs", "webhook/s", "CPU µs"),
                [
                    (f"{page[0]}", *(f"{each:,.0f}" for each in (*page[1:], *hook[1:])))
                    for page, hook in curve
                ],
            ),
            "",
            "![Answers a second](images/benchmarks.svg)",
        ],
    )
    PLOT.write_text(plot(found.figures))


def write_part(
    name: str,
    conditions: str,
    aims: Iterable[Target],
    columns: Row,
    rows: Iterable[Row],
    more: Sequence[str] = (),
) -> None:
    """Write a part of docs/benchmarks.md: when and where it was measured, targets, one table, and `more` lines."""
    lines = [
        *paragraph(f"Measured {dt.datetime.now(dt.UTC):%Y-%m-%d} on {machine()}. {conditions}"),
        "",
        *markdown(TARGETS, [row.cells("met", "**not met**") for row in aims]),
        "",
        *markdown(columns, rows),
    ]
    replace_part(name, [*lines, "", *more] if more else lines)


def markdown(columns: Row, rows: Iterable[Row]) -> list[str]:
    """A table's lines."""
    whole = [columns, ["---"] * len(columns), *rows]
    return ["|".join(["", *(f" {cell} " for cell in row), ""]) for row in whole]


def paragraph(text: str) -> list[str]:
    """The text in lines as wide as the page's others."""
    return textwrap.wrap(text, 126)


def replace_part(name: str, lines: Sequence[str]) -> None:
    """Write `lines` between the marks `name` of docs/benchmarks.md. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = PAGE.read_text()
    before, after = text[: text.index(begin)], text[text.index(end) :]
    PAGE.write_text("\n".join([before + begin, "", *lines, "", after]))


def plot(figures: Mapping[str, Figure]) -> str:
    """Bars: answers a second of ours and of the yardsticks, in one SVG without scripts."""
    shown = [each for each in figures.values() if each.rounds and each.name != "disk"]
    most = max(each.rate for each in shown) or 1
    rows = []
    for number, figure in enumerate(shown):
        y = 20 + 34 * number
        ours = any(figure.name == name for name, *_ in OVER)
        width = max(1.0, 420 * figure.rate / most)
        rows.append(
            f'<text x="150" y="{y + 16}" text-anchor="end">{figure.name}</text>'
            f'<rect x="160" y="{y}" width="{width:.0f}" height="22" rx="3" fill="{"#2f6f9f" if ours else "#b9c4cc"}"/>'
            f'<text x="{166 + width:.0f}" y="{y + 16}">{figure.rate:,.0f}/s</text>'
        )
    height = 32 + 34 * len(shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" font-family="sans-serif" font-size="14" '
        f'role="img" aria-label="Answers a second"><rect width="680" height="{height}" fill="#fff"/>'
        + "".join(rows)
        + "</svg>\n"
    )
