"""What all tests share. The fixtures live in `tests/fixtures/`, one room a matter.

The pytest process is never patched by eventlet: services always run as processes of their own.
"""

import os

import pytest
from eventlet.patcher import already_patched
from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.system",
    "tests.fixtures.browser",
    "tests.fixtures.listener",
]


def pytest_configure(config: pytest.Config) -> None:
    """nameko's plugin, which comes with the package, imports eventlet and warns that nobody patched with it."""
    config.pluginmanager.unregister(name="pytest_nameko")


LONGEST = (
    "faults/test_short_run.py",
    "faults/test_fairness.py",
    "faults/test_moving_databases.py",
    "faults/test_accounts.py",
    "integration/test_listening.py",
    "integration/test_least_privilege.py",
    "integration/test_at_size.py",
    "integration/test_portal_door.py",
    "e2e/test_welcomes.py",
    "faults/test_sharing.py",
    "faults/test_host_api.py",
    "faults/test_rpc_fuzz.py",
)
"""What takes half a minute and more by itself, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that several workers end at about the same time."""
    places = {f"tests/{file}": place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """In a patched process threads are no threads, and the next test with a server of its own waits indefinitely."""
    if already_patched:
        raise pytest.UsageError(
            "a test module patches this process: import nothing that imports shared.nameko_ext.green"
        )


# A rule's example takes as long as the machine lets it: a time limit would only test the machine.
settings.register_profile("quick", deadline=None, max_examples=8)
settings.register_profile("whole", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
