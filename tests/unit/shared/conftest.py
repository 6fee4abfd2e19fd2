"""Fixtures of the tests of `shared`."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.fixtures.spans import Spans, recorded


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Tracing is on for this test; the spans that have ended."""
    with recorded() as ended:
        yield ended


class Seconds:
    """A monotonic clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command configures the logging of its whole process: here it is others' too."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**config)
    root.handlers[:] = handlers
    root.setLevel(level)
