"""The folder of data of a run on this machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from local.ports import CannotStart
from sandbox.private import open_private, private_folder


def shown(path: Path) -> str:
    """A path as a person would write it from here: relative where it is below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def make_folder(folder: Path) -> None:
    """Make it, for the owner alone, where it is not there. Raises CannotStart."""
    try:
        private_folder(folder)
    except OSError as error:
        raise CannotStart(f"can't make the folder for data, PORTICO_VAR: {error}") from None


@contextlib.contextmanager
def only_one(folder: Path, command: str) -> Iterator[None]:
    """Hold the folder, which is there, for this process; raises CannotStart when another one has it."""
    with open_private(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"another `{command}` runs on {shown(folder)}; stop it first, "
                f"or give this one a folder of its own: PORTICO_VAR=/tmp/second {command}"
            ) from None
        yield
