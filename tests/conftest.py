"""What all tests share. The fixtures live in `tests/fixtures/`, one room a matter.

The pytest process is never patched by eventlet: services always run as processes of their own.
"""

import gc
import os

import pytest
from hypothesis import settings

# What is loaded until the first test stays: looking for garbage among it takes half a second.
gc.disable()

with pytest.MonkeyPatch.context() as environment:
    # As services have it; for their own processes they say so themselves. Its resolver takes half a second to load.
    environment.setenv("EVENTLET_NO_GREENDNS", "yes")
    from eventlet.patcher import already_patched

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.system",
    "tests.fixtures.browser",
    "tests.fixtures.listener",
]


SECONDS = {
    "faults/test_short_run.py": 125,
    "e2e/test_first_hour.py": 75,
    "faults/test_fairness.py": 75,
    "faults/test_moving_databases.py": 75,
    "e2e/test_pages.py": 70,
    "integration/test_cli.py": 65,
    "integration/test_least_privilege.py": 60,
    "e2e/test_stripe_accounts.py": 55,
    "integration/test_at_size.py": 55,
    "integration/test_listening.py": 55,
    "e2e/test_welcomes.py": 50,
    "e2e/test_failed_charge.py": 40,
    "integration/test_account_footprint.py": 40,
    "e2e/test_mails_in_a_browser.py": 35,
    "faults/test_host_api.py": 35,
    "integration/test_portal_door.py": 35,
    "e2e/test_bank_accounts.py": 30,
    "faults/test_rpc_fuzz.py": 30,
    "integration/test_bench.py": 30,
    "integration/test_migrating.py": 30,
    "faults/test_bad_input.py": 25,
    "faults/test_sharing.py": 25,
    "integration/test_plans.py": 25,
    "integration/test_traces.py": 25,
    "integration/test_plans_of_accounts.py": 20,
}
"""What takes twenty seconds and more by itself on two processors, and about how many."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that several workers end at about the same time."""
    seconds = {f"tests/{file}": each for file, each in SECONDS.items()}
    items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0))


def pytest_collection_finish() -> None:
    """In a patched process threads are no threads, and the next test with a server of its own waits indefinitely. From here on garbage is
    looked for, and never among what is loaded, which would be a tenth of the unit tests' time."""
    if already_patched:
        raise pytest.UsageError(
            "a test module patches this process: import nothing that imports shared.nameko_ext.green"
        )
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


# A rule's example takes as long as the machine lets it: a time limit would only test the machine.
settings.register_profile("quick", deadline=None, max_examples=8)
settings.register_profile("whole", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
