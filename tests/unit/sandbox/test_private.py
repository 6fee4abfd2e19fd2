"""What the sandbox writes is for its owner alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.embedded import data_folder
from sandbox.keys import own_secrets
from sandbox.private import open_private, private_folder, tighten


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """A umask that keeps nobody from anything."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_new_folders_and_files_are_the_owners_whatever_the_umask(tmp_path: Path) -> None:
    """All folders that were missing, and the file, from the moment they exist."""
    folder = private_folder(tmp_path / "a" / "b")
    with open_private(folder / "file", "w") as stream:
        stream.write("secret")
    assert [rights(one) for one in (tmp_path / "a", folder, folder / "file")] == [
        0o700,
        0o700,
        0o600,
    ]


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    """Rights of others go, the owner's stay; a link's target is not touched, nor is a folder that somebody chose."""
    var, other = tmp_path / "var", tmp_path / "other"
    var.mkdir(mode=0o755)
    other.touch(mode=0o644)
    for name in ("portal.sqlite3", "portal.sqlite3-wal", "secrets.json", "portico.log", "else"):
        (var / name).touch(mode=0o644)
    (var / "old.sqlite3").symlink_to(other)
    (var / "secrets.json").write_text("{}")
    data_folder({"PORTICO_VAR": str(var)})
    assert rights(var / "portal.sqlite3") == rights(var / "portal.sqlite3-wal") == 0o600
    assert rights(var / "secrets.json") == rights(var / "portico.log") == 0o600
    assert rights(other) == rights(var / "else") == 0o644
    assert rights(var) == 0o755
    tighten([var])
    assert rights(var) == 0o700


@pytest.mark.parametrize("environ", [{}, {"PORTICO_VAR": ""}])
def test_the_default_folder_is_closed(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`var` of the repository is ours, also when `make sbom` made it first; a variable that is empty names no other, least of all this one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir(mode=0o755)
    assert data_folder(environ) == tmp_path / "var"
    assert rights(tmp_path / "var") == 0o700


def test_a_folder_of_an_earlier_version_gets_the_secrets_that_it_lacks(tmp_path: Path) -> None:
    """Keys that are there stay, so that links outlive an upgrade; new ones are made once, in a file for the owner alone."""
    first = own_secrets(tmp_path)
    assert own_secrets(tmp_path) == first
    assert rights(tmp_path / "secrets.json") == 0o600
    (tmp_path / "secrets.json").write_text(json.dumps({"PORTAL_LINK_KEYS": "kept"}))
    second = own_secrets(tmp_path)
    assert second["PORTAL_LINK_KEYS"] == "kept"
    assert second.keys() == first.keys()
    assert own_secrets(tmp_path) == second
