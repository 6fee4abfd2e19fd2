"""What several contract tests run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.stripe_sandbox import Sandbox, running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandboxed Stripe of the test's own."""
    with running() as sandbox:
        yield sandbox
