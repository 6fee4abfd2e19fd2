"""Webhooks to hosts on PostgreSQL: what the unit tests show of one database holds on the other, with several senders at once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.notifier.domain.hooks import answered
from services.notifier.handlers import hooks
from services.notifier.models import HookAttempt, HookDelivery, HookEvent
from services.notifier.queries import erasure
from services.notifier.workflows import hooks as sending
from shared.database import Transactions, make_engine
from tests.unit import accounts
from tests.unit.notifier.conftest import failed, paid
from tests.unit.notifier.hooks_world import CUSTOMER, World


@pytest.fixture
def world(database: Callable[[str], str]) -> Iterator[World]:
    engine = make_engine(database("notifier"))
    accounts.watch(engine)
    yield World(Transactions(engine))
    engine.dispose()


def test_senders_share_deliveries_and_lose_none(world: World) -> None:
    """Eight tellers and senders at once, at hosts that fail a third of the time: each event once a lease, and all arrive."""
    dice = random.Random(1)
    world.hosts.answer = lambda target: answered(200 if dice.random() < 0.66 else 500, 3)
    for host in ("a", "b", "c"):
        world.endpoint(host)
    world.hear(*(failed(invoice_id=f"in_{number}") for number in range(40)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: world.tell(), range(8)))
        assert len(world.rows(HookDelivery)) == 120
        for _ in range(200):
            leases = [one for some in pool.map(lambda _: sending.lease(world.desk, 4, {}), range(8)) for one in some]  # fmt: skip
            names = [(one.endpoint_id, one.event.hook_event_id) for one in leases]
            assert len(names) == len(set(names))
            list(pool.map(lambda one: sending.send_one(world.desk, one), leases))
            world.clock.forward(minutes=10)
            if all(one.status != "pending" for one in world.rows(HookDelivery)):
                break
    assert Counter(one.status for one in world.rows(HookDelivery)) == {"delivered": 120}
    for got in world.hosts.got.values():
        assert len({one["id"] for one in got}) == 40


def test_what_was_missed_is_replayed_and_what_is_erased_is_gone(world: World) -> None:
    """The statements that both databases write differently."""
    endpoint = world.endpoint("a", "sunrise", "invoice.paid")
    world.on(endpoint, lambda s, row: setattr(row, "enabled", False))
    world.hear(paid(), failed())
    world.tell()
    assert world.rows(HookDelivery) == []
    world.on(endpoint, lambda s, row: setattr(row, "enabled", True))
    sent = world.on(
        endpoint,
        lambda s, row: hooks.replay(
            s,
            row,
            event_id=None,
            since=world.clock(),
            until=None,
            failed_only=True,
            now=world.clock(),
        ),
    )
    assert sent.count == 1
    assert world.work() == ["delivered"]
    with world.db.transaction() as session:
        assert erasure.erase_customer(session, CUSTOMER, None) >= 4
    for model in (HookEvent, HookDelivery, HookAttempt):
        assert world.rows(model) == []
