"""Webhooks to hosts while a business observes: none is sent, and each can be replayed when it is live."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.notifier.adapters.known_modes import LIVE_FOR, KnownModes, PortalModes
from services.notifier.domain.hook_events import HostEvent
from services.notifier.domain.hooks import answered
from services.notifier.handlers import hooks
from services.notifier.models import Base, HookAttempt, HookDelivery, HookEndpoint
from services.notifier.ports import Mode, Owner, PortalUnavailable
from services.notifier.queries import hook_events
from shared.contracts.accounts import OWN, Account, StripeCustomer
from shared.contracts.host_events import About
from shared.contracts.rpc.errors import RemoteFault
from tests.unit import tables
from tests.unit.notifier.conftest import failed
from tests.unit.notifier.hooks_world import World, enable, replay

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


@pytest.mark.whole
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
    world.on(
        endpoint, lambda session, row: hooks.test(session, world.rules, row, world.clock(), None)
    )
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


def live(world: World) -> None:
    """The business goes live a moment after all that was heard until then."""
    world.clock.forward(seconds=1)
    world.portal.observing, world.portal.lines = set(), {"sunrise": world.clock()}


@pytest.mark.parametrize("waits_for", ["its next try", "its endpoint", "the portal"])
def test_what_waited_through_it_is_of_before_the_line(world: World, waits_for: str) -> None:
    """For hours, where a host failed, an endpoint was switched off, or whose it is could not be asked. What happens afterwards goes."""
    endpoint = world.endpoint("a", "sunrise")
    if waits_for == "its next try":
        world.hosts.answer = lambda target: answered(500, 3)
        world.hear(failed())
        world.tell()
        assert world.work() == ["retried"]
        world.hosts.answer = lambda target: answered(200, 3)
        world.portal.observing = {"sunrise"}
    else:
        world.portal.observing = {"sunrise"}
        world.hear(failed())
        if waits_for == "its endpoint":
            world.tell()
            enable(world, endpoint, on=False)
            assert world.work() == []
    live(world)
    enable(world, endpoint)
    world.clock.forward(hours=3)
    world.hear(failed(invoice_id="in_2", occurred_at=world.clock()))
    world.tell()
    assert sorted(world.work()) == ["delivered", "observed"]
    (heard,) = world.hosts.got[HOST]
    assert heard["object"]["id"] == "in_2"


def test_an_event_that_comes_late_is_of_before_the_line(world: World) -> None:
    """Stripe repeats for days; and what a test clock that is ahead dates was heard before it all the same."""
    world.endpoint("a", "sunrise")
    world.hear(failed(occurred_at=world.clock() + dt.timedelta(days=9)))
    live(world)
    world.hear(failed(invoice_id="in_2", occurred_at=world.clock() - dt.timedelta(hours=1)))
    world.tell()
    assert world.work() == ["observed", "observed"]


@pytest.mark.whole
def test_what_a_person_replays_crosses_the_line_that_is_older(world: World) -> None:
    """Another line stops it, too; one that is replayed anew after that goes, whether it was made for the endpoint before or not."""
    endpoint = world.endpoint("a", "sunrise")
    world.hear(failed())
    world.tell()
    live(world)
    world.on(endpoint, lambda session, row: replay(session, row, world))
    live(world)
    assert world.work() == ["observed"]
    second = world.endpoint("b", "sunrise")
    for one in (endpoint, second):
        world.on(one, lambda session, row: replay(session, row, world))
    assert world.work() == ["delivered", "delivered"]


@pytest.mark.parametrize("why", ["observes", "line", None])
def test_of_a_customer_whom_nobody_knows_the_portal_says_whose_they_can_be(
    world: World, why: str | None
) -> None:
    """Where all businesses of the account observe, or went live after it, the installation's endpoint hears nothing of theirs."""
    world.endpoint("a")
    world.hear(failed(stripe_customer_id="cus_nobody"))
    line = world.clock() + dt.timedelta(seconds=1)
    world.portal.nobodys = Mode(observes=why == "observes", live_since=line if why == "line" else None)  # fmt: skip
    for _ in range(4):
        world.tell()
        world.clock.forward(hours=1)
    assert world.work() == ["observed" if why else "delivered"]


