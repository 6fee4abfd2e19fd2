"""`python -m portico`, and the console command `portico`."""

import shared.nameko_ext.green  # noqa: F401, I001 (first: databases and Stripe are reached with time limits that need it)

import sys
import traceback

from portico.main import app
from portico.cli.context import FINDING
from shared.terminal import complain


def main() -> None:
    """Run the command that the words name; ends the process with its exit code."""
    try:
        app(prog_name="portico")
    except Exception:  # a defect; what it says may come from outside
        complain(traceback.format_exc())
        sys.exit(FINDING)


if __name__ == "__main__":
    main()
