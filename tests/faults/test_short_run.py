"""The short form of `make faults`: the same run, some hundred events, a fixed seed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.servers import own_folder
from tests.faults.plan import make_plan
from tests.faults.run import run

EVENTS, SEED, STEPS = 600, 8, 9


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the run keeps its servers' data."""
    made = own_folder("faults")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_seed_reproduces_the_plan() -> None:
    """Two plans of one seed are equal to the last delivery; another seed gives another one."""
    assert make_plan(500, 3) == make_plan(500, 3)
    assert make_plan(500, 3).steps != make_plan(500, 4).steps


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_doubled_whatever_dies(folder: Path) -> None:
    """Some hundred webhooks while processes and servers are killed and cut off: the books balance."""
    done = run(folder, EVENTS, SEED, steps=STEPS, say=print)
    print(done.table())
    assert done.books.complaints() == []
    assert done.fell == [], "a process ended by itself instead of waiting for what it needs"
    assert done.ledger.forged_accepted == set()
