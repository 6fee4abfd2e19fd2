"""An old and a new version side by side, there and back, under load. `ROLL_FROM` names the commit to upgrade from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.processes import SERVICES
from sandbox.python_process import REPOSITORY
from sandbox.servers import own_folder
from tests.faults.load import Load, make_visitors
from tests.faults.releases import NoHistory, export, release_before
from tests.faults.system import System

SIDE_BY_SIDE = 8.0
ALONE = 4.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The code of the release before."""
    try:
        commit = release_before()
    except NoHistory as reason:
        pytest.skip(str(reason))
    print(f"\nupgrading from {commit[:12]}")
    return export(commit, tmp_path / "old")


@pytest.fixture
def system(old: Path) -> Iterator[System]:
    """The release before, running."""
    folder = own_folder("rolling")
    folder.chmod(0o711)
    made = System(folder, replicas={})
    made.stack.code = old
    with made:
        made.make_customers()
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def test_rolling_to_this_version_and_back_loses_nothing(system: System, old: Path) -> None:
    """As docs/operations.md has it: migrate under the old version, new beside old, old ends; and all the way back."""
    stack = system.stack
    with Load(system, make_visitors(system)) as load:
        time.sleep(ALONE)
        stack.code = REPOSITORY
        stack.migrate()
        time.sleep(ALONE)
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
        stack.code = old
        waited = [stack.command(service, "wait-migrated") for service in SERVICES]
        assert [one.wait(60) for one in waited] == [0, 0, 0], "old code refuses the newer schema"
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []
    assert books.doubled_after_lost_answer == []
    assert system.fell == []
