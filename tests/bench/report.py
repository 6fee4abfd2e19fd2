"""What was measured, as a table for people, and into docs/benchmarks.md between its marks."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.python_process import REPOSITORY
from tests.bench.load import percentile
from tests.bench.measure import Figure

PAGE = REPOSITORY / "docs/benchmarks.md"
PLOT = REPOSITORY / "docs/images/benchmarks.svg"


@dataclass(frozen=True)
class Found:
    """Everything that one run measured."""

    figures: dict[str, Figure]
    curve: dict[str, list[tuple[int, float, float]]]
    starts: dict[str, tuple[float, float]]
    failure_to_mail: list[float]
    customers: int
    rounds: int
    seconds: float
    connections: int
    minutes: float

    def ratio(self, name: str, other: str) -> float:
        """The ratio of two rates, from the same rounds."""
        return self.figures[name].over(self.figures[other])

    def cpu_ratio(self, name: str, other: str) -> float:
        """How much less CPU an answer costs: above 1 is less. Less disturbed by neighbours than the rate."""
        return self.figures[other].cpu / self.figures[name].cpu


def targets(found: Found) -> list[tuple[str, str, str, bool]]:
    """What was aimed at: what, target, measured, and whether it is met."""
    mails = [each / 1000 for each in found.failure_to_mail]
    p50, p99 = percentile(mails, 50), percentile(mails, 99)
    rows = [
        ("page: rate over FastAPI's", "≥ 2.5", found.ratio("page", "fastapi page"), 2.5),
        ("page: rate over nameko's hello-world", "≥ 0.75", found.ratio("page", "hello"), 0.75),
        ("webhook: rate over FastAPI's", "≥ 2.5", found.ratio("webhook", "fastapi webhook"), 2.5),
        (
            "webhook: rate over nameko's hello-world",
            "≥ 0.65",
            found.ratio("webhook", "hello"),
            0.65,
        ),
        ("RPC lookup: rate over a plain one", "≥ 1.5", found.ratio("lookup", "plain lookup"), 1.5),
    ]
    said = [(what, target, f"{value:.2f}", value >= least) for what, target, value, least in rows]
    said.append(
        (
            "failure to mail, idle",
            "p50 < 40 ms, p99 < 150 ms",
            f"{p50:.0f} ms, {p99:.0f} ms",
            p50 < 40 and p99 < 150,
        )
    )
    for service, (seconds, memory) in found.starts.items():
        said.append(
            (f"{service}: start to ready; memory", "< 1.5 s; < 100 MB", f"{seconds:.2f} s; {memory:.0f} MB",
             seconds < 1.5 and memory < 100)
        )  # fmt: skip
    return said


def show(found: Found) -> None:
    """Print both tables."""
    console = Console(width=110)
    table = Table(
        title=f"{found.connections} callers, medians of {found.rounds} rounds of {found.seconds:g} s"
    )
    for column in ("", "answers/s", "CPU µs an answer", "p50 ms", "p99 ms", "memory MB"):
        table.add_column(column, justify="left" if not column else "right")
    for figure in found.figures.values():
        table.add_row(*_cells(figure))
    console.print(table)
    aims = Table(title="Targets")
    for column in ("", "target", "measured", ""):
        aims.add_column(column)
    for what, target, measured, met in targets(found):
        aims.add_row(what, target, measured, "[green]met" if met else "[red]not met")
    console.print(aims)
    console.print(f"{found.minutes:.1f} minutes")


def _cells(figure: Figure) -> list[str]:
    values = (figure.rate, figure.cpu, figure.p50, figure.p99, figure.memory)
    return [
        figure.name,
        *(f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value else "" for value in values),
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


def write(found: Found) -> None:
    """Replace the measured part of docs/benchmarks.md, and draw the plot."""
    lines = [
        *paragraph(
            f"Measured {dt.datetime.now(dt.UTC):%Y-%m-%d} on {machine()}. {found.customers:,} customers, "
            f"{found.connections} callers, medians of {found.rounds} interleaved rounds of {found.seconds:g} s."
        ),
        "",
        "| target | aim | measured | |",
        "|---|---|---|---|",
        *(
            f"| {what} | {aim} | {measured} | {'met' if met else '**not met**'} |"
            for what, aim, measured, met in targets(found)
        ),
        "",
        "| one process each | answers/s | CPU µs an answer | p50 ms | p99 ms | memory MB |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(_cells(figure)) + " |" for figure in found.figures.values()),
        "",
        *paragraph(
            "CPU an answer, which a busy machine disturbs less than a rate: "
            f"page {found.cpu_ratio('page', 'fastapi page'):.1f} times less than FastAPI, "
            f"webhook {found.cpu_ratio('webhook', 'fastapi webhook'):.1f} times less, "
            f"lookup {found.cpu_ratio('lookup', 'plain lookup'):.1f} times less than the plain one."
        ),
        "",
        "| callers | page/s | CPU µs | webhook/s | CPU µs |",
        "|---|---|---|---|---|",
        *(
            f"| {page[0]} | {page[1]:,.0f} | {page[2]:,.0f} | {hook[1]:,.0f} | {hook[2]:,.0f} |"
            for page, hook in zip(found.curve["page"], found.curve["webhook"], strict=True)
        ),
        "",
        "![Answers a second](images/benchmarks.svg)",
    ]
    replace_part("measured", lines)
    PLOT.write_text(plot(found))


def paragraph(text: str) -> list[str]:
    """The text in lines as wide as the page's others."""
    return textwrap.wrap(text, 126)


def replace_part(name: str, lines: Sequence[str]) -> None:
    """Write `lines` between the marks `name` of docs/benchmarks.md. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = PAGE.read_text()
    before, after = text[: text.index(begin)], text[text.index(end) :]
    PAGE.write_text("\n".join([before + begin, "", *lines, "", after]))


def plot(found: Found) -> str:
    """Bars: answers a second of ours and of the yardsticks, in one SVG without scripts."""
    names = [
        "hello",
        "page",
        "fastapi page",
        "webhook",
        "fastapi webhook",
        "lookup",
        "plain lookup",
    ]
    most = max(found.figures[name].rate for name in names) or 1
    rows = []
    for number, name in enumerate(names):
        rate, y = found.figures[name].rate, 20 + 34 * number
        ours = name in ("page", "webhook", "lookup")
        width = max(1.0, 420 * rate / most)
        rows.append(
            f'<text x="150" y="{y + 16}" text-anchor="end">{name}</text>'
            f'<rect x="160" y="{y}" width="{width:.0f}" height="22" rx="3" fill="{"#2f6f9f" if ours else "#b9c4cc"}"/>'
            f'<text x="{166 + width:.0f}" y="{y + 16}">{rate:,.0f}/s</text>'
        )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 270" font-family="sans-serif" font-size="14" '
        'role="img" aria-label="Answers a second"><rect width="680" height="270" fill="#fff"/>'
        + "".join(rows)
        + "</svg>\n"
    )
