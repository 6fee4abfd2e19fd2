"""What a run keeps on disk is for its owner alone: keys, customers, their payments and their mails with links are in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

OTHERS: Final = 0o077
"""The rights of everybody but the owner. As a umask it keeps them from whatever this process and its children make."""


def private_folder(folder: Path) -> Path:
    """Make the folder, and those above it that are missing, for the owner alone. One that is there stays as it is."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file for writing; a new one is for the owner alone."""
    return open(file, mode, opener=lambda path, flags: os.open(path, flags, 0o600))


def tighten(paths: Iterable[Path]) -> None:
    """Take the rights of others from files and folders that an earlier version left open. Those of another user stay."""
    for path in paths:
        found = path.lstat()
        if found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode):
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
