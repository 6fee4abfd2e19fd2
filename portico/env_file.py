"""The env file: settings as NAME=value lines, read alike by `portico --env-file`, systemd's EnvironmentFile and `docker --env-file`."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer

_MODE: Final = 0o600
_MISREAD: Final = re.compile(
    r"[\\$\x00-\x1f\x7f\x85\u2028\u2029]|^[\"']|[\"']$|^\s|\s$|\s[#;]|^[#;]"
)
"""What one of the readers takes as more than itself: quotes around a value and backslashes (systemd; docker keeps quotes), `$` and ` #`
(docker compose), line ends."""
_UNSAFE_IN_A_SHELL: Final = re.compile(r"[^A-Za-z0-9_@%+=:,./?~-]")


class BadEnvFile(Exception):
    """The env file can't be written as asked; the text says why."""


def read_env_file(path: Path, option: str = "--env-file") -> dict[str, str]:
    """`NAME=value` lines; empty ones and those that begin with # are skipped. Raises typer.BadParameter, which names the option."""
    found = {}
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise typer.BadParameter(f"{path}: {reason}", param_hint=option) from None
    if text.startswith("\ufeff"):
        raise typer.BadParameter(
            f"{path} begins with a byte order mark, which others who read it take for a part of the first name: save it without",
            param_hint=option,
        )
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, value = _setting(line)
        if value is None or not name.isidentifier():
            raise typer.BadParameter(f"{path}: line {number} is no NAME=value", param_hint=option)
        found[name] = value
    return found


def text_of(path: Path) -> str:
    """What stands in the file, its line ends among it."""
    return path.read_bytes().decode("utf-8")


def _setting(line: str) -> tuple[str, str | None]:
    """A line's name and value, without the pair of quotes around it; None where there is no =."""
    name, equals, value = line.strip().removeprefix("export ").partition("=")
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return name.strip(), value if equals else None


def is_misread(value: str) -> bool:
    """Whether the readers of an env file would not all take this value as it stands."""
    return _MISREAD.search(value) is not None


def is_plain_for_a_shell(values: Mapping[str, str]) -> bool:
    """Whether a shell that reads the lines (`. ./portico.env`) takes these values as they stand, too."""
    return not any(_UNSAFE_IN_A_SHELL.search(value) for value in values.values())


def changed_text(before: str, values: Mapping[str, str]) -> str:
    """The text of an env file with these settings: one that is there in its own line, new ones at the end; all else stays, to the
    letter, and so does the line of a setting that has this value already."""
    lines, there = [], before.removesuffix("\n").split("\n") if before else []
    found = dict(_setting(line) for line in there if not line.lstrip().startswith("#"))
    changed = {name: value for name, value in values.items() if found.get(name) != value}
    left = dict(changed)
    for line in there:
        name, _ = _setting(line)
        if name in changed and not line.lstrip().startswith("#"):
            if name in left:  # doubled, the last would count: what is asked for does
                lines.append(f"{name}={left.pop(name)}")
        else:
            lines.append(line)
    lines += [f"{name}={value}" for name, value in left.items()]
    return "".join(f"{line}\n" for line in lines)


def must_be_writable(file: Path) -> None:
    """Raise BadEnvFile where a file could not be made or replaced in its folder, with the owner and group that it has: before anybody
    has typed anything."""
    file = _real(file)
    folder = file.parent
    if not folder.is_dir():
        raise BadEnvFile(f"{folder} is not a folder: make it first")
    if file.is_dir():
        raise BadEnvFile(f"{file} is a folder: name a file")
    with _named_errors(file):
        _beside(file, "", like=_owner(file)).unlink()


def write_new(file: Path, text: str) -> None:
    """Make the file, for its owner alone, whole or not at all. Raises BadEnvFile if there is one by now, or it can't be written."""
    with _named_errors(file):
        made = _beside(file, text)
        try:
            os.link(
                made, file
            )  # unlike a move, it never replaces what somebody else has made meanwhile
        except FileExistsError:
            raise BadEnvFile(f"{file} is there by now, and stays as it is") from None
        except OSError:  # a file system without links: exFAT, CIFS
            _write_only_new(file, text)
        finally:
            made.unlink()


def _write_only_new(file: Path, text: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        raise BadEnvFile(f"{file} is there by now, and stays as it is") from None
    _fill(descriptor, file, text, None)


def replace(file: Path, text: str) -> None:
    """Put `text` in the place of the file, whole or not at all. Owner and group stay, and so does the group's right to read it; nobody
    else may. Raises BadEnvFile where it can't be written."""
    file = _real(file)  # where it is a link, that goes on leading there
    with _named_errors(file):
        _put(_beside(file, text, like=_owner(file)), file)


def keep_copy(file: Path, now: dt.datetime) -> Path:
    """Keep what the file holds now in one beside it, for its owner alone; returns that one's path. Raises BadEnvFile where it can't be
    written."""
    file = _real(file)
    kept = file.with_name(f"{file.name}.{now:%Y%m%dT%H%M%SZ}")
    with _named_errors(kept):
        _put(_beside(file, text_of(file)), kept)
    return kept


def _real(file: Path) -> Path:
    """The file itself, where the path is a link: what is made beside it is in the same file system."""
    try:
        return file.resolve() if file.is_symlink() else file
    except (OSError, RuntimeError):  # a circle of links
        raise BadEnvFile(f"{file} is a link that leads nowhere: name a file") from None


def _owner(file: Path) -> os.stat_result | None:
    return file.stat() if file.exists() else None


@contextmanager
def _named_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadEnvFile(
            f"{file} can't be written: {reason}; look at the disk, and at who may write there"
        ) from None


def _put(made: Path, file: Path) -> None:
    try:
        made.replace(file)
    except BaseException:
        made.unlink()
        raise


def _beside(file: Path, text: str, like: os.stat_result | None = None) -> Path:
    """A new file in the same folder, written through to the disk; with the owner, group and group's right to read of `like`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    _fill(descriptor, Path(name), text, like)
    return Path(name)


def _fill(descriptor: int, made: Path, text: str, like: os.stat_result | None) -> None:
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            if like is not None:
                own = os.fstat(descriptor)
                if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                    os.fchown(descriptor, like.st_uid, like.st_gid)
            group = like.st_mode & stat.S_IRGRP if like else 0
            os.fchmod(descriptor, _MODE | group)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        made.unlink()
        raise
