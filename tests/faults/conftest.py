"""One system for the tests of a module: a process a service, proxies between them and their servers."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator

import pytest

from local.servers import PostgreSQL, own_folder
from tests.faults.poster import Poster
from tests.faults.system import Servers, System

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Callable[[], Servers]:
    """Call for another place on the run's servers, which the first call starts."""
    names = ("rabbitmq", "postgres", "migrated")
    return lambda: Servers(*map(request.getfixturevalue, names), f"faults-{next(_numbers)}")


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest,
    servers: Callable[[], Servers],
    with_templates: Callable[[PostgreSQL], None],
) -> Iterator[System]:
    """One process a service, with nothing wrong but what the tests do, and as many customers and with such settings as the module says.
    A module that does something to RabbitMQ or PostgreSQL says OWN_SERVERS; the others use the run's."""
    folder = own_folder("faults")
    folder.chmod(0o711)
    settings = getattr(request.module, "SETTINGS", None)
    place = None if getattr(request.module, "OWN_SERVERS", False) else servers()
    with System(
        folder, replicas={}, settings=settings, servers=place, with_templates=with_templates
    ) as made:
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
