"""Output: a table for people, JSON for scripts. The one place that prints: nothing here lets a text from outside command a
terminal, and nothing prints a secret, because nothing secret is handed in.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import stat
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from shared.contracts.rpc.base import plain
from shared.terminal import COMMANDING, complain, one_line, printable, say

One = TypeVar("One")

NOTHING = "–"
"""What stands in a table where there is nothing to say."""
MEASURED = 10_000
"""Columns in which every table has room."""
BESIDE: Final = 24
"""The fewest columns in which a text beside a mark can be read."""
WIDE = 240
"""Columns of a table that goes into a file or a pipe: ids must not be cut there."""


def literal(text: Any) -> str:
    """A text from outside for a place in a console's markup: one line in which nothing is markup or a command."""
    return escape(one_line(str(text)))


class _Terminal(Console):
    """A console whose own colours reach the terminal, and no command that stands in a text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def console(*, stderr: bool = False) -> Console:
    """The terminal, made anew so that tests and pipes see their own streams."""
    stream = sys.stderr if stderr else sys.stdout
    return _Terminal(
        stderr=stderr, width=None if stream.isatty() else WIDE, highlight=False, soft_wrap=False
    )


def confirm(question: str) -> None:
    """Ask for a yes, on standard error: a question is no part of the answer. Without it the command ends."""
    typer.confirm(printable(question), abort=True, err=True)


def agree(question: str) -> bool:
    """Ask for a yes or a no; Enter is a no."""
    return bool(typer.confirm(printable(question), default=False))


def prompt(question: str, default: str | None, *, hidden: bool = False) -> str:
    """Ask for a line. Enter takes the default where there is one, and asks again where there is none (None). `hidden`: neither what is
    typed is shown, nor the default."""
    return str(
        typer.prompt(
            printable(question),
            default=default,
            hide_input=hidden,
            show_default=bool(default) and not hidden,
        )
    ).strip()


def print_json(value: Any) -> None:
    """One JSON document on standard output, legible in every language; what commands a terminal is escaped. Answers of the
    services are written as they came, but for the one form of time: `2026-11-23T10:00:00Z`, whoever told it."""
    sys.stdout.write(_json(value, indent=2) + "\n")


class JsonDocument:
    """A JSON object on standard output, written as it comes, so that a long list is never held whole. What commands a terminal is
    escaped, as in `print_json`. It is whole when it was closed: what breaks off before is no document."""

    def __init__(self) -> None:
        self._any = False
        self._write("{")

    def put(self, name: str, value: Any) -> None:
        """A member."""
        self._begin(name)
        self._write(_json(value))

    def put_each(self, name: str, values: Iterable[Any]) -> None:
        """A member that is a list, an element a line."""
        self._begin(name)
        self._write("[")
        for number, value in enumerate(values):
            self._write(f"{',' if number else ''}\n    {_json(value)}")
        self._write("\n  ]")

    def close(self) -> None:
        """The end."""
        self._write("\n}\n")

    def _begin(self, name: str) -> None:
        self._write(f"{',' if self._any else ''}\n  {_json(name)}: ")
        self._any = True

    def _write(self, text: str) -> None:
        sys.stdout.write(text)


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(plain(value, utc="Z"), ensure_ascii=False, indent=indent)
    # Outside strings there is none of them but line ends, so this is still the same document.
    return COMMANDING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@contextmanager
def private_file(path: Path) -> Iterator[TextIO]:
    """A file to be written for you alone, whoever could read it before. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        yield stream


@contextmanager
def new_private_file(path: Path, option: str) -> Iterator[TextIO]:
    """A new file for its owner alone, whose line ends are written as given. Gone again where the body does not end well: half of a list
    looks like all of it. Raises BadParameter, which names `option`, where it can't be made or is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=option) from None
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def check_file(path: Path | None, option: str) -> None:
    """Whether a file can be written there, before anything is asked for it. Raises BadParameter."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        reason = "it is a folder" if path.is_dir() else "there is no such folder"
        raise typer.BadParameter(f"{path}: {reason}", param_hint=option)


