"""`python -m portico`, and the console command `portico`."""

from __future__ import annotations

import signal
import sys

AGAIN_SECONDS = 0.01


def hear_every_interrupt() -> None:
    """Have a Ctrl-C end the command whenever it comes. Where nobody could catch it, in a callback of Python's own imports for one, Python
    only prints and forgets it, and the command would go on waiting for a broker: there it comes again a moment later."""

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            sys.__unraisablehook__(unraisable)

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = again


def main() -> None:
    """Run the command that the words name; ends the process with its exit code (the table in docs/cli.md)."""
    try:
        hear_every_interrupt()
        # First of all: databases and Stripe are reached with time limits that need it.
        import shared.nameko_ext.green  # noqa: F401
        from portico.cli.context import CliContext
        from portico.cli.ending import ending
        from portico.main import app

        desk = CliContext()
        with ending(app, desk, sys.argv[1:]):
            app(prog_name="portico", obj=desk)
    except KeyboardInterrupt:  # while it was still loading, or already ending
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
