"""The release before this one, out of the repository's own history."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.fixtures.servers import REPOSITORY

CONTRACT = (
    ":(glob)services/*/migrations/versions/*",
    "shared/events.py",
    "shared/messaging/topology.py",
)
"""What two versions side by side have to agree on."""


class NoHistory(Exception):
    """This copy of the repository holds no earlier version; the text says why."""


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", REPOSITORY, *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def release_before() -> str:
    """The commit to upgrade from: `ROLL_FROM`, else the last tag before HEAD, else the last commit whose schema or
    messages were different. Raises NoHistory."""
    if not _git("rev-parse", "HEAD"):
        raise NoHistory("this is no clone: there is no history to upgrade from")
    named = os.environ.get("ROLL_FROM")
    wanted = named or _git("describe", "--tags", "--abbrev=0", "HEAD~1")
    if not wanted:
        changed = _git("log", "-1", "--format=%H", "--", *CONTRACT)
        wanted = f"{changed}~1"
    commit = _git("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    if commit:
        return commit
    shallow = _git("rev-parse", "--is-shallow-repository") == "true"
    if shallow and not named:
        raise NoHistory(
            "this clone is shallow: `git fetch --unshallow` brings what to upgrade from"
        )
    if _git("rev-list", "--count", "HEAD") == "1":
        raise NoHistory("this repository has one commit alone: there is nothing to upgrade from")
    raise AssertionError(f"{wanted} is not a commit of this repository")


def export(commit: str, folder: Path) -> Path:
    """The services' code of a commit, in `folder`."""
    return unpack(commit, folder, "services", "shared")


def unpack(commit: str, folder: Path, *parts: str) -> Path:
    """Parts of the repository as they were at a commit, in `folder`."""
    packed = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", commit, *parts], capture_output=True, check=True
    ).stdout
    # Python 3.11.2, Debian's, knows no filters yet, and newer ones warn without.
    safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, **safely)
    return folder
