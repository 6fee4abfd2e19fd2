"""Reading a CSV of customers line by line, and writing it through the portal in batches; stops and goes on.

Memory stays flat: at most a few batches are held, whatever the file's length. The state is written after each batch
that was answered, in the file's order, so that a run which was killed repeats at most the batches that were under
way. Repeating is safe: the portal knows customers by the host's ids.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from portico.cli.rpc import Caller, asked_with, read
from portico.spreadsheets import guarded, unguarded
from services.portal.domain.people import COLUMNS, COLUMNS_NEEDED
from shared.contracts.rpc import portal
from shared.text import clean

LONGEST_LINE: Final = 64 * 1024
HEAD: Final = 64 * 1024
"""Bytes at the file's beginning that tell it apart from another one of the same size."""
CALL_BYTES: Final = 512 * 1024
"""Where a batch ends though it has fewer rows than asked for: a call takes twice as much at most."""
COUNTS: Final = ("lines", "created", "updated", "unchanged", "doubled", "errors")


class BadFile(Exception):
    """The file can't be imported; the text says why and what to do."""


@dataclass
class _Batch:
    """Customers of one call. `offset` and `line` are where the file was read to when it was full."""

    rows: list[list[str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    doubles: list[tuple[int, str]] = field(default_factory=list)
    """Lines whose external_id stands further up too."""
    bytes: int = 0
    offset: int = 0
    line: int = 0
    call_id: str = ""


class _Lines:
    """The file's lines as text, counting bytes and lines; for `csv.reader`, which may take several for one row."""

    def __init__(self, stream: IO[bytes], line: int) -> None:
        self._stream = stream
        self.offset = stream.tell()
        self.line = line
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(LONGEST_LINE)
        if not raw:
            raise StopIteration
        self.offset += len(raw)
        self.line += 1
        if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
            self.too_long = True
            while rest := self._stream.readline(LONGEST_LINE):  # skip to its end, a piece at a time
                self.offset += len(rest)
                if rest.endswith(b"\n"):
                    break
            return "\n"
        # What is not UTF-8 becomes lone surrogates, which are reported with their line.
        return raw.decode("utf-8", "surrogateescape")

    def skip_one(self, start: int, line: int) -> None:
        """Go back to byte `start`, where `line` begins, and past that line alone."""
        self._stream.seek(start)
        self.offset, self.line = start, line - 1
        next(self, "")


class _Seen:
    """On which line an id of the host's stood last. On disk, in a file without a name that goes with the process: a file of
    millions of customers takes no more memory than a small one."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("")
        self._table.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def note(self, external_id: str, line: int) -> int | None:
        """Remember the line; the one before with the same id, if there is any."""
        key = hashlib.sha256(external_id.encode()).digest()[:16]
        found = self._table.execute("SELECT line FROM seen WHERE id = ?", (key,)).fetchone()
        self._table.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (key, line))
        return int(found[0]) if found else None

    def close(self) -> None:
        """Let go of it."""
        self._table.close()


def _columns(first: str) -> list[str]:
    """What the first line names. Raises BadFile where that is not what an import needs, and says so of what spreadsheets save beside CSV."""
    if "\r" in first.rstrip("\r\n"):
        raise BadFile("its lines end with a carriage return alone: save it with line feeds")
    names = [name.strip().lower() for name in next(csv.reader([first]), [])]
    missing = [name for name in COLUMNS_NEEDED if name not in names]
    if not missing:
        return names
    if "\0" in first or any("\udc80" <= character <= "\udcff" for character in first):
        raise BadFile("its first line is not UTF-8: save it as CSV in UTF-8")
    if len(names) == 1 and (other := re.search("[;\t]", first)):
        mark = "semicolons" if other[0] == ";" else "tabs"
        raise BadFile(f"its columns stand between {mark}: save it with commas")
    raise BadFile(
        f"the first line must name the columns; missing: {', '.join(missing)} (it has: {', '.join(names)[:200]})"
    )


class Import:
    """One run over one file."""

    def __init__(self, file: Path, business: str, *, restart: bool = False) -> None:
        """Raises BadFile when the file has no usable header, or an earlier run was over another file."""
        if not file.is_file():
            raise BadFile(f"{file} is not a plain file: an import must be able to go back in it")
        self._file, self._business = file, business
        self.state_file = file.with_name(file.name + ".import.json")
        self.errors_file = file.with_name(file.name + ".errors.csv")
        self.size = file.stat().st_size
        with file.open("rb") as stream:
            self._mark = hashlib.sha256(stream.read(HEAD)).hexdigest()
            stream.seek(0)
            lines = _Lines(stream, 0)
            first = next(lines, "")
        names = _columns(first.removeprefix("\ufeff"))
        double = sorted({name for name in names if name and names.count(name) > 1})
        if double:
            raise BadFile(f"the first line names a column twice: {', '.join(double)}")
        self._width = len(names)
        self._top = lines.offset
        self._places = [names.index(name) if name in names else None for name in COLUMNS]
        self.counts = dict.fromkeys(COUNTS, 0)
        self.offset, self._line, self._errors_size = lines.offset, 1, 0
        self.resumed_at = 0
        self._before = 0.0
        if not restart:
            self._resume()
        self._started = time.monotonic()
        self._lines_before = self.counts["lines"]

    def _resume(self) -> None:
        try:
            state = json.loads(self.state_file.read_text("utf-8"))
            file, business = (state["size"], state["mark"]), str(state["business"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadFile(
                f"{self.state_file} can't be read ({type(error).__name__}): remove it, or use --restart"
            ) from None
        if business != self._business:
            raise BadFile(
                f"{self._file} was imported for the business {business} before, as {self.state_file} tells, and not for "
                f"{self._business}: look at --business. If it is meant for {self._business}, use --restart"
            )
        if file != (self.size, self._mark):
            raise BadFile(
                f"{self._file} was changed since the import that {self.state_file} tells of. "
                "Use --restart to import it from the top; nobody is doubled by that"
            )
        if state["done"]:
            return  # a whole import again: from the top
        self.offset, self._line = state["offset"], state["line"]
        self._errors_size = state["errors_size"]
        self.counts |= state["counts"]
        self._before = state["seconds"]
        self.resumed_at = self._line

    @property
    def rate(self) -> float:
        """Customers a second in this run."""
        done = self.counts["lines"] - self._lines_before
        return done / max(time.monotonic() - self._started, 1e-6)

    def summary(self) -> dict[str, Any]:
        """What became of the file, earlier runs over it included."""
        seconds = self._before + time.monotonic() - self._started
        return {**self.counts, "seconds": round(seconds, 3)}

    def work(self, call: Caller, size: int, at_once: int) -> Iterator[None]:
        """Import; yields after each batch that is done. Raises Fault, Unavailable: run it again to go on; BadFile when what is
        noted beside the file can't be written."""
        under_way: deque[_Batch] = deque()
        with self._open_errors() as errors, closing(_Seen()) as seen:
            # What an earlier run did is read once more, for the ids that stand there.
            for _ in self._batches(size, seen, self._top, 1, self.offset):
                pass
            for batch in self._batches(size, seen, self.offset, self._line, self.size):
                batch.call_id = call.send(
                    "portal", "import_customers", business_id=self._business, rows=batch.rows
                )
                under_way.append(batch)
                if len(under_way) >= at_once:
                    self._settle(call, under_way.popleft(), errors)
                    yield
            while under_way:
                self._settle(call, under_way.popleft(), errors)
                yield
            self._save(done=True)

    def _open_errors(self) -> IO[str]:
        try:
            descriptor = os.open(self.errors_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BadFile(
                f"{self.errors_file} can't be written: {error.strerror}; put the file where you may write"
            ) from None
        # What was written after the last state is written again.
        os.ftruncate(descriptor, self._errors_size)
        stream = os.fdopen(descriptor, "r+", encoding="utf-8", newline="")
        stream.seek(0, os.SEEK_END)
        if self._errors_size == 0:
            stream.write("line,error\n")
        return stream

    def _batches(
        self, size: int, seen: _Seen, offset: int, line: int, end: int
    ) -> Iterator[_Batch]:
        """The customers from the byte `offset` on, where `line` ends, up to the byte `end`."""
        with self._file.open("rb") as stream:
            stream.seek(offset)
            lines = _Lines(stream, line)
            batch = _Batch()
            while lines.offset < end:
                at, start = lines.line + 1, lines.offset
                try:
                    row = next(csv.reader(lines, strict=True))
                except StopIteration:
                    break
                except csv.Error as error:
                    said = str(error).partition(" - ")[
                        0
                    ]  # what follows is for whoever writes programs
                    batch.problems.append((at, f"not CSV: {said}"))
                    # An open quote swallows the lines below it: only its own line is bad, go on at the next.
                    lines.skip_one(start, at)
                else:
                    self._take(batch, row, at, seen, too_long=lines.too_long)
                lines.too_long = False
                batch.offset, batch.line = lines.offset, lines.line
                if len(batch.rows) + len(batch.problems) >= size or batch.bytes >= CALL_BYTES:
                    yield batch
                    batch = _Batch()
            if batch.rows or batch.problems:
                yield batch

    def _take(
        self, batch: _Batch, row: list[str], line: int, seen: _Seen, *, too_long: bool
    ) -> None:
        if too_long:
            batch.problems.append((line, f"longer than {LONGEST_LINE} bytes"))
        elif not row or not any(cell.strip() for cell in row):
            return  # an empty line
        elif len(row) != self._width:
            batch.problems.append((line, f"{len(row)} cells, expected {self._width}"))
        elif any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
            batch.problems.append((line, "not UTF-8"))
        elif any(clean(cell) != cell for cell in row):  # 1.0.0 would refuse the batch for it
            batch.problems.append((line, "a control character"))
        else:
            cells = [None if place is None else unguarded(row[place]) for place in self._places]
            batch.rows.append(cells)
            batch.bytes += len(json.dumps(cells))
            batch.lines.append(line)
            external_id = (cells[0] or "").strip()
            if external_id and (before := seen.note(external_id, line)) is not None:
                batch.doubles.append((line, f"external_id as on line {before}: this line counts"))

    def _settle(self, call: Caller, batch: _Batch, errors: IO[str]) -> None:
        with asked_with({"business_id": self._business}):
            answer = read(portal.IMPORT_CUSTOMERS, call.wait(batch.call_id))
        problems = batch.problems + [
            (batch.lines[error.row], error.error) for error in answer.errors
        ]
        csv.writer(errors, lineterminator="\n").writerows(
            (line, guarded(problem)) for line, problem in sorted([*problems, *batch.doubles])
        )
        errors.flush()
        for name in ("created", "updated", "unchanged"):
            self.counts[name] += getattr(answer, name)
        self.counts["errors"] += len(problems)
        self.counts["doubled"] += len(batch.doubles)
        self.counts["lines"] += len(batch.rows) + len(batch.problems)
        self.offset, self._line = batch.offset, batch.line
        self._errors_size = os.fstat(errors.fileno()).st_size
        self._save(done=False)

    def _save(self, *, done: bool) -> None:
        state = {
            "size": self.size,
            "mark": self._mark,
            "business": self._business,
            "offset": self.offset,
            "line": self._line,
            "errors_size": self._errors_size,
            "counts": self.counts,
            "seconds": self.summary()["seconds"],
            "done": done,
        }
        fresh = self.state_file.with_name(self.state_file.name + ".new")
        fresh.write_text(json.dumps(state), "utf-8")
        fresh.replace(self.state_file)
