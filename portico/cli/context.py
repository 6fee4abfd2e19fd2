"""What every command gets: the environment and a way to call the services; and the exit codes they share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from portico.cli.faults import worded
from portico.cli.findings import Finding
from portico.cli.output import forget_output
from portico.cli.rpc import TIMEOUT_SECONDS, Caller, Fault, RpcCaller, Shape, Unavailable, ask
from shared.contracts.rpc.base import Method
from shared.settings import Reader, SettingsError
from shared.terminal import complain, one_line, printable

OK: Final = 0
FINDING: Final = 1
"""The answer is bad news: something was found, or is not there."""
USAGE: Final = 2
"""Wrong words or wrong settings; nothing was done."""
UNAVAILABLE: Final = 3
"""Something does not answer; the same command may work later."""
DEFECT: Final = 70
"""A defect of Portico's own (EX_SOFTWARE of sysexits.h)."""
NOT_READ: Final = 128 + signal.SIGPIPE
"""Nobody reads the output any more (`portico … | head`): what other programs end with, whom the signal ends."""

EXIT_OF_FAULT: Final = {
    "InvalidArgument": USAGE,
    "InternalError": UNAVAILABLE,
    "StripeUnavailable": UNAVAILABLE,
    "TemporarilyUnavailable": UNAVAILABLE,
    "MethodNotFound": UNAVAILABLE,
}


def exit_of(error: str) -> int:
    """The exit code that an error of a service has, by the name that crosses the wire."""
    return EXIT_OF_FAULT.get(error, FINDING)


class Stop(Exception):
    """Ends a command with a message on standard error and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def connect(environ: Mapping[str, str], timeout: float) -> RpcCaller:
    """A caller on the broker that AMQP_URI (or AMQP_URI_FILE) names. Raises SettingsError."""
    reader = Reader(environ)
    uri = reader.amqp_uri()
    reader.done()
    return RpcCaller(uri.reveal(), timeout)


@dataclass
class CliContext:
    """The surroundings of a command; tests bring their own."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    make_caller: Callable[[Mapping[str, str], float], Any] = connect
    debug: bool = False
    """Show the trace of a defect."""
    at_terminal: Callable[[], bool] = lambda: sys.stdin.isatty()
    """Whether a person can be asked."""
    look: Callable[[str, Mapping[str, str]], Iterable[Finding]] | None = None
    """How `portico init` looks at an answer; None: as `portico.checks.answers` does."""

    @contextmanager
    def calling(self, timeout: float = TIMEOUT_SECONDS) -> Iterator[Caller]:
        """A caller for the body. Raises SettingsError."""
        with self.make_caller(self.environ, timeout) as caller:
            yield cast(Caller, caller)


def context_of(ctx: typer.Context) -> CliContext:
    """What the command line was given, else one on the process's environment."""
    found = ctx.find_object(CliContext)
    return found if found is not None else CliContext()


def ask_once(ctx: typer.Context, method: Method[Shape], **arguments: Any) -> Shape:
    """Call a method, and read its answer, for a command that calls nothing else. Raises SettingsError, Fault, Unavailable."""
    with context_of(ctx).calling() as call:
        return ask(call, method, **arguments)


class PorticoGroup(TyperGroup):
    """Turns what may go wrong into one line on standard error and an exit code."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _readers(), _printable_usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _readers(), _printable_usage_errors():
                return super().invoke(ctx)
        except Stop as stop:
            _fail(stop.code, str(stop))
        except SettingsError as error:
            _fail(USAGE, _of_command(str(error)))
        except Unavailable as error:
            _fail(UNAVAILABLE, one_line(str(error)))
        except Fault as fault:
            _fail(exit_of(fault.error), one_line(worded(fault)))


def _of_command(trouble: str) -> str:
    """What a service would say of its settings, as a command says it: it may read them from a file, too."""
    return trouble.replace("Portico can't start", "This command can't run").replace(
        "Set them in the environment;",
        "Set them in the environment, or name their file with portico --env-file;",
    )


@contextmanager
def _readers() -> Iterator[None]:
    """Typer and rich end a command with 1 when nobody reads what they write. Connections that break are told where they do
    (`BROKER_ERRORS`)."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        forget_output()
        raise typer.Exit(NOT_READ) from None


@contextmanager
def _printable_usage_errors() -> Iterator[None]:
    """Typer prints usage errors itself, with the texts (of a file's header, say) that stand in them."""
    try:
        yield
    except TyperException as error:
        if hasattr(error, "message"):
            error.message = printable(error.message.removeprefix("Value error, "))
        if type(error).__name__ == "NoArgsIsHelpError":  # Typer has no public name for it
            error.exit_code = OK  # who names no command asks what there is: nothing is wrong
        raise


def _fail(code: int, message: str) -> None:
    complain(message)
    raise typer.Exit(code)
