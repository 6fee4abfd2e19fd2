"""Where a defect showed itself."""

from __future__ import annotations

import json
import re

import pytest

from portico.cli.durations import since
from portico.cli.ending import place_of


def test_a_defect_is_placed_in_our_code() -> None:
    """The last line of Portico's that the error came through; what never came through one has none."""
    with pytest.raises(TypeError) as ours:
        since("3d", None)  # type: ignore[arg-type]
    assert re.fullmatch(r"portico/cli/durations\.py:\d+", place_of(ours.value))
    with pytest.raises(json.JSONDecodeError) as others:
        json.loads("no JSON")
    assert place_of(others.value) == "an unknown place"
