"""Integration tests: real services on a real broker and database, spoken to over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.host_app import Portico
from local.processes import Stack
from local.servers import PostgreSQL
from tests.fixtures.story import Story


@pytest.fixture
def story(stack: Stack) -> Iterator[Story]:
    """A business on the distributed system. Customers are this test's own; the system is the module's."""
    told = Story(Portico(stack.amqp_uri, timeout=10), stack.sandbox_url, stack.stripe_api_key)
    yield told
    told.close()


@pytest.fixture
def rows(stack: Stack, postgres: PostgreSQL) -> Callable[..., list[tuple[Any, ...]]]:
    """`rows(service, statement, values)`: what a service's database holds, seen from outside."""

    def look(service: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with (
            postgres.connection(stack.database_name(service)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall()

    return look
