"""`python -m tests.faults.fuzz --messages 100000 --requests 100000 --seed 1`; exit code 1 when something was found."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from local.servers import own_folder
from tests.faults.fuzz.run import Fuzz, started_system


def main(words: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first message and request"
    )
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    chosen = parser.parse_args(words)
    folder = chosen.keep or own_folder("fuzz")
    try:
        with started_system(folder) as (system, sender):
            found = Fuzz(
                system,
                sender,
                messages=chosen.messages,
                requests=chosen.requests,
                seed=chosen.seed,
                first=chosen.first,
            ).run()
    finally:
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{found.table()}\n{found.verdict()}")
    return bool(found.complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
