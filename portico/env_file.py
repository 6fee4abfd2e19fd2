"""The env file: settings as NAME=value lines, read alike by `portico --env-file`, systemd's EnvironmentFile and `docker --env-file`."""

from __future__ import annotations

import datetime as dt
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

_MODE: Final = 0o600
_MISREAD: Final = re.compile(r"[\\$\x00-\x1f\x7f]|^[\"']|[\"']$|^\s|\s$|\s[#;]|^[#;]")
"""What one of the readers takes as more than itself: quotes around a value and backslashes (systemd; docker keeps quotes), `$` and ` #`
(docker compose), line ends."""
_UNSAFE_IN_A_SHELL: Final = re.compile(r"[^A-Za-z0-9_@%+=:,./?~-]")


class BadEnvFile(Exception):
    """The env file can't be written as asked; the text says why."""


def read_env_file(path: Path, option: str = "--env-file") -> dict[str, str]:
    """`NAME=value` lines; empty ones and those that begin with # are skipped. Raises typer.BadParameter, which names the option."""
    found = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise typer.BadParameter(f"{path}: {reason}", param_hint=option) from None
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise typer.BadParameter(f"{path}: line {number} is no NAME=value", param_hint=option)
        found[name.strip()] = value.strip().strip("\"'")
    return found


def is_misread(value: str) -> bool:
    """Whether the readers of an env file would not all take this value as it stands."""
    return _MISREAD.search(value) is not None


def is_plain_for_a_shell(values: Mapping[str, str]) -> bool:
    """Whether a shell that reads the lines (`. ./portico.env`) takes these values as they stand, too."""
    return not any(_UNSAFE_IN_A_SHELL.search(value) for value in values.values())


def changed_text(before: str, values: Mapping[str, str]) -> str:
    """The text of an env file with these settings: one that is there in its own line, new ones at the end; all else stays."""
    left = dict(values)
    lines = []
    for line in before.splitlines():
        name = line.strip().removeprefix("export ").partition("=")[0].strip()
        if name in values and not line.lstrip().startswith("#"):
            if name in left:  # doubled, the last would count: what is asked for does
                lines.append(f"{name}={left.pop(name)}")
        else:
            lines.append(line)
    lines += [f"{name}={value}" for name, value in left.items()]
    return "".join(f"{line}\n" for line in lines)


def must_be_writable(file: Path) -> None:
    """Raise BadEnvFile where a file could not be made or replaced in its folder: before anybody has typed anything."""
    folder = file.parent
    if not folder.is_dir():
        raise BadEnvFile(f"{folder} is no folder: make it first")
    if file.is_dir():
        raise BadEnvFile(f"{file} is a folder: name a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadEnvFile(f"{folder}: nothing can be written there")


def write_new(file: Path, text: str) -> None:
    """Make the file, for its owner alone, whole or not at all. Raises BadEnvFile if there is one by now."""
    made = _beside(file, text)
    try:
        os.link(
            made, file
        )  # unlike a move, it never replaces what somebody else has made meanwhile
    except FileExistsError:
        raise BadEnvFile(f"{file} is there by now, and stays as it is") from None
    finally:
        made.unlink()


def replace(file: Path, text: str) -> None:
    """Put `text` in the place of the file, whole or not at all, for its owner alone."""
    _beside(file, text).replace(file.resolve())  # where it is a link, that goes on leading there


def keep_copy(file: Path, now: dt.datetime) -> Path:
    """Keep what the file holds now in one beside it, for its owner alone; returns that one's path."""
    kept = file.with_name(f"{file.name}.{now:%Y%m%dT%H%M%SZ}")
    _beside(file, file.read_text("utf-8")).replace(kept)
    return kept


def _beside(file: Path, text: str) -> Path:
    """A new file in the same folder, written through to the disk."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.resolve().parent)
    made = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), _MODE)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        made.unlink()
        raise
    return made
