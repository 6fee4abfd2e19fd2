"""Webhooks to hosts while a business observes: none is sent, and each can be replayed when it is live."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.notifier.adapters.known_modes import GOOD_FOR, KnownModes, PortalModes
from services.notifier.domain.hooks import answered
from services.notifier.handlers import hooks
from services.notifier.models import Base, HookAttempt, HookDelivery, HookEndpoint
from services.notifier.ports import PortalUnavailable
from shared.contracts.rpc.errors import RemoteFault
from tests.unit import tables
from tests.unit.notifier.conftest import failed
from tests.unit.notifier.hooks_world import World, replay

HOST = "a.example.com"


@pytest.fixture
def world() -> World:
    return World(tables.empty(Base.metadata))


@pytest.mark.parametrize("endpoint_of", ["sunrise", None])
@pytest.mark.parametrize("who", ["business", "installation"])
def test_a_business_that_observes_has_nothing_sent(
    world: World, who: str, endpoint_of: str | None
) -> None:
    """To its own endpoint and to the installation's; people see it among the attempts, and the endpoint is none the worse."""
    endpoint = world.endpoint("a", endpoint_of)
    world.observes = who == "installation"
    world.portal.observing = set() if world.observes else {"sunrise"}
    world.hear(failed())
    world.tell()
    assert world.work() == ["observed"]
    assert world.hosts.got == {}
    delivery = world.row(HookDelivery)
    assert (delivery.status, delivery.lease_token) == ("observed", None)
    with world.db.reading() as session:
        (attempt,) = hooks.attempts(session, endpoint, 10, None, None)
    assert (attempt.status, attempt.error, attempt.delivery_status) == (
        None,
        "observed",
        "observed",
    )
    assert world.row(HookEndpoint).failures == 0
    world.clock.forward(days=1)
    assert world.work() == []


def test_another_business_and_nobodys_are_sent(world: World) -> None:
    """On a live installation a Stripe customer whom nobody knows belongs to no business that observes."""
    world.endpoint("a")
    world.portal.observing = {"other"}
    world.hear(failed())
    world.hear(failed(stripe_customer_id="cus_nobody", invoice_id="in_2"))
    world.tell()
    world.clock.forward(hours=1)
    world.tell()
    world.clock.forward(hours=1)
    world.tell()
    world.clock.forward(hours=1)
    world.tell()
    assert world.work() == ["delivered", "delivered"]


def test_what_waits_for_its_next_try_is_not_sent_either(world: World) -> None:
    """The host was away; since then the business observes."""
    world.endpoint("a", "sunrise")
    world.hosts.answer = lambda target: answered(500, 3)
    world.hear(failed())
    world.tell()
    assert world.work() == ["retried"]
    world.hosts.answer = lambda target: answered(200, 3)
    world.portal.observing = {"sunrise"}
    world.clock.forward(hours=1)
    assert world.work() == ["observed"]
    assert world.hosts.got == {}


def test_a_replay_sends_it_once_the_business_is_live(world: World) -> None:
    """That is what a person asks for; before, the replay is observed as well."""
    endpoint = world.endpoint("a", "sunrise")
    world.portal.observing = {"sunrise"}
    world.hear(failed())
    world.tell()
    world.work()
    for live, outcome in ((False, "observed"), (True, "delivered")):
        world.portal.observing = set() if live else {"sunrise"}
        world.on(endpoint, lambda session, row: replay(session, row, world, failed_only=True))
        assert world.work() == [outcome]
    assert len(world.hosts.got[HOST]) == 1
    assert [one.error for one in world.rows(HookAttempt)] == ["observed", "observed", None]


def test_an_endpoint_can_be_tried_all_the_same(world: World) -> None:
    """A person wants to see that it works."""
    endpoint = world.endpoint("a", "sunrise")
    world.observes = True
    world.on(endpoint, lambda session, row: hooks.test(session, world.rules, row, world.clock()))
    assert world.work() == ["delivered"]


def test_while_the_portal_is_away_nothing_is_sent_and_nothing_lost(world: World) -> None:
    """Whether the business is live can't be known: the delivery waits, and that is no attempt."""
    world.endpoint("a", "sunrise")
    world.hear(failed())
    world.tell()
    world.portal.away = True
    assert world.work() == ["put_off"]
    assert world.work() == []
    assert (world.row(HookDelivery).attempts, world.rows(HookAttempt)) == (0, [])
    world.portal.away = False
    world.clock.forward(seconds=20)
    assert world.work() == ["delivered"]


def test_a_mode_is_known_for_some_seconds() -> None:
    """Thousands of deliveries of one business ask once; then anew. Who is gone can't go live any more, and counts as live."""
    seconds, asked = [0.0], []

    def business_contact(business_id: str) -> Any:
        asked.append(business_id)
        if business_id == "gone":
            raise RemoteFault("NotFound", "no such business")
        if business_id == "away":
            raise RemoteFault("InternalError", "")
        observed = len(asked) > 1
        return {
            "platform": "Portico",
            "business": {"business_id": business_id, "name": "Sunrise", "observed": observed},
        }

    portal = SimpleNamespace(business_contact=business_contact)
    modes = PortalModes(portal, KnownModes(clock=lambda: seconds[0]))
    assert [modes.observes("sunrise") for _ in range(5)] == [False] * 5
    assert asked == ["sunrise"]
    seconds[0] = GOOD_FOR
    assert modes.observes("sunrise")
    assert not modes.observes("gone")
    with pytest.raises(PortalUnavailable):
        modes.observes("away")
    assert asked == ["sunrise", "sunrise", "gone", "away"]
