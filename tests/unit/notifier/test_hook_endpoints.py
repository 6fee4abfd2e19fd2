"""Endpoints of hosts: switched off and on, tried, replayed, rotated, forgotten; and what of them people and the doctor see."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from portico.checks.notifier import check_hooks
from portico.cli.findings import Level
from services.notifier.domain.hook_addresses import Target
from services.notifier.domain.hook_signing import SIGNING_BEFORE, Signer
from services.notifier.domain.hooks import Answered, answered
from services.notifier.handlers import hooks
from services.notifier.models import (
    Base,
    HookAttempt,
    HookDelivery,
    HookEndpoint,
    HookEvent,
    OutboxEvent,
)
from services.notifier.queries import erasure, hook_deliveries, hook_endpoints
from services.notifier.retention import RULES
from shared.contracts.rpc.errors import InvalidArgument, NotFound
from shared.retention import prune_batch
from tests.unit import tables
from tests.unit.notifier.conftest import failed, paid
from tests.unit.notifier.hooks_world import (
    CUSTOMER,
    World,
    enable,
    replay,
)


@pytest.fixture
def world() -> World:
    return World(tables.empty(Base.metadata))


@pytest.mark.whole
def test_410_switches_off_at_once_and_is_told(world: World) -> None:
    """One event on the exchange, and by the other endpoints; what is missed meanwhile can be replayed."""
    endpoint = world.endpoint("gone", "sunrise")
    world.endpoint("all")
    world.hosts.answer = lambda target: answered(410 if "gone" in target.host else 200, 3)
    world.hear(failed())
    world.tell()
    world.work()
    with world.db.reading() as session:
        row = hooks.find(session, endpoint, None)
        assert (row.enabled, row.disabled_because) == (False, "gone")
        assert hook_endpoints.that_are_off(session) == 1
    assert [one.type for one in world.rows(OutboxEvent)] == ["webhook_endpoint.disabled"]
    world.hear(paid())
    world.tell()
    world.work()
    told = [one["type"] for one in world.hosts.got["all.example.com"]]
    assert sorted(told) == ["invoice.paid", "invoice.payment_failed", "webhook_endpoint.disabled"]
    assert "gone.example.com" not in world.hosts.got
    world.hosts.answer = lambda target: answered(200, 3)
    with pytest.raises(InvalidArgument, match="enable it first"):
        world.on(endpoint, lambda s, row: replay(s, row, world))
    enable(world, endpoint)
    assert world.on(endpoint, lambda s, row: replay(s, row, world)).count == 3
    while world.work():
        pass
    missed = {one["type"] for one in world.hosts.got["gone.example.com"]}
    assert missed == {"invoice.paid", "invoice.payment_failed", "webhook_endpoint.disabled"}


@pytest.mark.whole
@pytest.mark.parametrize("status", [410, 500])
def test_what_the_address_of_before_answers_is_not_the_new_ones(world: World, status: int) -> None:
    """A host moves and switches the old place off, while a request is still on its way there."""
    endpoint = world.endpoint("old", "sunrise")
    world.hear(failed())
    world.tell()

    def move(target: Target) -> Answered:
        if "old" not in target.host:
            return answered(200, 3)
        world.on(
            endpoint,
            lambda session, row: hooks.change(
                session, world.rules, row, url="https://new.example.com/in", event_types=None, enabled=None, now=world.clock()
            ),
        )  # fmt: skip
        return answered(status, 3, dt.timedelta(hours=12))

    world.hosts.answer = move
    assert world.work() == ["retried"]
    row = world.row(HookEndpoint)
    assert (row.enabled, row.failures, row.failing_since, row.paused_until) == (True, 0, None, None)
    world.clock.forward(minutes=1)
    assert world.work() == ["delivered"]
    assert len(world.hosts.got["new.example.com"]) == 1
    assert [one.status for one in world.rows(HookAttempt)] == [status, 200]


@pytest.mark.whole
def test_after_five_days_of_failures_an_endpoint_is_off(world: World) -> None:
    """Not after one bad day; a success in between begins anew."""
    world.endpoint()
    world.hosts.answer = lambda target: answered(503, 3)
    for _ in range(4):
        world.hear(failed())
        world.tell()
        world.work()
        world.clock.forward(hours=24)
        assert world.row(HookEndpoint).enabled
    world.clock.forward(hours=24)
    world.work()
    assert world.row(HookEndpoint).disabled_because == "failing"


@pytest.mark.whole
def test_a_test_and_a_single_replay_go_to_one_endpoint(world: World) -> None:
    """Whatever types it wants; what is another's is not found."""
    endpoint = world.endpoint("a", "sunrise", "invoice.paid")
    other = world.endpoint("b", "moonlight")
    sent = world.on(endpoint, lambda s, row: hooks.test(s, world.rules, row, world.clock(), None))
    assert world.work() == ["delivered"]
    assert [one["type"] for one in world.hosts.got["a.example.com"]] == ["webhook_endpoint.test"]
    again = world.on(
        endpoint, lambda s, row: replay(s, row, world, event_id=sent.event_id, since=None)
    )
    assert again.count == 1
    assert world.work() == ["delivered"]
    with pytest.raises(NotFound):
        world.on(other, lambda s, row: replay(s, row, world, event_id=sent.event_id, since=None))
    with world.db.reading() as session:
        (second, first) = hooks.attempts(session, endpoint, 10, None, None)
        assert (second.status, second.error, second.delivery_status) == (200, None, "delivered")
        assert hooks.attempts(session, endpoint, 10, second.attempt_id, None) == [first]
        with pytest.raises(NotFound):
            hooks.find(session, endpoint, "moonlight")


