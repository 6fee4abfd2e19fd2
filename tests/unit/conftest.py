"""Unit tests touch nothing outside their process: a socket that one opens fails it."""

from collections.abc import Iterator

import pytest
import structlog
from pytest_socket import disable_socket, enable_socket

from tests.unit import tables


def pytest_configure() -> None:
    """What nobody configured prints tracebacks with the locals of every frame, drawn at a cost of seconds."""
    plain = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session", autouse=True)
def _close_tables() -> Iterator[None]:
    yield
    tables.close()


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
