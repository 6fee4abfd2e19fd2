"""Fixtures of the tests of `shared`."""

from collections.abc import Iterator

import pytest

from tests.fixtures.spans import Spans, recorded


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Tracing is on for this test; the spans that have ended."""
    with recorded() as ended:
        yield ended
