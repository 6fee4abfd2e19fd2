"""A portal with ten thousand idle connections."""

from __future__ import annotations

import statistics
import time

from examples.host_app import Portico
from tests.faults.crowd import Crowd
from tests.faults.memory import megabytes
from tests.faults.system import System, answers

MANY = 10_000
GONE_SECONDS = 45.0
"""Idle for 15, and time to close them all."""


def a_page(system: System) -> str:
    """The address of a customer's page."""
    with Portico(system.stack.amqp_uri) as portico:
        made = portico.call(
            "portal", "upsert_customer", business_id="faults", external_id="c0",
            name="Customer 0", email="customer0@example.com",
        )  # fmt: skip
        link = portico.call("portal", "link", customer_id=made["customer_id"])
    return str(link["url"])


def page_seconds(page: str) -> float:
    """How long a page takes, the middle one of twenty. Fails when one is not answered."""
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert answers(page)
        took.append(time.monotonic() - began)
    return statistics.median(took)


def test_ten_thousand_idle_connections_cost_little(system: System) -> None:
    """Others are answered as before, memory grows by a bounded piece for each, and a second crowd needs no more."""
    portal, page = system.stack.processes("portal")[0], a_page(system)
    quiet, before = page_seconds(page), megabytes(portal)
    for round_ in range(2):
        with Crowd(portal.port, MANY) as crowd:
            held = crowd.held()
            crowded, seconds = megabytes(portal), page_seconds(page)
            print(
                f"\nround {round_ + 1}: {held} held, {(crowded - before) * 1024 / MANY:.1f} KiB each, "
                f"{seconds * 1000:.1f} ms a page (alone {quiet * 1000:.1f})"
            )
            assert held == MANY
            assert (crowded - before) * 1024 / MANY < 15
            assert seconds < 0.25
            system.wait(lambda crowd=crowd: crowd.held() == 0, GONE_SECONDS)  # type: ignore[misc]
    assert page_seconds(page) < 0.25
    assert system.fell == []
