"""How a command ends that met what it does not know: a defect of Portico's own, a full disk, an output that nobody reads."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import typer

from portico.cli.context import DEFECT, NOT_READ, UNAVAILABLE, CliContext
from portico.cli.output import finish_output, forget_output
from shared.telemetry import redact
from shared.terminal import complain, one_line
from shared.version import VERSION

ROOT: Final = Path(__file__).parents[2]
OURS: Final = ("portico", "services", "shared")
OF_THE_MACHINE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE}
)
"""Errors of files that are nobody's defect: no room, no right to write, too many files open."""


@contextmanager
def ending(app: typer.Typer, desk: CliContext, words: Sequence[str]) -> Iterator[None]:
    """The body is the command; what it raises and nobody foresaw ends the process in one sentence and an exit code.

    With `desk.debug` the trace stands before it, redacted as a log line is. Without it there is no trace, whose last line would
    be a text from outside, and which says nothing to who typed the command.
    """
    try:
        try:
            yield
        finally:
            finish_output()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            forget_output()
            sys.exit(NOT_READ)
        if error.errno not in OF_THE_MACHINE:
            _defect(error, app, desk, words)
        where = f" ({one_line(str(error.filename))})" if error.filename else ""
        _end(UNAVAILABLE, f"{_named(app, words)}: {error.strerror}{where}")
    except Exception as error:
        _defect(error, app, desk, words)


def _defect(error: Exception, app: typer.Typer, desk: CliContext, words: Sequence[str]) -> None:
    if desk.debug:
        complain(redact("".join(traceback.format_exception(error))))
    more = "the trace stands above" if desk.debug else "with --debug it shows the trace, redacted"
    _end(
        DEFECT,
        f"`{_named(app, words)}` has met a defect in Portico {VERSION}, {type(error).__name__} at {place_of(error)}: "
        f"what it did before stays done; please report this ({more})",
    )


def _end(code: int, message: str) -> None:
    with suppress(OSError):  # the same full disk, the same closed pipe
        complain(message)
    forget_output()
    sys.exit(code)


def _named(app: typer.Typer, words: Sequence[str]) -> str:
    """The command without its arguments, which may be somebody's link: `portico events list`."""
    names, commands = ["portico"], typer.main.get_command(app)
    for word in words:
        found = getattr(commands, "commands", {}).get(word)
        if found is not None:
            names.append(word)
            commands = found
    return " ".join(names)


def place_of(error: BaseException) -> str:
    """Where in Portico's code it was raised, or the call that raised it: `portico/commands/explain.py:210`."""
    found = "an unknown place"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in OURS:
            found = f"{path.relative_to(ROOT)}:{frame.lineno}"
    return found