def test_what_concerns_no_customer_is_nobodys(world: World) -> None:
    """It is about the installation itself."""
    world.endpoint("a")
    event = HostEvent(
        hook_event_id="msg_1",
        event_id="1",
        type="webhook_endpoint.disabled",
        occurred_at=world.clock(),
        object=About("webhook_endpoint", "whe_1"),
        version=1,
    )
    with world.db.transaction() as session:
        hook_events.record(session, [(event, "")], world.clock(), due=world.clock())
    world.portal.nobodys = Mode(observes=True)
    world.tell()
    assert world.work() == ["delivered"]


class PortalOfModes:
    """A portal that answers by RPC how a business works, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.observes = False

    def business_contact(self, business_id: str) -> Any:
        self.asked.append(business_id)
        if business_id == "gone":
            raise RemoteFault("NotFound", "no such business")
        if business_id == "away":
            raise RemoteFault("InternalError", "")
        business = {"business_id": business_id, "name": "Sunrise", "observed": self.observes}
        return {
            "platform": "Portico",
            "business": business | {"live_since": "2026-11-23T21:00:00Z"},
        }

    def observed(self, stripe_customers: list[dict[str, str]]) -> Any:
        self.asked += [one["stripe_customer_id"] for one in stripe_customers]
        lines = [] if stripe_customers[0]["account"] else ["2026-11-23T21:00:00Z"]
        return {"observed": [self.observes], "live_since": lines}


def test_live_is_known_for_two_seconds_and_observing_asked_anew() -> None:
    """Thousands of deliveries of a live business ask once in two seconds. "Observes" ends them for good, so it is not remembered."""
    seconds, portal = [0.0], PortalOfModes()
    modes = PortalModes(portal, KnownModes(clock=lambda: seconds[0]))
    line = dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC)
    for ask, name in (
        (lambda: modes.of_business("sunrise"), "sunrise"),
        (lambda: modes.of_customer(StripeCustomer(OWN, "cus_1")), "cus_1"),
    ):
        portal.observes = False
        assert [ask() for _ in range(5)] == [Mode(live_since=line)] * 5
        portal.observes = True
        assert not ask().observes
        seconds[0] += LIVE_FOR
        assert [ask().observes for _ in range(2)] == [True, True]
        portal.observes = False
        assert not ask().observes
        assert portal.asked == [name] * 4
        portal.asked.clear()
    assert LIVE_FOR <= 2


def test_who_is_gone_observes_and_who_can_not_be_asked_waits() -> None:
    """Nobody is left to say that it is live; an answer that is short says nothing."""
    modes = PortalModes(PortalOfModes(), KnownModes())
    assert modes.of_business("gone").observes
    with pytest.raises(PortalUnavailable):
        modes.of_business("away")
    with pytest.raises(PortalUnavailable, match="not about all"):
        modes.of_customer(StripeCustomer(Account("acct_1"), "cus_1"))


@pytest.mark.whole
def test_an_endpoint_that_failed_before_begins_anew(world: World) -> None:
    """Nothing is tried while its business observes, so what failed then says nothing when it is live: one failure switches nothing off."""
    world.endpoint("a", "sunrise")
    world.hosts.answer = lambda target: answered(500, 3)
    world.hear(failed())
    world.tell()
    world.work()
    world.portal.observing = {"sunrise"}
    world.clock.forward(days=6)
    assert world.work() == ["observed"]
    endpoint = world.row(HookEndpoint)
    assert (endpoint.failures, endpoint.failing_since, endpoint.paused_until) == (0, None, None)
    live(world)
    world.hear(failed(invoice_id="in_2", occurred_at=world.clock()))
    world.tell()
    assert world.work() == ["retried"]
    assert world.row(HookEndpoint).enabled


def test_what_is_observed_hides_no_host_that_fails_for_another_business(world: World) -> None:
    """The installation's endpoint hears of both: as long as others of its deliveries wait for another try, it counts as failing."""
    world.endpoint("a")
    world.portal.known[StripeCustomer(OWN, "cus_2")] = Owner("moon", "2002")
    world.portal.observing = {"moon"}
    world.hosts.answer = lambda target: answered(500, 3)
    world.hear(failed())
    world.tell()
    assert world.work() == ["retried"]
    world.hear(failed(invoice_id="in_2", stripe_customer_id="cus_2"))
    world.tell()
    assert world.work() == ["observed"]
    assert world.row(HookEndpoint).failures == 1
