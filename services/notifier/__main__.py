"""`python -m services.notifier [serve|migrate|wait-migrated|prune|preview KIND]`."""

import shared.nameko_ext.green  # noqa: F401, I001 (first: everything after it is cooperative)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from services.notifier.domain.kinds import Kind
from services.notifier.emails.previewing import write_preview
from services.notifier.retention import RULES
from services.notifier.service import NotifierService
from services.notifier.settings import load
from shared.nameko_ext.pruning import prune_command
from shared.nameko_ext.runtime import command_line


def preview(words: Sequence[str]) -> int:
    """Write an email with sample data to files; needs no settings and sends nothing."""
    from shared.terminal import say  # typer: a serving process never needs them

    parser = argparse.ArgumentParser(
        prog="python -m services.notifier preview",
        description="Write KIND.subject.txt, KIND.txt and KIND.html with sample data.",
    )
    parser.add_argument("kind", choices=[kind.value for kind in Kind])
    parser.add_argument("--locale", default="en", help="for example de or pt-BR (default: en)")
    parser.add_argument("--out", type=Path, default=Path("var/preview"), metavar="DIR")
    chosen = parser.parse_args(words)
    for path in write_preview(chosen.kind, chosen.locale, chosen.out):
        say(str(path))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["preview"]:
        sys.exit(preview(sys.argv[2:]))
    sys.exit(command_line(NotifierService, load, {"prune": prune_command("notifier", RULES)}))