def test_wrong_arguments_are_named(world: World) -> None:
    """What is wrong, and what to do."""
    with pytest.raises(InvalidArgument, match="url: expected https"):
        world.on(
            world.endpoint(),
            lambda s, row: hooks.change(
                s, world.rules, row, url="http://a.example.com", event_types=None, enabled=None, now=world.clock()
            ),
        )  # fmt: skip
    world.signer = Signer([])
    with pytest.raises(InvalidArgument, match="set HOOK_KEYS"):
        world.endpoint()


@pytest.mark.whole
def test_rotating_changes_the_secret_and_those_before_sign_for_a_day(world: World) -> None:
    """Also the one that the host has, when the answer of the first of two rotations was lost."""
    endpoint = world.endpoint()

    def verifies(generation: int) -> bool:
        """Whether a host with this secret takes what is sent now."""
        world.hear(failed(invoice_id=f"in_{len(world.hosts.headers)}"))
        world.tell()
        world.work()
        headers = {name: str(value) for name, value in world.hosts.headers[-1].items()}
        mine = world.signer.headers(
            endpoint_id=endpoint, generation=generation, rotated_at=None,
            message_id=headers["webhook-id"], body=world.hosts.bodies[-1], now=world.clock(),
        )  # fmt: skip
        return mine["webhook-signature"] in headers["webhook-signature"].split()

    def rotate() -> str:
        made = world.on(endpoint, lambda s, row: hooks.rotate(s, world.rules, row, world.clock()))
        return str(made.secret)

    secrets = {world.signer.secret(endpoint, 1), rotate(), rotate()}
    assert len(secrets) == 3
    assert [verifies(generation) for generation in (1, 2, 3)] == [True, True, True]
    for _ in range(SIGNING_BEFORE - 1):
        rotate()
    assert [verifies(generation) for generation in (1, 2, 7)] == [False, True, True]
    world.clock.forward(hours=24)
    assert [verifies(generation) for generation in (6, 7)] == [False, True]


@pytest.mark.whole
def test_a_request_that_comes_again_after_a_day_is_a_new_one(world: World) -> None:
    """As the documented lifetime of an Idempotency-Key has it; within the day nothing is done twice, whatever became of the endpoint."""
    endpoint = world.endpoint()

    def make() -> str:
        with world.db.transaction() as session:
            made = hooks.create(
                session, world.rules, url="https://b.example.com/in", business_id=None, event_types=(),
                now=world.clock(), request_id="a" * 64,
            )  # fmt: skip
        return made.about.endpoint_id

    def try_it() -> str:
        sent = world.on(
            endpoint, lambda s, row: hooks.test(s, world.rules, row, world.clock(), "b" * 64)
        )
        return str(sent.event_id)

    def again() -> int:
        given = {"since": world.clock() - dt.timedelta(days=2), "request_id": "c" * 64}
        sent = world.on(endpoint, lambda s, row: replay(s, row, world, **given))
        return int(sent.count)

    world.hear(failed())
    world.tell()
    first = (make(), try_it(), again())
    assert first[2] == 1
    world.clock.forward(hours=23)
    world.work()
    world.on(
        endpoint,
        lambda s, row: hooks.change(s, world.rules, row, url=None, event_types=None, enabled=False, now=world.clock()),
    )  # fmt: skip
    assert (make(), try_it(), again()) == first
    assert world.work() == []
    enable(world, endpoint)
    world.clock.forward(hours=1)
    later = (make(), try_it(), again())
    assert [one == two for one, two in zip(first, later, strict=True)] == [False, False, True]
    assert len(world.work()) == 2


@pytest.mark.whole
def test_a_customer_is_forgotten_and_so_is_what_is_old(world: World) -> None:
    """With deliveries and attempts; the endpoint stays."""
    world.endpoint()
    world.hear(failed(), failed(stripe_customer_id="cus_2", invoice_id="in_2"))
    world.tell()
    world.clock.forward(minutes=1)
    world.tell()
    world.clock.forward(minutes=1)
    world.tell()
    world.clock.forward(minutes=3)
    world.tell()
    world.work()
    with world.db.transaction() as session:
        erasure.erase_customer(session, CUSTOMER, None)
    for model in (HookEvent, HookDelivery, HookAttempt):
        assert len(world.rows(model)) == 1
    later = world.clock() + dt.timedelta(days=31)
    with world.db.transaction() as session:
        prune_batch(session, RULES, later - dt.timedelta(days=90), now=later)
    for model in (HookEvent, HookDelivery, HookAttempt):
        assert world.rows(model) == []
    assert len(world.rows(HookEndpoint)) == 1


def test_an_endpoint_is_deleted_with_what_waits(world: World) -> None:
    """Nothing is sent to it any more."""
    endpoint = world.endpoint()
    world.hear(failed())
    world.tell()
    with world.db.transaction() as session:
        hook_endpoints.remove(session, endpoint)
        assert hook_deliveries.backlog(session, world.clock()).pending == 0
    assert world.work() == []


def test_the_doctor_names_endpoints_that_are_off(world: World) -> None:
    """And endpoints that get nothing since the keys are gone; without an endpoint there is nothing to say."""
    keyed: Any = SimpleNamespace(hook_keys=("key",))
    assert list(check_hooks(keyed, world.db)) == []
    world.endpoint()
    assert [one.code for one in check_hooks(keyed, world.db) if one.level is not Level.OK] == []
    keyless: Any = SimpleNamespace(hook_keys=())
    assert [one.code for one in check_hooks(keyless, world.db)] == ["hooks-keys"]
    world.hosts.answer = lambda target: answered(410, 3)
    world.hear(failed())
    world.tell()
    world.work()
    assert [one.code for one in check_hooks(keyed, world.db)] == ["hooks-off"]