class _Shown(io.TextIOBase):
    """Standard output where a person watches it."""

    def write(self, text: str) -> int:
        return sys.stdout.write(printable(text))


def data_stream() -> TextIO | io.TextIOBase:
    """Standard output for data: byte for byte into a file or a pipe, `printable` on a terminal."""
    return _Shown() if sys.stdout.isatty() else sys.stdout


def finish_output() -> None:
    """Write what is still to be written. Raises OSError, where the interpreter at its end would only complain."""
    with suppress(ValueError, AttributeError):  # closed, or never open
        sys.stdout.flush()


def forget_output() -> None:
    """Let what was not written yet, and what is still to be written, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or no file
            os.dup2(nowhere, stream.fileno())


def print_beside(out: Console, mark: str, text: str) -> None:
    """A line: `mark`, which is markup, and a text, which is none. Where a terminal is too narrow for both, the text goes on where it began,
    or below the mark where there is no room beside it. No word is cut: ids and commands are copied from here."""
    head = Text.from_markup(mark)
    words = one_line(text)
    if not out.is_terminal or head.cell_len + len(words) <= out.width:
        out.print(f"{mark}{escape(words)}", soft_wrap=True)
        return
    beside = out.width - head.cell_len
    below = beside < max(BESIDE, *map(len, words.split()), 0)
    indent = 4 if below else head.cell_len
    lines = textwrap.wrap(
        words, max(out.width - indent, 1), break_long_words=False, break_on_hyphens=False
    )
    if not below:
        out.print(f"{mark}{escape(lines.pop(0))}", soft_wrap=True)
    elif head.plain.strip():
        head.rstrip()
        out.print(head, soft_wrap=True)
    for line in lines:
        out.print(f"{'':{indent}}{escape(line)}", soft_wrap=True)


def _cell(value: Any) -> Text:
    if value is None or value == "":
        return Text(NOTHING)
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(one_line(str(value)))


def as_moment(moment: dt.datetime | None) -> str:
    """`2026-11-23 10:00:00`, UTC."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}" if moment else "–"


def answer(value: Any, text: str, *, as_json: bool, aside: str = "") -> None:
    """What came of a command: `value` as JSON, or `text` for people, with what is said `aside` of it on standard error."""
    if as_json:
        print_json(value)
        return
    say(text)
    if aside:
        complain(aside)


def print_list(
    found: Sequence[One],
    columns: Sequence[str],
    row: Callable[[One], Sequence[Any]],
    *,
    as_json: bool,
    empty: str,
    under: int,
) -> None:
    """A list as JSON, or as a table for people with a `row` of each; `empty` and `under` as in `print_table`."""
    if as_json:
        print_json(found)
    else:
        print_table(columns, map(row, found), empty=empty, under=under)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    empty: str = "Nothing there.",
    under: int = 0,
    stderr: bool = False,
) -> None:
    """A table, or one line when it has no rows. `under`: so many of its last columns go under each row, by their names, where the
    terminal is too narrow for all: ids must not be cut, and a reason wants a line."""
    out = console(stderr=stderr)
    listed = [[_cell(value) for value in row] for row in rows]
    if not listed:
        out.print(empty)
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in listed:
        table.add_row(*row)
    if under and out.measure(table, options=out.options.update(width=MEASURED)).maximum > out.width:
        _print_narrow(out, columns, listed, len(columns) - under)
    else:
        out.print(table)


def _print_narrow(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[Text]], above: int
) -> None:
    """The first columns in a row, which is never cut, and what the others say below it."""
    heads = [Text(name, style="bold") for name in columns[:above]]
    widths = [max(cell.cell_len for cell in column) for column in zip(heads, *rows, strict=False)]
    for row in (heads, *rows):
        for cell, width in zip(row, widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").join(row[:above])
        line.rstrip()
        out.print(line, soft_wrap=True)
        said = [
            f"{name}: {cell.plain}"
            for name, cell in zip(columns[above:], row[above:], strict=False)
            if cell.plain != NOTHING
        ]
        if said:
            out.print(Padding(Text(" · ".join(said)), (0, 0, 0, 4)))


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
