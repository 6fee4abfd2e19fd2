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
from shared.messaging.topology import RPC_EXCHANGE
from tests.faults.load import Load, make_visitors
from tests.faults.releases import NoHistory, export, release_before
from tests.faults.system import ProxiedStack, System
from tests.fixtures import least_privilege
from tests.fixtures.least_privilege import LeastPrivilege

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


class UpgradingStack(LeastPrivilege, ProxiedStack):
    """With the manifests' users, which have the rights of both releases until they are narrowed."""

    rights = staticmethod(least_privilege.while_upgrading)

    def start(self) -> None:
        self.prepare()
        super().start()


@pytest.fixture
def system(old: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """The release before, running. Its host applications call on the exchange of the services."""
    folder = own_folder("rolling")
    folder.chmod(0o711)
    made = System(folder, replicas={}, kind=request.param)
    made.stack.code = old
    made.calls_on = RPC_EXCHANGE
    with made:
        made.make_customers()
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("system", [ProxiedStack], indirect=True)
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


@pytest.mark.parametrize("system", [UpgradingStack], indirect=True)
def test_rights_are_narrowed_after_the_upgrade_and_widened_before_the_way_back(
    system: System, old: Path
) -> None:
    """The steps of docs/operations.md: the rights of both releases, the roll, hosts on their own exchange, this release's rights
    alone; then all of it backwards. No request fails."""
    stack = system.stack
    assert isinstance(stack, UpgradingStack)
    theirs = system.calls_on
    with Load(system, make_visitors(system)) as load:
        time.sleep(ALONE)
        stack.code = REPOSITORY
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        system.calls_on = System.calls_on
        time.sleep(ALONE)
        stack.rights = least_privilege.rights  # type: ignore[method-assign]
        stack.add_users()
        load.roll(*SERVICES, beside=ALONE)
        for name, text in stack.logs().items():
            assert "ACCESS_REFUSED" not in text, name
        stack.rights = least_privilege.while_upgrading  # type: ignore[method-assign]
        stack.add_users()
        system.calls_on = theirs
        time.sleep(ALONE)
        stack.code = old
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []
    assert system.fell == []
