"""Unit tests touch nothing outside their process: a socket that one opens fails it."""

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket

from tests.unit import tables


@pytest.fixture(scope="session", autouse=True)
def _close_tables() -> Iterator[None]:
    yield
    tables.close()


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
