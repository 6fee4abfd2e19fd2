"""The points at which a process is made to die are functions that are there: one that was renamed would prove nothing."""

from __future__ import annotations

import importlib
from functools import reduce

import pytest

from tests.faults.points import POINTS, RECOVERY_POINTS


@pytest.mark.parametrize("name", [*POINTS, *RECOVERY_POINTS])
def test_a_point_is_a_function_of_its_service(name: str) -> None:
    """Its module can be imported, and has the function by that name."""
    point = (POINTS | RECOVERY_POINTS)[name]
    owner = importlib.import_module(point.module)
    assert callable(reduce(getattr, point.function.split("."), owner))
