"""`make lint` checks what an answer is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
MADE = """
from dataclasses import dataclass
from shared.contracts.rpc.base import Answer

class Told(Answer, frozen=True, kw_only=True):
    name: str
    count: int
    why: str | None = None

@dataclass
class Row:
    name: int
    why: str

row = Row(1, "x")
Told.of(row, count=2)
Told.of(row, name="Ann")
Told.of(row, name="Ann", count="2")
Told.of(row, name="Ann", count=2, age=3)
Told.of(row, name="Ann", count=2)
"""


@pytest.mark.whole
def test_a_field_that_a_row_has_not_or_of_another_type_is_found(tmp_path: Path) -> None:
    """As if each were written out: what is missing, what is of another type, what the answer does not have."""
    file = tmp_path / "told.py"
    file.write_text(MADE)
    words = ("--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary")
    found, failed, _ = api.run([*words, "--cache-dir", str(tmp_path), str(file)])
    assert not failed
    assert [line.partition("error: ")[2] for line in found.splitlines()] == [
        "Told: name is int, expected str  [misc]",
        "Told: nothing is given for count  [misc]",
        "Told: count is Literal['2']?, expected int  [misc]",
        "Told has no field age  [misc]",
    ]
