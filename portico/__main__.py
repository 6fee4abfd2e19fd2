"""`python -m portico`, and the console command `portico`."""

import signal
import sys


def main() -> None:
    """Run the command that the words name; ends the process with its exit code (the table in docs/cli.md)."""
    try:
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
