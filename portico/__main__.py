"""`python -m portico`, and the console command `portico`."""

import shared.green  # noqa: F401, I001 (first: databases and Stripe are reached with time limits that need it)

from portico.main import app


def main() -> None:
    """Run the command that the words name; ends the process with its exit code."""
    app(prog_name="portico")


if __name__ == "__main__":
    main()
