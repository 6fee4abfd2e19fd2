"""One system for the tests of a module: a process a service, servers of its own, proxies between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from local.servers import own_folder
from tests.faults.poster import Poster
from tests.faults.system import System


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """One process a service, with nothing wrong but what the tests do, and as many customers and with such settings as the module says."""
    folder = own_folder("faults")
    folder.chmod(0o711)
    settings = getattr(request.module, "SETTINGS", None)
    with System(folder, replicas={}, settings=settings) as made:
        made.make_customers(getattr(request.module, "CUSTOMERS", 1))
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def poster(system: System) -> Iterator[Poster]:
    """Stripe's side, towards the one billing."""
    made = Poster(
        [process.port for process in system.stack.processes("billing")],
        system.stack.webhook_secret,
    )
    yield made
    made.close()
