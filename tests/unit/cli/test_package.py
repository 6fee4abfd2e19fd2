"""`portico` as a command: which release it says it is, and help at any width."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from shared.version import VERSION
from tests.unit.cli.conftest import Run

REPOSITORY = Path(__file__).parents[3]


def test_the_version_is_one_in_one_place(run: Run) -> None:
    """`--version` says it, and the package takes it from there: pyproject.toml has none of its own."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert run("--version").stdout == f"portico {VERSION}\n"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "shared/version.py"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_is_wrapped_once_at_the_terminals_width(width: int, run: Run) -> None:
    """A paragraph breaks where the terminal ends, and not where it breaks in the source: each line but its last is so full that
    the next word would not fit."""
    shown = run("customers", "export", "--help", env={"COLUMNS": str(width)}).stdout
    text = shown.partition("╭")[0].partition("Usage:")[2].partition("\n")[2]
    stripped = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    paragraphs = [one.splitlines() for one in stripped.split("\n\n")]
    assert len(paragraphs) >= 3
    for lines in paragraphs:
        for line, following in itertools.pairwise(lines):
            assert len(line.rstrip()) <= width
            assert len(line.rstrip()) + 1 + len(following.split()[0]) > width - 3
