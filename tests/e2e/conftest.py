"""End-to-end tests: a browser and the wire, never a look inside a process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from examples.host_app import Portico
from local.processes import Embedded, Stack, fetch
from tests.fixtures.story import Story


@pytest.fixture
def story(stack: Stack) -> Iterator[Story]:
    """A business on the distributed system. Customers are this test's own; the system is the module's."""
    told = Story(Portico(stack.amqp_uri, timeout=10), stack.sandbox_url, stack.stripe_api_key)
    yield told
    told.close()


@pytest.fixture
def demo_links(embedded: Embedded) -> dict[str, str]:
    """The links of the demo customers of `make run`, by name, as its terminal shows them."""
    people = json.loads(fetch(f"{embedded.sandbox_url}/sandbox/demo-customers"))
    return {person["name"]: person["link"] for person in people}
