"""One run holds its folder of data, and says where things are as a person would write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.folder import make_folder, only_one, shown
from local.ports import CannotStart


def test_a_folder_is_one_runs_at_a_time(tmp_path: Path) -> None:
    """A second run would write into the same databases: it is refused, and told how to have a folder of its own. Afterwards it is free."""
    with (
        only_one(tmp_path, "make run"),
        pytest.raises(CannotStart, match="PORTICO_VAR=/tmp/second make run"),
        only_one(tmp_path, "make run"),
    ):
        pass
    with only_one(tmp_path, "make run"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """With the name of the setting, and no traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="PORTICO_VAR"):
        make_folder(tmp_path / "file" / "var")


def test_a_path_is_shown_as_it_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the working directory it is relative; elsewhere it is whole, not a climb out of it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown(tmp_path / "here" / "var") == "var"
    assert shown(tmp_path / "else" / "var") == str(tmp_path / "else" / "var")
